"""Names and numbers, each belonging to training or to the held-out set by its hash, so that neither ever sees the other's.

Most names are made of syllables or of random letters. There are millions of them and each is seen once or so: copying is the
only way to get them right, and copying is what tool calls need.
"""

import random
import zlib

from .lists import CITIES, FIRST_NAMES, TOPICS


def held_out(text: str) -> bool:
    """One in ten, by hash, for ever: this decides before any training which names and numbers are never trained on."""
    return zlib.crc32(("tandem " + text.lower()).encode()) % 10 == 0


ONSETS = "b br c ch cl d dr f fl g gr h j k kl l m n p pr qu r s sh sk st t th tr v w y z".split()
VOWELS = "a e i o u a e i o ai ea ei ia io oa ou".split()
CODAS = ["", "", "", "n", "r", "l", "s", "m", "nd", "rk", "th", "ck", "v", "x", "t"]
PLACE_ENDINGS = ["ville", "ton", "burg", "ford", "holm", "stad", "mouth", "by", "port", "grad", "ia", "os", "ana", "vik", ""]


class Maker:
    """A random source that only hands out what belongs to its split ("train" or "held-out")."""

    def __init__(self, seed, split: str = "train"):
        self.random = random.Random(str(seed))
        self.want_held_out = split == "held-out"

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def pick(self, options):
        return self.random.choice(options)

    def sample(self, options, n):
        return self.random.sample(list(options), n)

    def _mine(self, make):
        """Draws until every part belongs to this split. Single letters and digits belong to both."""
        while True:
            value = make()
            parts = [p for p in str(value).replace(",", " ").split() if len(p) > 1]
            if all(held_out(p) == self.want_held_out for p in parts):
                return value

    def number(self, low: int = 2, high: int = 999) -> int:
        """Numbers of two digits and more are split; the lengths are drawn evenly so that short ones are not rare."""
        def make():
            n_digits = self.random.randint(len(str(low)), len(str(high)))
            return self.random.randint(max(low, 10 ** (n_digits - 1)), min(high, 10**n_digits - 1))
        return self._mine(make)

    def decimal(self, high: int = 99, places: int = 1) -> float:
        return self._mine(lambda: round(self.random.uniform(0, high), places))

    def mine(self, number) -> bool:
        """Whether a number that was computed may appear in this split."""
        return len(str(number)) < 2 or held_out(str(number)) == self.want_held_out

    def syllables(self, low=1, high=3) -> str:
        word = "".join(self.pick(ONSETS) + self.pick(VOWELS) for _ in range(self.random.randint(low, high)))
        return (word + self.pick(CODAS)).capitalize()

    def letters(self) -> str:
        n = self.random.randint(3, 9)
        return "".join(self.pick("abcdefghijklmnopqrstuvwxyz") for _ in range(n)).capitalize()

    def word(self) -> str:
        """A made-up name of one word."""
        return self._mine(lambda: self.letters() if self.chance(0.15) else self.syllables())

    def known_city(self) -> tuple[str, str]:
        """A real city and its IANA time zone."""
        return self.pick([c for c in CITIES if held_out(c[0]) == self.want_held_out])

    def city(self) -> str:
        if self.chance(0.35):
            return self.known_city()[0]
        def make():
            name = self.syllables(1, 2) + self.pick(PLACE_ENDINGS)
            if self.chance(0.12):
                name = self.pick(["New ", "Port ", "San ", "Saint ", "Old ", "North "]) + name
            return name
        # The little words before a name ("New", "Port") belong to both splits.
        while True:
            name = make()
            if held_out(name.split()[-1]) == self.want_held_out:
                return name

    def first_name(self) -> str:
        if self.chance(0.4):
            return self.pick([n for n in FIRST_NAMES if held_out(n) == self.want_held_out])
        return self.word()

    def person(self) -> str:
        return f"{self.first_name()} {self.word()}"

    def topic(self) -> str:
        """Something an encyclopaedia has a page on."""
        kind = self.random.random()
        if kind < 0.3:
            return self.pick([t for t in TOPICS if held_out(t) == self.want_held_out])
        if kind < 0.55:
            return self.person()
        if kind < 0.7:
            return self.city()
        w = self.word()
        return self.pick([
            f"Lake {w}", f"Mount {w}", f"{w} River", f"Battle of {w}", f"{w} Bridge", f"University of {w}", f"{w} Castle",
            f"Treaty of {w}", f"{w} Desert", f"{w} language", f"{w} Museum", f"{w} theorem", f"{w} effect", f"{w}", f"{w}",
        ])

    def time(self) -> str:
        return self._mine(lambda: f"{self.random.randint(0, 23):02d}:{self.random.randint(0, 59):02d}")

    def date(self) -> tuple[str, str]:
        """An ISO date and its weekday."""
        import datetime
        def make():
            return datetime.date(2024, 1, 1) + datetime.timedelta(days=self.random.randint(0, 1800))
        day = self._mine(make)
        return day.isoformat(), day.strftime("%A")
