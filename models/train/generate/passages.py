"""Passages about things that do not exist, each with facts that can be asked for. Reading is the only way to the answer."""

from .names import Maker

JOBS = ["painter", "baker", "pilot", "doctor", "teacher", "singer", "farmer", "chemist", "writer", "sailor", "engineer", "gardener", "explorer", "chess player",
        "physicist", "poet", "carpenter", "dancer", "architect", "astronomer"]
THINGS = ["a silver clock", "a paper boat", "a red balloon", "a flying kite", "a new kind of bread", "a map of the stars", "a song about the sea", "a bridge of glass",
          "a book on birds", "a wooden horse", "a quiet engine", "a blue lamp", "a famous garden", "a tiny telescope", "a game with cards", "a cure for hiccups"]
FOODS = ["honey cakes", "fish soup", "dark bread", "plum jam", "goat cheese", "apple pie", "pepper stew", "almond sweets", "smoked trout", "pumpkin soup"]
ANIMALS = ["cats", "owls", "foxes", "wild horses", "storks", "seals", "parrots", "beavers", "turtles", "deer", "bats", "swans"]
COLORS = ["red", "blue", "green", "golden", "white", "black", "purple", "silver", "brown", "orange"]


def person(m: Maker):
    name, year, city, job, thing = m.person(), m.number(1400, 2020), m.city(), m.pick(JOBS), m.pick(THINGS)
    first = name.split()[0]
    return name, [
        (f"{name} was a {job} from {city}.", [(f"Where was {name} from?", city, f"{name} was from {city}."),
                                              (f"What did {name} do for a living?", job, f"{name} was a {job}.")]),
        (f"{first} was born in {year}.", [(f"When was {name} born?", year, f"{name} was born in {year}."),
                                          (f"In which year was {first} born?", year, f"{first} was born in {year}.")]),
        (f"{first} is best known for {thing}.", [(f"What is {name} known for?", thing, f"{name} is best known for {thing}.")]),
    ]


def town(m: Maker):
    name, country, people, food, animals, year = m.city(), m.word(), m.number(100, 99999), m.pick(FOODS), m.pick(ANIMALS), m.number(1000, 1950)
    return name, [
        (f"{name} is a town in {country}.", [(f"In which country is {name}?", country, f"{name} is in {country}."), (f"Where is {name}?", country, f"{name} is in {country}.")]),
        (f"It has {people} inhabitants.", [(f"How many people live in {name}?", people, f"{people} people live in {name}.")]),
        (f"The town was founded in {year}.", [(f"When was {name} founded?", year, f"{name} was founded in {year}.")]),
        (f"It is famous for its {food} and its {animals}.", [(f"What is {name} famous for?", food, f"{name} is famous for its {food} and its {animals}.")]),
    ]


def water(m: Maker):
    kind = m.pick(["river", "lake", "mountain", "glacier"])
    name, place, size = f"{m.word()} {kind.capitalize()}", m.word(), m.number(20, 9000)
    measure, unit, how = {"river": ("long", "kilometers", "How long"), "lake": ("deep", "meters", "How deep"), "mountain": ("high", "meters", "How high"),
                          "glacier": ("wide", "meters", "How wide")}[kind]
    color, animals, finder = m.pick(COLORS), m.pick(ANIMALS), m.person()
    return name, [
        (f"The {name} is a {kind} in {place}.", [(f"Where is the {name}?", place, f"The {name} is in {place}.")]),
        (f"It is {size} {unit} {measure}.", [(f"{how} is the {name}?", size, f"The {name} is {size} {unit} {measure}.")]),
        (f"It is known for its {color} stones and its {animals}.", [(f"What animals live at the {name}?", animals, f"The {name} is known for its {animals}.")]),
        (f"It was first mapped by {finder}.", [(f"Who first mapped the {name}?", finder, f"It was first mapped by {finder}.")]),
    ]


def machine(m: Maker):
    name, maker, year, city, weight = f"{m.word()} {m.pick(['engine', 'lamp', 'clock', 'pump', 'wheel', 'camera'])}", m.person(), m.number(1500, 2024), m.city(), m.number(3, 900)
    return name, [
        (f"The {name} was invented by {maker} in {year}.", [(f"Who invented the {name}?", maker, f"The {name} was invented by {maker}."),
                                                            (f"When was the {name} invented?", year, f"The {name} was invented in {year}.")]),
        (f"It weighs {weight} kilograms.", [(f"How heavy is the {name}?", weight, f"The {name} weighs {weight} kilograms.")]),
        (f"The first one stands in a museum in {city}.", [(f"Where is the first {name}?", city, f"The first {name} stands in a museum in {city}.")]),
    ]


def festival(m: Maker):
    name, city, month = f"{m.word()} Festival", m.city(), m.pick("January February March April May June July August September October November December".split())
    food, visitors, host = m.pick(FOODS), m.number(50, 90000), m.person()
    return name, [
        (f"The {name} takes place in {city} every {month}.", [(f"Where does the {name} take place?", city, f"The {name} takes place in {city}."),
                                                              (f"When does the {name} take place?", month, f"The {name} takes place every {month}.")]),
        (f"About {visitors} visitors come each year.", [(f"How many visitors come to the {name}?", visitors, f"About {visitors} visitors come to the {name} each year.")]),
        (f"The guests eat {food}.", [(f"What do guests eat at the {name}?", food, f"They eat {food}.")]),
        (f"It was started by {host}.", [(f"Who started the {name}?", host, f"The {name} was started by {host}.")]),
    ]


KINDS = [person, town, water, machine, festival]


def passage(m: Maker, subject: str | None = None):
    """(name, text, [(question, key, answer)]). The facts after the first come in any order, and some are left out."""
    name, facts = m.pick(KINDS)(m)
    rest = facts[1:]
    m.random.shuffle(rest)
    facts = [facts[0]] + rest[: m.random.randint(1, len(rest))]
    questions = [(q, str(key), answer) for _, asked in facts for q, key, answer in asked]
    return name, " ".join(sentence for sentence, _ in facts), questions


UNKNOWN = ["The text does not say.", "That is not in the text.", "The passage does not mention it."]
OTHER_QUESTIONS = ["What is the weather like in {}?", "Who is the mayor of {}?", "How much does {} cost?", "What color is the flag of {}?", "Which language is spoken in {}?",
                   "Who is the best friend of {}?", "What did {} eat for breakfast?"]
ASK = [
    "{passage}\n\n{question}",
    "{passage}\n\nQuestion: {question}",
    "Text: {passage}\n\nQuestion: {question}",
    "Read this and answer the question.\n\n{passage}\n\n{question}",
    "Answer from the text only.\n\n{passage}\n\n{question}",
    "Context:\n{passage}\n\nQuestion: {question}\nAnswer:",
    "{question}\n\n{passage}",
    "Use the text to answer: {question}\n\nText:\n{passage}",
]


def passage_question(m: Maker):
    """One to three questions on a text of one to three passages."""
    parts = [passage(m) for _ in range(m.pick([1, 1, 2, 2, 3]))]
    text = m.pick([" ", "\n\n"]).join(p[1] for p in parts)
    messages = []
    for turn in range(m.pick([1, 1, 2, 3])):
        name, _, questions = m.pick(parts)
        if m.chance(0.12):
            question, answer, key = m.pick(OTHER_QUESTIONS).format(name), m.pick(UNKNOWN[:1]), ""
        else:
            question, key, answer = m.pick(questions)
        user = m.pick(ASK).format(passage=text, question=question) if turn == 0 else question
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return messages


def passage_summary(m: Maker):
    name, text, _ = passage(m)
    sentences = text.split(". ")
    short = sentences[0].rstrip(".") + ("." if len(sentences) == 1 else ", and " + _lower(sentences[1].rstrip(".")) + ".")
    ask = m.pick(["Summarize this: {}", "Summarise the text in one sentence.\n\n{}", "Give me a short summary.\n\n{}", "{}\n\nSummarize the text above.", "Sum this up: {}", "TL;DR\n\n{}"])
    return [{"role": "user", "content": ask.format(text)}, {"role": "assistant", "content": short}]


def _lower(sentence: str) -> str:
    head = sentence.split()[0]
    return sentence[0].lower() + sentence[1:] if head in ("It", "The", "About") else sentence
