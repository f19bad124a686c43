"""ReAct (arXiv 2210.03629) and ReWOO (arXiv 2305.18323) transcripts, and the same goals as chains of native tool calls.

A goal is a list of steps, each one call with its result; a later step uses what an earlier one found.
"""

import json

import template
from . import tools as T
from .lists import UNITS
from .names import Maker
from .passages import passage

REACT_SYSTEM = """Answer the question with the help of tools. Write in this form:
Thought: what to do next
Action: the name of a tool
Action Input: its arguments as JSON
After each observation go on, and end with:
Thought: I know the answer.
Final Answer: the answer

Tools:
{tools}"""

REWOO_PLANNER_SYSTEM = """Make a plan that answers the question with the help of tools. Write one line for what to do and one for the call:
Plan: what to find out
#E1 = tool[{{"argument": "value"}}]
A later call may use #E1. Do not answer yet.

Tools:
{tools}"""

REWOO_SOLVER_SYSTEM = """Answer the question with the evidence that was found. Answer shortly."""


def two_cities(m: Maker):
    a, b = m.city(), m.city()
    (ta, _, _, ra), (tb, _, _, rb) = T.weather_result(m, a), T.weather_result(m, b)
    warmer = a if ta >= tb else b
    ask, answer = m.pick([
        (f"Which is warmer, {a} or {b}?", f"{warmer} is warmer."), (f"Is it warmer in {a} or in {b}?", f"{warmer} is warmer."),
        (f"What is the weather in {a} and in {b}?", f"It is {ta} °C in {a} and {tb} °C in {b}."), (f"Compare the temperature in {a} and {b}.", f"It is {ta} °C in {a} and {tb} °C in {b}."),
    ])
    return ask, [(f"I need the weather in {a}.", "weather", {"city": a}, ra), (f"I need the weather in {b}.", "weather", {"city": b}, rb)], answer


def weather_in_units(m: Maker):
    city = m.city()
    t, _, _, result = T.weather_result(m, city)
    f = round(t * 9 / 5 + 32, 1)
    if not m.mine(T.plain(f)):
        return weather_in_units(m)
    ask = m.pick([f"What is the temperature in {city} in fahrenheit?", f"How warm is it in {city} in degrees fahrenheit?", f"Tell me the temperature in {city} in fahrenheit."])
    return ask, [(f"I need the weather in {city}.", "weather", {"city": city}, result),
                 ("I need to convert it to fahrenheit.", "convert", {"value": t, "from": "celsius", "to": "fahrenheit"}, {"value": f, "unit": "fahrenheit"})], f"It is {T.plain(f)} °F in {city}."


def home_weather(m: Maker):
    while True:
        name, text, questions = passage(m)
        cities = [key for q, key, _ in questions if q.startswith("Where was") or "take place" in q and q.startswith("Where")]
        if cities:
            break
    city = cities[0]
    t, _, sky, result = T.weather_result(m, city)
    what = "the home town of " + name if "Festival" not in name else f"the city of the {name}"
    return f"How is the weather in {what}?", [(f"I need to look up {name}.", "encyclopedia", {"title": name}, text), (f"{name} belongs to {city}. I need the weather there.", "weather", {"city": city}, result)], \
        f"It is {t} °C with {sky} in {city}."


def age_sum(m: Maker):
    while True:
        name, text, questions = passage(m)
        years = [key for q, key, _ in questions if ("year" in q or "founded" in q or "When was" in q) and key.isdigit()]
        if years:
            break
    now = m.number(2021, 2100)
    value = now - int(years[0])
    if value < 0 or not m.mine(value):
        return age_sum(m)
    return f"How many years before {now} does {name} begin?", [(f"I need to look up {name}.", "encyclopedia", {"title": name}, text), (f"The year is {years[0]}. I need to subtract.", "calculator", {"expression": f"{now} - {years[0]}"}, str(value))], \
        f"{value} years."


def convert_sum(m: Maker):
    old, new = m.pick(UNITS)
    a, b = m.number(2, 999), m.number(2, 999)
    if not m.mine(a + b):
        return convert_sum(m)
    result = m.decimal(9999, 2)
    ask = m.pick([f"How many {new} are {a} plus {b} {old}?", f"Add {a} and {b} {old} and give it in {new}.", f"What is {a} + {b} {old} in {new}?"])
    return ask, [("I need the sum first.", "calculator", {"expression": f"{a} + {b}"}, str(a + b)), (f"I need to convert it to {new}.", "convert", {"value": a + b, "from": old, "to": new}, f"{result} {new}")], f"It is {result} {new}."


def single(m: Maker):
    """One call is enough."""
    name = m.pick(list(T.EXCHANGES))
    user, call, result, answer = T.EXCHANGES[name](m)
    arguments = call["tool_calls"][0]["function"]["arguments"]
    thought = {"weather": "I need the weather in {}.", "clock": "I need the time in {}.", "encyclopedia": "I need to look up {}.", "calculator": "I need to calculate {}.", "convert": "I need to convert {}."}[name]
    return user["content"], [(thought.format(next(iter(arguments.values()))), name, arguments, result["content"])], answer["content"]


GOALS = [two_cities, weather_in_units, home_weather, age_sum, convert_sum, single, single, single]


def as_text(result) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def tool_lines(m: Maker, used) -> str:
    names = list(T.PAGE_TOOLS)
    if m.chance(0.4):
        names = list({n: 0 for n in used} | {n: 0 for n in m.sample(names, 3)})
        m.random.shuffle(names)
    return "\n".join(template.signature(T.page_tool(n, m if m.chance(0.3) else None)) for n in names)


def react(m: Maker):
    ask, steps, answer = m.pick(GOALS)(m)
    system = REACT_SYSTEM.format(tools=tool_lines(m, [s[1] for s in steps]))
    messages = [{"role": "system", "content": system}, {"role": "user", "content": m.pick(["", "Question: "]) + ask}]
    for thought, name, arguments, result in steps:
        messages.append({"role": "assistant", "content": f"Thought: {thought}\nAction: {name}\nAction Input: {json.dumps(arguments, ensure_ascii=False)}"})
        messages.append({"role": "tool", "content": "Observation: " + as_text(result)})
    messages.append({"role": "assistant", "content": f"Thought: I know the answer.\nFinal Answer: {answer}"})
    return messages, None


def rewoo(m: Maker):
    """The planner's turn or the solver's. In a plan a later argument that hangs on an earlier result is written #E1."""
    ask, steps, answer = m.pick(GOALS)(m)
    lines, evidence, known = [], [], []
    for i, (thought, name, arguments, result) in enumerate(steps, 1):
        planned = {}
        for key, value in arguments.items():
            # What the question does not say can only come from the evidence before.
            text = json.dumps(value, ensure_ascii=False).strip('"')
            if key in ("from", "to") or text in ask or not known:
                planned[key] = value
            elif key == "expression":
                planned[key] = " ".join(p if p in ask or not p[0].isdigit() else f"#E{known[-1]}" for p in text.split())
            else:
                planned[key] = f"#E{known[-1]}"
        known.append(i)
        what = {"weather": "Find the weather.", "encyclopedia": "Look it up.", "calculator": "Do the calculation.", "convert": "Convert the value.", "clock": "Find the time."}[name]
        lines += [f"Plan: {what}", f"#E{i} = {name}[{json.dumps(planned, ensure_ascii=False)}]"]
        evidence += [f"Plan: {what}", f"#E{i} = {name}[{json.dumps(planned, ensure_ascii=False)}]", f"Evidence: {as_text(result)}"]
    if m.chance(0.5):
        system = REWOO_PLANNER_SYSTEM.format(tools=tool_lines(m, [s[1] for s in steps])).replace("{{", "{").replace("}}", "}")
        return [{"role": "system", "content": system}, {"role": "user", "content": ask}, {"role": "assistant", "content": "\n".join(lines)}], None
    return [{"role": "system", "content": REWOO_SOLVER_SYSTEM}, {"role": "user", "content": f"Question: {ask}\n\n" + "\n".join(evidence)}, {"role": "assistant", "content": answer}], None


def chain(m: Maker):
    """The same goals with native tool calls."""
    ask, steps, answer = m.pick(GOALS[:5])(m)
    messages = [{"role": "system", "content": "You are Tandem, a helpful assistant."}] if m.chance(0.7) else []
    messages.append({"role": "user", "content": ask})
    for _, name, arguments, result in steps:
        messages += [T.call(name, arguments), {"role": "tool", "content": as_text(result)}]
    return messages + [{"role": "assistant", "content": answer}], [T.page_tool(n, m if m.chance(0.3) else None) for n in T.PAGE_TOOLS]
