"""What is measured, each on names and numbers that training never saw."""

import itertools
import json
import math
import re

import torch
import torch.nn.functional as F

import corpus
import data as D
import template
from generate import chat, tools as T
from generate.names import Maker
from sampling import acceptance, generate


def prompt_ids(tokenizer, messages, tools):
    return tokenizer.encode(template.render(messages, tools, add_generation_prompt=True), add_special_tokens=False).ids


def text_of(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)


def all_page_tools():
    return [T.page_tool(n) for n in T.PAGE_TOOLS]


SYSTEM = [{"role": "system", "content": chat.SYSTEMS[0]}]


@torch.no_grad()
def perplexity(model, documents) -> float:
    """Over the tokens that count, each document by itself."""
    total = n = 0
    for ids, counts in documents:
        ids, counts = torch.tensor(ids[: model.shape.max_tokens])[None], torch.tensor(counts[: model.shape.max_tokens])
        losses = F.cross_entropy(model(ids)[0, :-1].float(), ids[0, 1:], reduction="none")[counts[1:]]
        total, n = total + losses.sum().item(), n + len(losses)
    return math.exp(total / n)


def held_out_documents(tokenizer, data, n: int):
    """{source: documents}"""
    stories = [s for s in corpus.stories(data) if corpus.is_held_out(s)]
    found = {"stories": [D.encode_text(tokenizer, s) for s in stories[:n]]}
    for kind in ("tool_chat", "passages", "text_tasks", "agents"):
        found[kind] = [D.encode_chat(tokenizer, *c) for c in D.conversations(kind, data, n, "evaluate", "held-out")]
    return found


def parse_call(text: str):
    found = re.fullmatch(r"\s*<tool_call>\n(.*)\n</tool_call>\s*", text, re.S)
    try:
        call = json.loads(found.group(1))
        return call["name"], call["arguments"]
    except (AttributeError, ValueError, KeyError, TypeError):
        return None


def call_prompts(n: int) -> list[tuple[str, list[dict]]]:
    """(tool, messages): each begins with a request for which this tool must be called, and goes on with the call."""
    names = list(T.PAGE_TOOLS)
    return [(name, T.EXCHANGES[name](Maker(f"evaluate-call-{i}", "held-out"))) for i, name in zip(range(n), itertools.cycle(names))]


def score_calls(asked, replies: list[str]) -> dict:
    """Right tool, and exactly right arguments."""
    right_tool, by_tool, wrong = 0, {name: [0, 0] for name in T.PAGE_TOOLS}, []
    for (name, messages), reply in zip(asked, replies):
        expected, got = messages[1]["tool_calls"][0]["function"], parse_call(reply)
        right_tool += bool(got) and got[0] == expected["name"]
        right = got == (expected["name"], expected["arguments"])
        by_tool[name][0], by_tool[name][1] = by_tool[name][0] + right, by_tool[name][1] + 1
        if not right and len(wrong) < 12:
            wrong.append({"asked": messages[0]["content"], "expected": expected["arguments"], "got": reply[:200]})
    n = len(asked)
    return {"n": n, "right_tool": right_tool / n, "right_call": sum(a for a, _ in by_tool.values()) / n,
            "by_tool": {k: a / max(1, b) for k, (a, b) in by_tool.items()}, "first_wrong": wrong}


def tool_calls(model, tokenizer, n: int) -> dict:
    """With nothing that forces the form; `constrained.py` measures the same prompts held to the tools' schemas."""
    asked = call_prompts(n)
    prompts = [prompt_ids(tokenizer, SYSTEM + messages[:1], all_page_tools()) for _, messages in asked]
    return score_calls(asked, [text_of(tokenizer, ids) for ids, _ in generate(model, prompts, 80)])


def declines(model, tokenizer, n: int) -> dict:
    """No tool fits: a third are wishes never asked in training, a third known wishes with new names, a third ask for a tool that is not listed."""
    prompts, kinds = [], []
    for i in range(n):
        m, tools = Maker(f"evaluate-decline-{i}", "held-out"), all_page_tools()
        kind = ("new wish", "known wish", "tool not listed")[i % 3]
        if kind == "tool not listed":
            missing = m.pick(list(T.PAGE_TOOLS))
            ask = T.EXCHANGES[missing](m)[:1]
            tools = [t for t in tools if t["function"]["name"] != missing]
        else:
            ask = chat.wish(m, chat.HELD_OUT_WISHES if kind == "new wish" else None)[:1]
        prompts.append(prompt_ids(tokenizer, SYSTEM + ask, tools))
        kinds.append(kind)
    replies = [text_of(tokenizer, ids) for ids, _ in generate(model, prompts, 60)]
    calm = ["<tool_call>" not in r for r in replies]
    return {"n": n, "declined": sum(calm) / n, "by_kind": {k: sum(c for c, kk in zip(calm, kinds) if kk == k) / max(1, kinds.count(k)) for k in dict.fromkeys(kinds)}}


def words(text: str) -> list[str]:
    return [w for w in (x.strip(".,:;!?\"'{}[]()") for x in re.split(r"[\s]+", text)) if w]


def read_back(model, tokenizer, n: int) -> dict:
    """The call and its result are given: does the answer say what the result says? Every word of the reference answer that comes
    from the result, and not from the question, must be in the answer."""
    names, cases = list(T.PAGE_TOOLS), []
    for i in range(n):
        cases.append(T.EXCHANGES[names[i % len(names)]](Maker(f"evaluate-read-{i}", "held-out")))
    prompts = [prompt_ids(tokenizer, SYSTEM + e[:3], all_page_tools()) for e in cases]
    right, by_tool, wrong = 0, {k: [0, 0] for k in names}, []
    for i, (e, (ids, _)) in enumerate(zip(cases, generate(model, prompts, 90))):
        reply = text_of(tokenizer, ids)
        known, result = set(words(e[0]["content"])), set(words(e[2]["content"]))
        needed = [w for w in words(e[3]["content"]) if w in result and w not in known]
        yes_no = re.match(r"Yes|No", e[3]["content"])
        ok = all(w in words(reply) for w in needed) and "<tool_call>" not in reply and (not yes_no or reply.startswith(yes_no.group()))
        name = names[i % len(names)]
        right, by_tool[name][0], by_tool[name][1] = right + ok, by_tool[name][0] + ok, by_tool[name][1] + 1
        if not ok and len(wrong) < 8:
            wrong.append({"result": e[2]["content"][:200], "expected": e[3]["content"], "got": reply[:200]})
    return {"n": n, "right": right / n, "by_tool": {k: a / max(1, b) for k, (a, b) in by_tool.items()}, "first_wrong": wrong}


def story_samples(model, tokenizer, data, n: int = 10) -> list[str]:
    """Greedy, unpicked: the first n held-out stories, begun with their first sentence."""
    stories = [s for s in corpus.stories(data) if corpus.is_held_out(s)][:n]
    begun = [s.split(". ")[0] + "." for s in stories]
    prompts = [tokenizer.encode(b, add_special_tokens=False).ids for b in begun]
    return [b + " |" + text_of(tokenizer, ids) for b, (ids, _) in zip(begun, generate(model, prompts, 150))]


def said_again(samples: list[str]) -> float:
    """The share of sentences that stand in the same sample before: how much a story goes in circles."""
    again = n = 0
    for sample in samples:
        sentences = [x.strip() for x in re.split(r'[.!?]"?\s', sample.replace("|", "")) if len(x.split()) > 2]
        again, n = again + len(sentences) - len(set(sentences)), n + len(sentences)
    return again / max(1, n)


def speculation(target, draft, tokenizer, data, n: int) -> dict:
    """Acceptance on held-out stories and tool chats, greedy and at temperature 0.8 under shared noise."""
    stories = [s for s in corpus.stories(data) if corpus.is_held_out(s)][-n:]
    prompts = {"stories": [tokenizer.encode(s, add_special_tokens=False).ids[:24] for s in stories], "tool_chats": []}
    for i, (messages, tools) in enumerate(D.conversations("tool_chat", data, n * 2, "evaluate-speculation", "held-out")):
        turns = [j for j, x in enumerate(messages) if x["role"] == "assistant"]
        prompts["tool_chats"].append(prompt_ids(tokenizer, messages[: turns[i % len(turns)]], tools))
    return {
        f"{kind}, temperature {t}": acceptance([same for _, same in generate(target, rows, 120 if kind == "stories" else 80, t, 5, draft)])
        for kind, rows in prompts.items() for t in (0.0, 0.8)
    }
