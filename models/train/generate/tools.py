"""Tool calls: the five tools of the page, tools made up on the spot, and requests that no tool fits.

Each exchange is a list of messages: the request, the call, its result, and the answer that reads the result back.
"""

import json

from .lists import CONDITIONS, UNITS
from .names import Maker
from .passages import passage


def function(name: str, description: str, properties: dict, required: list[str] | None = None) -> dict:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {
        "type": "object", "properties": properties, "required": list(properties) if required is None else required}}}


STRING, NUMBER, INTEGER, BOOLEAN = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
# Several descriptions each, so that the words a page chooses do not matter; the first is the one the evaluation uses.
PAGE_TOOLS = {
    "calculator": ({"expression": STRING}, ["Work out an arithmetic expression", "Evaluate an arithmetic expression", "Does arithmetic", "Calculator for math expressions"]),
    "clock": ({"timezone": STRING}, ["Current date and time in an IANA time zone", "The current time in a time zone", "Get the time and date", "Current time"]),
    "convert": ({"value": NUMBER, "from": STRING, "to": STRING}, ["Convert a value from one unit to another", "Unit conversion", "Converts units", "Convert between units of measure"]),
    "weather": ({"city": STRING}, ["Current weather in a city", "Get the current weather of a city", "Weather now", "Looks up the weather"]),
    "encyclopedia": ({"title": STRING}, ["The first paragraph of an encyclopedia article", "Look up a topic in an encyclopedia", "Summary of an encyclopedia page", "Fetch an article"]),
}


def page_tool(name: str, m: Maker | None = None) -> dict:
    properties, descriptions = PAGE_TOOLS[name]
    return function(name, m.pick(descriptions) if m else descriptions[0], properties)


def call(name: str, arguments: dict) -> dict:
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}]}


def exchange(ask: str, name: str, arguments: dict, result, answer: str) -> list[dict]:
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return [{"role": "user", "content": ask}, call(name, arguments), {"role": "tool", "content": text}, {"role": "assistant", "content": answer}]


def politely(m: Maker, ask: str) -> str:
    roll = m.random.random()
    if roll < 0.12:
        return m.pick(["Please tell me: ", "Hi! ", "Hello, ", "Quick question: ", "Can you help? ", "I need to know: ", "Hey, "]) + ask
    if roll < 0.2:
        return ask.rstrip("?.") + m.pick([", please?", " please", ", thanks!", "? Thank you."])
    if roll < 0.3:
        return ask[0].lower() + ask[1:].rstrip("?")
    return ask


def plain(x: float) -> str:
    return str(int(x)) if float(x).is_integer() else str(round(float(x), 4))


def arithmetic(m: Maker, low=2, high=9999, kinds=(0, 13)):
    """(what is asked, the expression, its value), with every number of this split. Of `kinds`, 0 to 7 is one operation, 8 to 11 are
    products, percentages, roots and squares in words, and 12 and 13 are two operations."""
    while True:
        a, b, c = m.number(low, high), m.number(low, min(high, 999)), m.number(2, 99)
        if m.chance(0.1):
            a = m.decimal(99, m.pick([1, 2]))
        kind = m.random.randint(*kinds)
        if kind <= 7:
            op, words = m.pick([("+", ["plus", "and", "+"]), ("-", ["minus", "-"]), ("*", ["times", "multiplied by", "x", "*"]), ("/", ["divided by", "over", "/"])])
            word = m.pick(words)
            if word == "and":
                said = m.pick([f"the sum of {a} and {b}", f"{a} plus {b}"])
            else:
                said = f"{a}{word}{b}" if word in "+-*/" and m.chance(0.3) else f"{a} {word} {b}"
            expression = f"{a} {op} {b}"
        elif kind == 8:
            said, expression = f"the product of {a} and {b}", f"{a} * {b}"
        elif kind == 9:
            said, expression = m.pick([f"{c}% of {a}", f"{c} percent of {a}"]), f"{a} * {c} / 100"
        elif kind == 10:
            said, expression = m.pick([f"the square root of {a}", f"sqrt({a})"]), f"sqrt({a})"
        elif kind == 11:
            said, expression = m.pick([f"{c} squared", f"the square of {c}"]), f"{c} ^ 2"
        else:
            o1, o2 = m.pick("+-*"), m.pick("+-*/")
            expression = m.pick([f"({a} {o1} {b}) {o2} {c}", f"{a} {o1} {b} {o2} {c}", f"{a} {o2} ({b} {o1} {c})"])
            said = expression if m.chance(0.7) else expression.replace(" ", "")
        try:
            value = eval(expression.replace("^", "**"), {"sqrt": lambda x: x**0.5})
        except ZeroDivisionError:
            continue
        if m.mine(plain(value)):
            return said, expression, plain(value)


def calculator(m: Maker, high=9999, kinds=(0, 13)):
    if m.chance(0.2):
        a, b, who = m.number(2, min(high, 999)), m.number(2, min(high, 99)), m.first_name()
        thing = m.pick(["apples", "books", "coins", "cookies", "marbles", "stamps", "eggs", "cards"])
        ask, expression = m.pick([
            (f"{who} has {a} {thing} and gets {b} more. How many {thing} does {who} have now?", f"{a} + {b}"),
            (f"{who} has {a} {thing} and gives away {b}. How many are left?", f"{a} - {b}"),
            (f"There are {a} boxes with {b} {thing} each. How many {thing} are there?", f"{a} * {b}"),
            (f"{a} {thing} are shared by {b} children. How many does each child get?", f"{a} / {b}"),
        ])
        value = plain(eval(expression))
        if not m.mine(value):
            return calculator(m, high, kinds)
    else:
        said, expression, value = arithmetic(m, high=high, kinds=kinds)
        ask = m.pick(["What is {}?", "Calculate {}.", "How much is {}?", "Work out {}.", "Compute {}", "{} = ?", "What's {}?", "Can you calculate {}?", "Tell me what {} is.", "{}", "I need {}."]).format(said)
        ask = politely(m, ask)
    result = m.pick([value, value, {"result": float(value) if "." in value else int(value)}])
    return exchange(ask, "calculator", {"expression": expression}, result, m.pick([f"The answer is {value}.", f"{expression} = {value}"]))


def clock(m: Maker, known=0.55):
    """`known` is the share of real cities whose zone has to be known; in the others it stands in the request."""
    roll = m.random.random()
    if roll < (known if not m.want_held_out else 0.0):
        city, zone = m.known_city()
        where = city
    elif roll < 0.8:
        region = m.pick(["Europe", "Asia", "Africa", "America", "Australia", "Pacific"])
        city = m.city()
        zone = f"{region}/{city.replace(' ', '_')}"
        where = f"the time zone {zone}" if m.chance(0.5) else zone
    else:
        region = m.pick(["Europe", "Asia", "Africa", "America", "Australia"])
        city = m.city()
        zone, where = f"{region}/{city.replace(' ', '_')}", f"{city}, {region}"
    time, (date, day) = m.time(), m.date()
    want_date = m.chance(0.3)
    if want_date:
        ask = m.pick(["What is the date in {}?", "What day is it in {}?", "Which day is it today in {}?", "Today's date in {}?"])
    else:
        ask = m.pick(["What time is it in {}?", "What is the time in {}?", "Tell me the time in {}.", "How late is it in {}?", "Current time in {}?", "What time is it now in {}?", "Do you know the time in {}?"])
    result = m.pick([{"timezone": zone, "time": time, "date": date, "weekday": day}, f"{day} {date} {time} ({zone})", {"time": time, "date": date, "weekday": day}])
    answer = f"Today is {day}, {date}, in {where}." if want_date else f"It is {time} in {where}."
    return exchange(politely(m, ask.format(where)), "clock", {"timezone": zone}, result, answer)


def convert(m: Maker):
    old, new = m.pick(UNITS)
    value = m.number(2, 9999) if m.chance(0.75) else m.decimal(500, m.pick([1, 2]))
    result_value = m.decimal(9999, m.pick([1, 2, 3]))
    ask = m.pick(["Convert {v} {a} to {b}.", "How many {b} are {v} {a}?", "What is {v} {a} in {b}?", "{v} {a} in {b}", "How much is {v} {a} in {b}?", "Turn {v} {a} into {b}.", "{v} {a} to {b}?", "Change {v} {a} to {b}."])
    result = m.pick([{"value": result_value, "unit": new}, f"{result_value} {new}", str(result_value)])
    return exchange(politely(m, ask.format(v=value, a=old, b=new)), "convert", {"value": value, "from": old, "to": new}, result, f"{value} {old} is {result_value} {new}.")


def weather_result(m: Maker, city: str):
    t, wind, humidity, sky = m.number(2, 39), m.number(2, 70), m.number(10, 99), m.pick(CONDITIONS)
    if m.chance(0.2):
        t = -t
    if m.chance(0.3):
        t = m.decimal(35)
    result = m.pick([
        {"city": city, "temperature_c": t, "conditions": sky, "wind_kmh": wind, "humidity": humidity},
        {"temperature": t, "conditions": sky, "wind": wind},
        f"{city}: {t} °C, {sky}, wind {wind} km/h, humidity {humidity}%",
        {"place": city, "conditions": sky, "temperature_c": t, "humidity": humidity, "wind_kmh": wind},
    ])
    return t, wind, sky, result


def weather(m: Maker):
    city = m.city()
    t, wind, sky, result = weather_result(m, city)
    roll = m.random.random()
    if roll < 0.5:
        ask = m.pick(["What is the weather in {}?", "How is the weather in {}?", "What's the weather like in {} today?", "Weather in {}", "Tell me the weather in {}.", "Check the weather in {}.",
                      "I am going to {}. How is the weather?", "Give me the weather for {}.", "What is it like outside in {}?"])
        answer = f"It is {t} °C with {sky} in {city}."
    elif roll < 0.7:
        ask = m.pick(["How warm is it in {}?", "What is the temperature in {}?", "How cold is it in {}?", "Temperature in {}?", "How hot is it in {} right now?"])
        answer = f"It is {t} °C in {city}."
    elif roll < 0.85:
        ask = m.pick(["How windy is it in {}?", "What is the wind speed in {}?", "Is it windy in {}?", "How strong is the wind in {}?"])
        answer = f"The wind in {city} is {wind} km/h."
    else:
        ask = m.pick(["Do I need an umbrella in {}?", "Is it raining in {}?", "Will I get wet in {}?", "Should I take an umbrella in {}?"])
        wet = any(w in sky for w in ("rain", "drizzle", "thunder", "hail", "snow"))
        answer = f"Yes: there is {sky} in {city}." if wet else f"No: the sky in {city} says {sky}."
    return exchange(politely(m, ask.format(city)), "weather", {"city": city}, result, answer)


def encyclopedia(m: Maker):
    if m.chance(0.5):
        name, text, questions = passage(m)
        if m.chance(0.6):
            ask, _, answer = m.pick(questions)
            if name not in ask:
                ask, answer = f"Who was {name}?", text.split(". ")[0].rstrip(".") + "."
        else:
            ask, answer = m.pick(["Tell me about {}.", "What do you know about {}?", "Look up {}."]).format(name), text.split(". ")[0].rstrip(".") + "."
        return exchange(politely(m, ask), "encyclopedia", {"title": name}, m.pick([text, {"title": name, "extract": text}]), answer)
    topic = m.topic()
    ask = m.pick(["Tell me about {}.", "What is {}?", "What do you know about {}?", "Look up {}.", "Find information about {}.", "Who or what is {}?", "Search the encyclopedia for {}.", "Give me facts about {}.",
                  "I want to learn about {}.", "Explain {}.", "Read me the article on {}."])
    title = topic.removeprefix("the ")
    fact = m.pick(["{t} is known for {x}.", "{t} is a subject studied in {c} since {y}.", "{t} was first described by {p} in {y}.", "{t} can be found in {c}."])
    extract = fact.format(t=title[0].upper() + title[1:], x=m.pick(["its color", "its size", "its history", "its beauty", "its long life"]), c=m.city(), y=m.number(1000, 2020), p=m.person())
    more = m.pick(["", f" It is also found in {m.city()}.", f" About {m.number(100, 9999)} people visit it each year."])
    return exchange(politely(m, ask.format(topic)), "encyclopedia", {"title": title}, m.pick([extract + more, {"title": title, "extract": extract + more}]), extract)


EXCHANGES = {"calculator": calculator, "clock": clock, "convert": convert, "weather": weather, "encyclopedia": encyclopedia}

# Tools made up on the spot: verb, noun, and what it may be asked with.
VERBS = {
    "send": ["message", "email", "letter", "report", "invoice"], "book": ["table", "room", "flight", "taxi", "ticket"], "play": ["song", "movie", "game", "album"],
    "find": ["recipe", "book", "hotel", "job", "route", "contact"], "create": ["note", "event", "task", "reminder", "playlist"], "get": ["price", "news", "score", "schedule", "balance"],
    "delete": ["file", "note", "photo", "event"], "order": ["pizza", "coffee", "flowers", "groceries"], "set": ["alarm", "timer", "light", "volume"], "translate": ["text", "word", "page"],
}
FIELDS = {
    "name": lambda m: m.person(), "city": lambda m: m.city(), "title": lambda m: f"{m.word()} {m.word()}", "count": lambda m: m.number(2, 999), "amount": lambda m: m.decimal(500, 2), "id": lambda m: m.letters().upper() + str(m.number(10, 9999)),
    "time": lambda m: m.time(), "date": lambda m: m.date()[0], "color": lambda m: m.pick(["red", "blue", "green", "white", "black"]), "size": lambda m: m.pick(["small", "medium", "large"]),
    "recipient": lambda m: m.first_name(), "place": lambda m: m.city(), "language": lambda m: m.pick(["French", "German", "Spanish", "Polish", "Dutch"]), "urgent": lambda m: m.chance(0.5),
}


def made_up_tool(m: Maker) -> tuple[dict, str, str, list[str]]:
    verb = m.pick(list(VERBS))
    noun = m.pick(VERBS[verb])
    fields = m.sample(FIELDS, m.pick([1, 1, 2, 2, 3]))
    kinds = {"count": INTEGER, "amount": NUMBER, "urgent": BOOLEAN, "size": {"type": "string", "enum": ["small", "medium", "large"]}}
    name = m.pick([f"{verb}_{noun}", f"{verb}{noun.capitalize()}", f"{noun}_{verb}", f"{noun}"])
    n_required = m.random.randint(1, len(fields))
    tool = function(name, m.pick([f"{verb.capitalize()} a {noun}", f"{verb.capitalize()}s a {noun} for the user", f"Use this to {verb} a {noun}"]), {f: kinds.get(f, STRING) for f in fields}, fields[:n_required])
    return tool, verb, noun, fields


def made_up_exchange(m: Maker):
    """(tool, messages)"""
    tool, _, messages = made_up_wish(m)
    return tool, messages


def made_up_wish(m: Maker):
    """(tool, what it is good for, messages). Optional arguments are given only when the request gives them."""
    tool, verb, noun, fields = made_up_tool(m)
    required = tool["function"]["parameters"]["required"]
    given = {f: FIELDS[f](m) for f in fields if f in required or m.chance(0.5)}
    said = m.pick([" and ", ", "]).join(m.pick([f"{f} {_say(v)}", f"{f} {_say(v)}", f"{f}: {_say(v)}", f"the {f} {_say(v)}"]) for f, v in given.items())
    ask = m.pick(["{v} a {n} with {s}.", "Please {v} a {n}, {s}.", "Can you {v} a {n} with {s}?", "I want to {v} a {n}: {s}.", "{v} the {n} ({s})."]).format(v=verb, n=noun, s=said)
    ask = ask[0].upper() + ask[1:]
    value = m.pick([("Done.", {"status": "ok"}), ("Done.", "ok"), ("It failed: not found.", {"error": "not found"}), (None, None)])
    if value[0] is None:
        code = m.letters().upper() + str(m.number(10, 999))
        value = (f"Done. The number is {code}.", {"status": "ok", "number": code})
    return tool, f"{verb} a {noun}", exchange(ask, tool["function"]["name"], given, value[1], value[0])


def _say(value) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
