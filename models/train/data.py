"""Texts and conversations -> token ids, which of them count for the loss, and batches.

Each source is a list of documents. A row of a batch is filled with whole documents, so that no conversation loses its beginning;
attention does not cross from one into the next. What is drawn depends on the seed and on one counter a source, so a run that is
resumed goes on where it stopped.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import corpus
import template
from generate import agents, chat, drills, passages, plots, texts
from generate.names import Maker
from tokenizer import END_OF_TEXT, IM_END, IM_START, load as load_tokenizer

# Share of the documents' tokens that each source gets in training.
WEIGHTS = {
    "stories": 0.17, "tales": 0.01, "story_chat": 0.06, "plots": 0.05, "plot_texts": 0.07, "tool_chat": 0.22, "drills": 0.20, "text_tasks": 0.06, "passages": 0.05, "agents": 0.06,
    "seal_tools": 0.01, "toolformer": 0.01, "copying": 0.03,
}


class Source:
    """Documents end to end: ids [n] uint16, counts [n] bool (does this token count for the loss?), starts [documents + 1]."""

    def __init__(self, documents: list[tuple[list[int], list[bool]]]):
        self.ids = np.concatenate([np.array(d[0], dtype=np.uint16) for d in documents])
        self.counts = np.concatenate([np.array(d[1], dtype=bool) for d in documents])
        self.starts = np.cumsum([0] + [len(d[0]) for d in documents])

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, i):
        a, b = self.starts[i], self.starts[i + 1]
        return self.ids[a:b], self.counts[a:b]

    def save(self, path: Path):
        np.savez(path, ids=self.ids, counts=self.counts, starts=self.starts)

    @classmethod
    def load(cls, path: Path):
        source, file = cls.__new__(cls), np.load(path)
        source.ids, source.counts, source.starts = file["ids"], file["counts"], file["starts"]
        return source


def encode_text(tokenizer: Tokenizer, text: str):
    ids = tokenizer.encode(text, add_special_tokens=False).ids + [END_OF_TEXT]
    return ids, [True] * len(ids)


def encode_chat(tokenizer: Tokenizer, messages, tools=None):
    """The rendered conversation; what the assistant writes counts for the loss, with the <|im_end|> that ends it."""
    ids = tokenizer.encode(template.render(messages, tools), add_special_tokens=False).ids
    header = tokenizer.encode("assistant\n", add_special_tokens=False).ids
    counts, inside, i = [False] * len(ids), False, 0
    while i < len(ids):
        if ids[i] == IM_START and ids[i + 1 : i + 1 + len(header)] == header:
            inside, i = True, i + 1 + len(header)
            continue
        counts[i] = inside
        if ids[i] == IM_END:
            inside = False
        i += 1
    return ids, counts


def copying(tokenizer: Tokenizer, n: int, seed: int):
    """Made-up names and numbers, said again. Nothing but copying predicts the second time, so that copying is learned early."""
    for i in range(n):
        m = Maker(f"{seed}-copying-{i}")
        said = [m.pick([m.word, m.city, m.person, m.number, m.time])() for _ in range(m.random.randint(1, 8))]
        part = tokenizer.encode("".join(f" {x}" for x in said), add_special_tokens=False).ids
        times = m.random.randint(2, 3)
        yield part * times + [END_OF_TEXT], [False] * len(part) + [True] * (len(part) * (times - 1)) + [False]


def plot_texts(data: Path, n: int, seed: int):
    """Stories made from plots, each begun like a real story of the training split."""
    real = [s for s in corpus.stories(data) if not corpus.is_held_out(s)]
    for i in range(n):
        m = Maker(f"{seed}-plot-texts-{i}")
        yield plots.story(m, m.pick(real))


def conversations(kind: str, data: Path, n: int, seed, split: str = "train", start: int = 0):
    """Conversations start..start + n of one kind, as (messages, tools). Each is made from its own seed."""
    own = [s for s in corpus.stories(data) if corpus.is_held_out(s) == (split == "held-out")]
    tales = [s for s in corpus.tales(data) if corpus.is_held_out(s) == (split == "held-out")]
    for i in range(start, start + n):
        m = Maker(f"{seed}-{kind}-{split}-{i}", split)
        if kind == "story_chat":
            yield texts.tell_story(m, m.pick(own)), None
        elif kind == "plots":
            yield texts.tell_story(m, plots.story(m, m.pick(own))), None
        elif kind == "drills":
            yield drills.drill(m)
        elif kind == "tool_chat":
            yield chat.plain_chat(m) if m.chance(0.08) else chat.tool_chat(m, story=m.pick(own))
        elif kind == "text_tasks":
            yield texts.text_task(m, m.pick(own) if m.chance(0.75) else m.pick(tales)), None
        elif kind == "passages":
            yield (passages.passage_summary(m) if m.chance(0.2) else passages.passage_question(m)), None
        elif kind == "agents":
            yield m.pick([agents.react, agents.rewoo, agents.chain])(m)


def _encoded(chunk):
    """One chunk of generated conversations, encoded, in a process of its own."""
    kind, data, start, n, seed = chunk
    tokenizer = load_tokenizer()
    return [encode_chat(tokenizer, *c) for c in conversations(kind, data, n, seed, start=start)]


def generated(kind: str, data: Path, n: int, seed: int, chunk: int = 2000):
    chunks = [(kind, data, start, min(chunk, n - start), seed) for start in range(0, n, chunk)]
    if len(chunks) == 1:
        return _encoded(chunks[0])
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return [d for part in pool.map(_encoded, chunks) for d in part]


def build(tokenizer: Tokenizer, data: Path, folder: Path, n: dict[str, int], seed: int, max_tokens: int):
    """Writes one file a source into `folder`, where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "stories": lambda: (encode_text(tokenizer, s) for s in corpus.stories(data) if not corpus.is_held_out(s)),
        "plot_texts": lambda: (encode_text(tokenizer, s) for s in plot_texts(data, n["plots"], seed)),
        "copying": lambda: copying(tokenizer, 20000, seed),
        "tales": lambda: (encode_text(tokenizer, s) for s in corpus.tales(data) if not corpus.is_held_out(s)),
        "seal_tools": lambda: (encode_chat(tokenizer, *c) for c in corpus.seal_tools(data, seed)),
        "toolformer": lambda: (encode_chat(tokenizer, *c) for c in corpus.toolformer(data)),
    }
    for kind in ("story_chat", "plots", "tool_chat", "drills", "text_tasks", "passages", "agents"):
        makers[kind] = lambda kind=kind: generated(kind, data, n[kind], seed)
    sources = {}
    for name, make in makers.items():
        path = folder / f"{name}.npz"
        if not path.exists():
            documents = [d for d in make() if len(d[0]) <= max_tokens or all(d[1])]
            Source(documents).save(path.with_suffix(".tmp.npz"))
            path.with_suffix(".tmp.npz").rename(path)
        sources[name] = Source.load(path)
        print(f"{name}: {len(sources[name])} documents, {len(sources[name].ids)} tokens, {int(sources[name].counts.sum())} count for the loss", flush=True)
    return sources


class Batches:
    """Endless batches. `state` is all that is needed to go on: one counter a source, and the number of the batch."""

    def __init__(self, sources: dict[str, Source], seed: int, n_rows: int, n_tokens: int, weights=WEIGHTS):
        self.sources, self.seed, self.n_rows, self.n_tokens = sources, seed, n_rows, n_tokens
        # Weights are shares of tokens; documents differ in length.
        lengths = {k: len(s.ids) / len(s) for k, s in sources.items()}
        w = np.array([weights[k] / lengths[k] for k in sources])
        self.names, self.p = list(sources), w / w.sum()
        self.state = {"batch": 0, "drawn": {k: 0 for k in sources}}
        self._orders = {}

    def _draw(self, rng):
        name = self.names[rng.choice(len(self.names), p=self.p)]
        source, i = self.sources[name], self.state["drawn"].get(name, 0)
        self.state["drawn"][name] = i + 1
        epoch, place = divmod(i, len(source))
        if self._orders.get(name, (None,))[0] != epoch:
            self._orders[name] = (epoch, np.random.default_rng([self.seed, epoch]).permutation(len(source)))
        return source[self._orders[name][1][place]]

    def next(self):
        """ids and targets [rows, n] (a target of -100 does not count), positions [rows, n], document numbers [rows, n]."""
        rng = np.random.default_rng([self.seed, self.state["batch"]])
        self.state["batch"] += 1
        n, waiting = self.n_tokens + 1, []
        ids = np.zeros((self.n_rows, n), dtype=np.int64)
        counts = np.zeros((self.n_rows, n), dtype=bool)
        document = np.zeros((self.n_rows, n), dtype=np.int64)
        positions = np.zeros((self.n_rows, n), dtype=np.int64)
        for row in range(self.n_rows):
            at, number = 0, 0
            while at < n:
                room = n - at
                pick = next((j for j, d in enumerate(waiting) if len(d[0]) <= room), None)
                if pick is not None:
                    d = waiting.pop(pick)
                elif len(waiting) < 24:
                    d = self._draw(rng)
                    if len(d[0]) > room and not d[1].all():
                        waiting.append(d)
                        continue
                else:
                    d = waiting.pop(0)
                k = min(len(d[0]), room)
                ids[row, at : at + k], counts[row, at : at + k] = d[0][:k], d[1][:k]
                document[row, at : at + k], positions[row, at : at + k] = number, np.arange(k)
                at, number = at + k, number + 1
        # The first token of a document is not predicted from the document before.
        counts[:, 1:] &= document[:, 1:] == document[:, :-1]
        targets = np.where(counts[:, 1:], ids[:, 1:], -100)
        as_tensor = lambda a: torch.from_numpy(np.ascontiguousarray(a[:, :-1]))
        return as_tensor(ids), torch.from_numpy(targets), as_tensor(positions), as_tensor(document)


def attention_mask(document: torch.Tensor) -> torch.Tensor:
    """document [rows, n] -> [rows, 1, n, n]: a token sees itself and what came before it in its own document."""
    n = document.shape[1]
    same = document[:, :, None] == document[:, None, :]
    return (same & torch.ones(n, n, dtype=torch.bool, device=document.device).tril())[:, None]
