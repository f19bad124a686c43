"""The public corpora (see the model cards for sources and licences) -> texts and conversations.

`is_held_out` keeps one story in fifty, and one section of a tale in fifty, out of training, by hash of its text.
"""

import csv
import functools
import json
import random
import re
import zlib
from pathlib import Path


def is_held_out(text: str) -> bool:
    return zlib.crc32(text[:200].encode()) % 50 == 0


@functools.cache
def stories(data: Path) -> list[str]:
    text = (data / "corpora/tinystories.txt").read_text(encoding="utf-8")
    text = text.replace("“", '"').replace("”", '"').replace("’", "'").replace("‘", "'")
    return [s for s in (re.sub(r"\n\s*\n+", "\n\n", part).strip() for part in text.split("<|endoftext|>")) if len(s) > 200]


@functools.cache
def tales(data: Path) -> list[str]:
    """Sections of fairy tales, of some hundred words each."""
    sections = []
    for path in sorted((data / "corpora/fairytaleqa").glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                text = " ".join((row.get("text") or "").split())
                if 200 < len(text) < 1800:
                    sections.append(text)
    return sections


def _function(name, description, properties, required):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {"type": "object", "properties": properties, "required": required}}}


def seal_tools(data: Path, seed: int = 0) -> list[tuple[list[dict], list[dict]]]:
    """Seal-Tools: (messages, tools), the first call of each request, among one to three other tools."""
    folder, rng = data / "corpora/seal-tools/Seal-Tools_Dataset", random.Random(seed)
    types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    known = {}
    for line in (folder / "tool.jsonl").open(encoding="utf-8"):
        tool = json.loads(line)
        properties = {n: {"type": types.get(p["type"], "string")} for n, p in tool["parameters"].items()}
        known[tool["api_name"]] = _function(tool["api_name"], tool["api_description"], properties, tool["required"])
    out = []
    for name in ("dev", "test_in_domain"):
        for line in (folder / f"{name}.jsonl").open(encoding="utf-8"):
            row = json.loads(line)
            calls = row["calling"]
            if any(c["api"] not in known for c in calls) or len(calls) > 3 or any("API_call" in str(c["parameters"]) for c in calls):
                continue
            # Only what can be copied out of the request teaches something.
            values = [str(v) for c in calls for v in c["parameters"].values()]
            if sum(v.lower() in row["query"].lower() for v in values) < 0.7 * len(values):
                continue
            tools = [known[c["api"]] for c in calls]
            tools += [known[n] for n in rng.sample(sorted(known), rng.randint(1, 3)) if n not in {c["api"] for c in calls}]
            rng.shuffle(tools)
            unique = list({t["function"]["name"]: t for t in tools}.values())
            out.append(([{"role": "user", "content": row["query"]},
                         {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": c["api"], "arguments": c["parameters"]}} for c in calls]}], unique))
    return out


def toolformer(data: Path) -> list[tuple[list[dict], list[dict]]]:
    """GPTeacher's Toolformer set: the call inside the answer becomes a call of its own."""
    out = []
    for row in json.loads((data / "corpora/gpteacher/toolformer-dedupe-only-dataset.json").read_text(encoding="utf-8")):
        access = re.search(r"toolformer access: (.*)", row["instruction"])
        calls = re.findall(r"\b(wikipedia|search|news|weather|wolfram|python|shell)\('((?:[^'\\]|\\.)*)'\)", row["response"])
        if not access or len(calls) != 1 or len(calls[0][1]) > 80:
            continue
        name, argument = calls[0]
        lines = row["instruction"].split("\n")
        tools, description = [], ""
        for line in lines[2:]:
            found = re.fullmatch(r"(\w+)\((\w*)\)", line.strip())
            if found:
                tools.append(_function(found.group(1), description.split(". ")[0], {"query": {"type": "string"}}, ["query"]))
            description = line
        ask = (lines[-1] + " " + row["input"]).strip()
        if not tools or name not in {t["function"]["name"] for t in tools} or len(ask) > 300:
            continue
        out.append(([{"role": "user", "content": ask}, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name, "arguments": {"query": argument}}}]}], tools))
    return out
