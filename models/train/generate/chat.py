"""Whole conversations with tools: a tool list, one to four exchanges, and small talk or a refusal between them."""

from .names import Maker
from .passages import FOODS, COLORS
from . import tools as T

SYSTEMS = ["You are Tandem, a helpful assistant.", "You are a helpful assistant.", "You are a helpful assistant. Use the tools when they help.", "You are Tandem. Answer shortly.",
           "You are a friendly assistant that can call tools.", "Answer the user. Call a tool if one fits."]

SMALL_TALK = [
    (["Hello!", "Hi", "Hey there", "Good morning!", "Good evening", "Hi there!"], ["Hello! How can I help you?", "Hello! What can I do for you?"]),
    (["How are you?", "How are you doing today?", "Are you well?"], ["I am fine, thank you. How can I help you?"]),
    (["Who are you?", "What is your name?", "What are you?", "Introduce yourself."], ["I am Tandem, a small language model that runs inside your browser."]),
    (["Thank you!", "Thanks", "Thanks a lot!", "That was helpful, thank you."], ["You are welcome!", "You are welcome! Is there anything else?"]),
    (["Goodbye", "Bye!", "See you later.", "Good night"], ["Goodbye! Have a nice day."]),
    (["What can you do?", "How can you help me?", "What are you good at?"], ["I can tell short stories, answer questions about a text, and use the tools of this page."]),
    (["Are you human?", "Are you a robot?", "Are you a real person?"], ["No, I am Tandem, a small language model."]),
    (["What is your favorite color?", "Which color do you like?"], ["I like blue, the color of the sky."]),
    (["Tell me a joke.", "Do you know a joke?", "Make me laugh."], ["Why did the cookie cry? Because its mother was a wafer so long!"]),
    (["I am sad.", "I feel sad today.", "I had a bad day."], ["I am sorry to hear that. I hope you feel better soon."]),
    (["I am happy today!", "I had a great day!", "Today was fun."], ["That is nice to hear!"]),
    (["Where do you live?", "Where are you?"], ["I live in your browser. Nothing you write leaves this page."]),
    (["How old are you?", "When were you born?"], ["I do not have an age. I am a small language model."]),
    (["I like {animals}.", "I love {animals}."], ["That is nice! I like {animals} too."]),
    (["My name is {name}.", "I am {name}.", "Hi, I'm {name}!"], ["Nice to meet you, {name}!"]),
    (["Say {word}.", "Write the word {word}."], ["{word}"]),
    (["Say hello to {name}.", "Greet {name}."], ["Hello, {name}!"]),
    (["I live in {city}.", "I come from {city}."], ["{city} sounds like a nice place!"]),
    (["Which is better, {food} or {food2}?", "Do you prefer {food} or {food2}?"], ["I cannot taste, but {food} sounds good."]),
]

# What no tool of the page does: how it is asked, and what the answer calls it.
WISHES = [
    ("Book a table at {word} for {n} people.", "book a table"), ("Send an email to {name}.", "send an email"), ("Play the song {word}.", "play music"), ("Order {n} pizzas.", "order food"),
    ("Set an alarm for {time}.", "set an alarm"), ("Turn on the lights in the {room}.", "turn on the lights"), ("Call {name}.", "make a call"), ("Buy {n} tickets to {city}.", "buy tickets"),
    ("Book a flight to {city}.", "book a flight"), ("Find a hotel in {city}.", "find a hotel"), ("Post a photo on my page.", "post a photo"), ("Delete the file {word}.", "delete a file"),
    ("Open the door.", "open a door"), ("Remind me to call {name} at {time}.", "set a reminder"), ("Send {n} euros to {name}.", "send money"), ("Print {n} copies of my letter.", "print"),
    ("Show me a picture of {city}.", "show a picture"), ("What is the price of {word} shares?", "look up prices"), ("Record a video.", "record a video"), ("Who won the match in {city}?", "look up match results"),
    ("Add {food} to my shopping list.", "edit a list"), ("Take a screenshot.", "take a screenshot"), ("Start the car.", "start a car"), ("Drive me to {city}.", "drive"), ("Paint the wall {color}.", "paint a wall"),
    ("Write an invoice for {name}.", "write an invoice"), ("Log in to my bank.", "log in"), ("Scan this page.", "scan a page"), ("Rent a bike in {city}.", "rent a bike"), ("Mute the phone.", "mute a phone"),
    ("Download the movie {word}.", "download a movie"), ("Cancel my order {n}.", "cancel an order"), ("Make me {food}.", "cook"), ("Track my parcel {n}.", "track a parcel"), ("Read my messages.", "read messages"),
]
# Wishes kept out of training whole, to see whether declining carries over to what was never asked.
HELD_OUT_WISHES = [
    ("Water the plants in the {room}.", "water plants"), ("Reserve {n} seats at the {word} theater.", "reserve seats"), ("Text {name} that I am late.", "send a text"), ("Charge my phone.", "charge a phone"),
    ("Feed the dog at {time}.", "feed a dog"), ("Translate my letter to {name} and mail it.", "mail a letter"), ("Lock the {room}.", "lock a room"), ("Sell my {word} shares.", "sell shares"), ("Hire a guide in {city}.", "hire a guide"),
]
MISSING = {"weather": "check the weather", "clock": "look up the time", "convert": "convert units", "encyclopedia": "look things up", "calculator": "do arithmetic"}


def decline(wish: str) -> str:
    return f"I am sorry, I have no tool to {wish}."


def fill(m: Maker, text: str) -> str:
    from .passages import ANIMALS
    food, food2 = m.sample(FOODS, 2)
    values = {"name": m.first_name, "word": m.word, "city": m.city, "n": lambda: m.number(2, 99), "time": m.time, "room": lambda: m.pick(["kitchen", "garden", "hall", "bedroom", "office"]),
              "color": lambda: m.pick(COLORS), "animals": lambda: m.pick(ANIMALS), "food": lambda: food, "food2": lambda: food2}
    return text.format(**{k: v() for k, v in values.items() if "{" + k + "}" in text})


def small_talk(m: Maker) -> list[dict]:
    asks, answers = m.pick(SMALL_TALK)
    both = fill(m, m.pick(asks) + "\n" + m.pick(answers))
    ask, answer = both.split("\n")
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]


def wish(m: Maker, wishes=None) -> list[dict]:
    text, name = m.pick(wishes or WISHES)
    ask = fill(m, text)
    if m.chance(0.4):
        ask = m.pick(["Please ", "Can you ", "Could you please ", "I want you to "]) + ask[0].lower() + ask[1:]
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": decline(name)}]


def same_in(text: str, names) -> bool:
    return any(n in text for n in names)


def tool_chat(m: Maker, story=None, n_exchanges: int | None = None, all_tools: bool | None = None):
    """(messages, tools): the page's tools, or some of them, or others beside them."""
    every = m.chance(0.55) if all_tools is None else all_tools
    names = list(T.PAGE_TOOLS)
    if not every:
        names = m.sample(names, m.random.randint(0, 4))
    elif m.chance(0.5):
        m.random.shuffle(names)
    tools = [T.page_tool(n, m if m.chance(0.5) else None) for n in names]
    others = []
    if not every or m.chance(0.3):
        seen = set(names)
        for _ in range(m.random.randint(0 if names else 1, 3)):
            tool, messages = T.made_up_exchange(m)
            name = tool["function"]["name"]
            if name not in seen:
                seen.add(name)
                others.append(messages)
                tools.append(tool)
        m.random.shuffle(tools)
    messages = [{"role": "system", "content": m.pick(SYSTEMS)}] if m.chance(0.85) else []
    missing = [n for n in MISSING if n not in names]
    m.random.shuffle(others)
    for _ in range(n_exchanges or m.pick([1, 2, 2, 3, 3, 4])):
        roll = m.random.random()
        if roll < 0.12:
            messages += small_talk(m)
        elif roll < 0.24:
            # A wish is declined only where none of the made-up tools grants it.
            messages += wish(m) if not others else small_talk(m)
        elif roll < 0.34 and missing:
            name = m.pick(missing)
            ask = T.EXCHANGES[name](m)[0]
            messages += [ask, {"role": "assistant", "content": decline(MISSING[name])}]
        elif roll < 0.37 and story:
            from .texts import tell_story
            messages += tell_story(m, story)
        elif others and (roll < 0.6 or not names):
            messages += others.pop()
        elif names:
            messages += T.EXCHANGES[m.pick(names)](m)
        else:
            messages += small_talk(m)
    return messages, tools


def plain_chat(m: Maker):
    messages = [{"role": "system", "content": m.pick(SYSTEMS[:2])}] if m.chance(0.4) else []
    for _ in range(m.random.randint(1, 4)):
        messages += small_talk(m)
    return messages, None
