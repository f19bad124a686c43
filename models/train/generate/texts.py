"""Tasks on real texts, most of which are answered by copying: rewriting, quoting, correcting, continuing, telling."""

import re

from .names import Maker
from .lists import FIRST_NAMES

TELL = ["Tell me a story about {}.", "Write a short story about {}.", "Can you tell me a story with {}?", "Please write a story about {}.", "I want a story about {}.",
        "Make up a story with {} in it.", "A story about {}, please.", "Tell a bedtime story about {}."]
TELL_ANY = ["Tell me a story.", "Write a short story.", "Please tell me a bedtime story.", "Can you make up a story?", "I want to hear a story.", "Tell me something nice.",
            "Write a story for children.", "Once upon a time..."]
CONTINUE = ["Continue this story: {}", "Go on with the story.\n\n{}", "Finish this story: {}", "What happens next?\n\n{}", "Continue: {}"]
COMMON = set("""the and was were had her his she they them said very with that this for you are not but all from have then there when what who out into one day
time upon once their would could went saw some big little like happy fun play played wanted named mom dad girl boy asked felt looked more over again but never
can will has him its did get got put see let good sad liked loved knew back down just about how too now came took made other two inside your away your around""".split())


def keywords(m: Maker, story: str, n: int) -> list[str]:
    """Things in the story: what follows "the" and comes up again."""
    words = [w for w in set(re.findall(r"\bthe ([a-z]{3,10})\b", story)) if w not in COMMON and story.count(w) > 1]
    return m.sample(sorted(words), min(n, len(words)))


def with_article(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def name_in(story: str) -> str | None:
    found = re.search(r"\bnamed ([A-Z][a-z]+)", story)
    return found.group(1) if found else None


def tell_story(m: Maker, story: str):
    """A request that this story answers."""
    roll, name = m.random.random(), name_in(story)
    if roll < 0.15:
        ask = m.pick(TELL_ANY)
    elif roll < 0.4 and name:
        words = keywords(m, story, 1)
        ask = m.pick(TELL).format(name + (" and " + with_article(words[0]) if words and m.chance(0.3) else ""))
    elif roll < 0.55:
        ask = "Write a story with these words: " + (", ".join(keywords(m, story, 3)) or "friend")
    elif roll < 0.7:
        first, _, rest = story.partition(". ")
        if rest:
            return [{"role": "user", "content": m.pick(CONTINUE).format(first + ".")}, {"role": "assistant", "content": rest.strip()}]
        ask = m.pick(TELL_ANY)
    else:
        words = keywords(m, story, 2)
        ask = m.pick(TELL).format(" and ".join(with_article(w) for w in words) if words else "a friend")
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": story}]


def sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?][\"”])\s+|(?<=[.!?])\s+(?![\"”a-z])", text.replace("\n", " ")) if s]


def excerpt(m: Maker, text: str, low=2, high=6) -> list[str]:
    parts = sentences(text)
    n = min(len(parts), m.random.randint(low, high))
    start = m.random.randint(0, len(parts) - n)
    return parts[start : start + n]


def _turn(ask: str, answer: str):
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]


def rename(m: Maker, text: str):
    """Replace a name throughout: copying with one change."""
    part = " ".join(excerpt(m, text))
    names = [n for n in set(re.findall(r"\b[A-Z][a-z]{2,}\b", part)) if n in FIRST_NAMES or part.count(n) > 1]
    if not names:
        return repeat(m, text)
    old, new = m.pick(sorted(names)), m.first_name()
    answer = re.sub(rf"\b{old}\b", new, part)
    ask = m.pick(["Replace {old} with {new} in this text.\n\n{t}", "Change the name {old} to {new}: {t}", "Rewrite this with {new} instead of {old}.\n\n{t}", "{t}\n\nRename {old} to {new}."])
    return _turn(ask.format(old=old, new=new, t=part), answer)


def repeat(m: Maker, text: str):
    part = " ".join(excerpt(m, text, 1, 4))
    ask = m.pick(["Repeat this text: {}", "Copy this: {}", "Say this again, word for word.\n\n{}", "Repeat after me: {}", "{}\n\nWrite the text above again."])
    return _turn(ask.format(part), part)


def spelling(m: Maker, text: str):
    """Letters are swapped; the answer is the text as it was."""
    part = " ".join(excerpt(m, text, 1, 4))
    words = part.split(" ")
    for i, w in enumerate(words):
        if len(w) > 4 and w.isalpha() and m.chance(0.25):
            j = m.random.randint(1, len(w) - 3)
            words[i] = w[:j] + w[j + 1] + w[j] + w[j + 2 :]
    ask = m.pick(["Fix the spelling: {}", "Correct the mistakes in this text.\n\n{}", "Correct this: {}", "Please fix the typos.\n\n{}"])
    return _turn(ask.format(" ".join(words)), part)


def pieces(m: Maker, text: str):
    """First sentence, last sentence, the sentence about a word, one sentence a line."""
    parts = excerpt(m, text, 3, 6)
    t, roll = " ".join(parts), m.random.random()
    if roll < 0.2:
        return _turn(m.pick(["What is the first sentence?\n\n{}", "Give me the first sentence of this text.\n\n{}"]).format(t), parts[0])
    if roll < 0.4:
        return _turn(m.pick(["What is the last sentence?\n\n{}", "Give me the last sentence of this text.\n\n{}"]).format(t), parts[-1])
    if roll < 0.6:
        return _turn(m.pick(["Write each sentence on its own line.\n\n{}", "Make a list of the sentences.\n\n{}"]).format(t), "\n".join("- " + p for p in parts))
    target = m.pick(parts)
    words = [w for w in re.findall(r"\b[a-z]{4,}\b", target) if t.count(w) == 1]
    if not words:
        return _turn(f"What is the first sentence?\n\n{t}", parts[0])
    word = m.pick(words)
    return _turn(m.pick(['Which sentence has the word "{w}"?\n\n{t}', 'Find the sentence with "{w}".\n\n{t}', '{t}\n\nQuote the sentence that says "{w}".']).format(w=word, t=t), target)


def who_said(m: Maker, text: str):
    """What did Lily say?"""
    quotes = [(n, q) for q, n in re.findall(r'"([^"]{8,120})" ?(?:said|asked|shouted|replied) ([A-Z][a-z]+)', text)]
    quotes += [(n, q) for n, q in re.findall(r'\b([A-Z][a-z]+) (?:said|asked|shouted|replied), "([^"]{8,120})"', text)]
    names = [n for n, _ in quotes]
    single = [(n, q) for n, q in quotes if names.count(n) == 1 and n not in ("She", "He", "They", "The", "It")]
    if not single:
        return pieces(m, text)
    name, quote = m.pick(single)
    at = text.index(quote)
    lines = sentences(text[max(0, at - 250) : at + len(quote) + 200])
    t = " ".join(lines[1:-1] if len(lines) > 3 else lines)
    if quote not in t:
        t = text[:900]
    if quote not in t or name not in t:
        return pieces(m, text)
    return _turn(m.pick(["{t}\n\nWhat did {n} say?", "What does {n} say in this text?\n\n{t}", "Text: {t}\n\nQuestion: What did {n} say?"]).format(t=t, n=name), f'{name} said, "{quote}"')


def summary(m: Maker, text: str):
    """By extraction: how it starts and how it ends."""
    parts = sentences(text)
    if len(parts) < 4 or len(text) > 1500:
        parts = excerpt(m, text, 4, 8)
    short = parts[0] + " " + parts[-1]
    ask = m.pick(["Summarize this story.\n\n{}", "Summarise: {}", "{}\n\nGive me a short summary.", "Tell me in two sentences what happens.\n\n{}", "What is this about?\n\n{}"])
    return _turn(ask.format(" ".join(parts)), short)


TASKS = [rename, rename, repeat, spelling, pieces, pieces, who_said, summary, summary]


def text_task(m: Maker, text: str):
    return m.pick(TASKS)(m, text)
