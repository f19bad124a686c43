"""What an earlier checkpoint got wrong on held-out prompts, drilled: tools that are not listed, wishes of every sort, short sums, time
zones, answers from the weather.

The generators that the evaluation draws from stay as they are, so that the figures of one pair compare with those of the next, and
nothing here says or grants a held-out wish of `chat.py`.
"""

from . import chat, tools as T
from .names import Maker

# One wish in two is any of these verbs with any of these things: whoever declines it has to look at the tools, for the words tell
# nothing. Verbs and things of the held-out wishes are left out.
VERBS = """
wash fold repair hide carry sweep polish bake chop stir pour peel bring lift throw catch drop close build break cut dig collect sort pack wrap hang
ride sew knit measure weigh clean dry iron shake squeeze tie untie roll stack burn bury frame glue heat cool freeze melt rinse scrub shave sharpen
trim brush comb decorate deliver donate borrow return rename copy move sign stamp upload share archive publish block follow like invite join leave
start stop pause skip repeat record mix tune inflate park tow wax rotate replace install update restart unplug empty fill refill label
""".split()
THINGS = """
car window shirt bread box bag floor table chair door roof fence garden kite boat bike bucket basket cake soup salad potato carrot onion bottle cup
plate spoon knife carpet curtain pillow blanket bed lamp candle mirror picture poster book notebook folder album playlist account password printer
keyboard screen battery camera radio guitar piano drum tent ladder hammer shovel wheel tire engine truck parcel ticket coat hat shoe sock glove
scarf button pocket zipper ring watch toy puzzle doll balloon ball bench gate garage kitchen oven fridge sink bathtub pool pond tree hedge lawn
""".split()
PLACES_AND_TIMES = ["", "", "", " in the {room}", " for {name}", " at {time}", " in {city}", " with {name}", " before {time}", " {n} times", " from {city}", " on page {n}", " near {word}"]

MORE_WISHES = [
    ("Bring me a glass of water.", "bring things"), ("Pay the bill of {n} euros.", "pay bills"), ("Apply for the job in {city}.", "apply for a job"),
    ("Vote for {name}.", "vote"), ("Take the dog for a walk at {time}.", "walk a dog"), ("Do my homework for {name}.", "do homework"),
    ("Wake me up at {time}.", "wake you up"), ("Dance with {name}.", "dance"), ("Tie {n} knots.", "tie knots"), ("Bake {n} cookies for {name}.", "bake"),
    ("Bring {food} to {name} in {city}.", "deliver food"), ("Invite {name} to the party at {time}.", "send invitations"),
    ("Hack into the {word} computer.", "break into computers"), ("Follow {name} on the web.", "follow people"), ("Join the meeting at {time}.", "join a meeting"),
    ("Film {animals} in {city}.", "film"), ("Knit a {color} hat for {name}.", "knit"), ("Rate the {word} restaurant {n} stars.", "rate restaurants"),
    ("Move to {city} with {name}.", "move house"), ("Lend {name} {n} dollars.", "lend money"), ("Zoom in {n} times.", "zoom"), ("Scroll down to page {n}.", "scroll"),
    ("Unlock account {n}.", "unlock an account"), ("Check in for flight {n} to {city}.", "check in for a flight"), ("Return the {word} shoes.", "return shoes"),
    ("Renew passport {n}.", "renew a passport"), ("Make {n} copies of the key to the {room}.", "copy a key"), ("Vacuum the {room}.", "vacuum"),
    ("Fly a kite with {name} in {city}.", "fly a kite"), ("Guess the number I think of, from {n} to 100.", "guess numbers"), ("Install the app {word}.", "install an app"),
    ("Repair the {word} bike.", "repair a bike"), ("Cut {n} slices of {food}.", "cut food"), ("Forward the message of {name} to {word}.", "forward messages"),
    ("Turn the volume up to {n}.", "change the volume"), ("Make the {room} warmer by {n} degrees.", "set the heating"), ("Cool the {room} down at {time}.", "set the heating"),
    ("Ask {name} what the time is.", "talk to people"), ("Tell {name} in {city} about the weather.", "talk to people"), ("Sing me a song about {animals}.", "sing"),
    ("Subscribe to the {word} news.", "subscribe to news"), ("Block calls from {name}.", "block calls"), ("Wrap {n} presents.", "wrap presents"),
    ("Transfer {n} dollars to account {n}.", "transfer money"), ("Show me the way from {city} to {word}.", "show a way"),
]
QUESTIONS = [
    ("When does the next train to {city} leave?", "look up trains"), ("How much is a ticket to {city}?", "look up prices"), ("What did {name} write to me?", "read messages"),
    ("Who is calling me?", "see calls"), ("Where did I put my {color} hat?", "find lost things"), ("Is {name} at home?", "see people"),
    ("How many steps did I walk today?", "count steps"), ("How much money do I have?", "look at an account"), ("What is on my list for {time}?", "read a list"),
    ("Which songs did {name} play?", "look up songs"), ("Are there tickets for the {word} show?", "look up tickets"), ("What does the {word} shop sell?", "look into shops"),
]


def any_wish(m: Maker) -> list[dict]:
    roll = m.random.random()
    if roll < 0.4:
        return chat.wish(m, m.pick([chat.WISHES, MORE_WISHES]))
    if roll < 0.5:
        ask, wish = m.pick(QUESTIONS)
        return [{"role": "user", "content": chat.fill(m, ask)}, {"role": "assistant", "content": chat.decline(wish)}]
    verb, thing = m.pick(VERBS), m.pick(THINGS)
    what = f"{verb} the {thing}"
    ask = m.pick(["{}.", "Please {}.", "Can you {}?", "Could you {}?", "I want you to {}.", "{} for me.", "Would you {}?", "I need you to {}."]).format(what)
    ask = ask[:-1] + chat.fill(m, m.pick(PLACES_AND_TIMES)) + ask[-1]
    return [{"role": "user", "content": ask[0].upper() + ask[1:]}, {"role": "assistant", "content": chat.decline(what)}]


# Every tool at its hardest: few digits, of which each matters; zones that are read, not known.
HARD = {
    "calculator": lambda m: T.calculator(m, m.pick([9, 9, 99, 9999]), m.pick([(0, 13), (8, 11), (12, 13), (12, 13)])),
    "clock": lambda m: T.clock(m, 0.12),
    "convert": T.convert,
    "weather": T.weather,
    "encyclopedia": T.encyclopedia,
}
NAMES = list(T.PAGE_TOOLS)
# Of ten calls.
TEN = ["calculator"] * 3 + ["clock"] * 2 + ["weather"] * 2 + ["encyclopedia"] * 2 + ["convert"]


def _system(m: Maker) -> list[dict]:
    if m.chance(0.1):
        return []
    return [{"role": "system", "content": chat.SYSTEMS[0] if m.chance(0.4) else m.pick(chat.SYSTEMS)}]


def _listed(m: Maker, names: list[str]) -> list[dict]:
    """The tools of these names, in the page's order and words or in others."""
    if m.chance(0.4):
        m.random.shuffle(names)
    other_words = m.chance(0.4)
    return [T.page_tool(n, m if other_words else None) for n in names]


def calls(m: Maker):
    """All the tools, and requests that are hard to put into a call."""
    messages = _system(m)
    for _ in range(m.pick([1, 2, 3, 4])):
        messages += HARD[m.pick(TEN)](m)
    return messages, _listed(m, list(NAMES))


def missing(m: Maker):
    """Some of the tools: what they do is called, what those left out would do is declined, and nothing but the list tells which."""
    left_out = set(m.sample(NAMES, m.pick([1, 1, 1, 2, 2, 3, 4])))
    tools = _listed(m, [n for n in NAMES if n not in left_out])
    messages = _system(m)
    for _ in range(m.pick([1, 2, 3, 4])):
        name = m.pick(sorted(left_out)) if m.chance(0.55) else m.pick([n for n in NAMES if n not in left_out])
        exchange = HARD[name](m)
        messages += exchange if name not in left_out else [exchange[0], {"role": "assistant", "content": chat.decline(chat.MISSING[name])}]
    return messages, tools


def wishes(m: Maker):
    """What no tool does, beside what the listed ones do."""
    names = list(NAMES) if m.chance(0.6) else m.sample(NAMES, m.random.randint(1, 4))
    messages = _system(m)
    for _ in range(m.pick([1, 2, 3, 4])):
        messages += any_wish(m) if m.chance(0.6) else HARD[m.pick(names)](m)
    return messages, _listed(m, names)


def made_up(m: Maker):
    """The same request, declined or granted: whether the tool for it is listed decides."""
    tools = [T.page_tool(n) for n in m.sample(NAMES, m.random.randint(0, 4))]
    messages, seen = _system(m), set()
    for _ in range(m.pick([1, 2, 3])):
        tool, wish, exchange = T.made_up_wish(m)
        if seen & {tool["function"]["name"], wish}:
            continue
        seen |= {tool["function"]["name"], wish}
        if m.chance(0.5):
            tools.insert(m.random.randint(0, len(tools)), tool)
            messages += exchange
        else:
            messages += [exchange[0], {"role": "assistant", "content": chat.decline(wish)}]
    return messages, tools or [T.page_tool(m.pick(NAMES))]


def drill(m: Maker):
    """(messages, tools)"""
    return m.pick([calls, calls, calls, missing, missing, missing, wishes, wishes, made_up])(m)
