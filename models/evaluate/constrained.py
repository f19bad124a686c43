"""Tool calls with the schema constraint on. What holds a reply to a grammar is the engine, not PyTorch, so the native harness writes
these: each prompt ends where a call begins, as a request with `tool_choice: "required"` has it, and what follows must be a call of a
listed tool with arguments by its schema.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import template
from measures import SYSTEM, all_page_tools, call_prompts, score_calls

OPEN, CLOSE = "<tool_call>\n", "\n</tool_call>"


def call_schema(tools: list[dict]) -> dict:
    """The JSON between the tags: a tool's name, and arguments as that tool takes them."""
    def of(function):
        properties = {"name": {"const": function["name"]}, "arguments": function["parameters"] | {"additionalProperties": False}}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"anyOf": [of(tool["function"]) for tool in tools]}


def tool_calls(harness: list[str], model: Path, n: int) -> dict:
    asked, tools, replies = call_prompts(n), all_page_tools(), []
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "call.json"
        schema.write_text(json.dumps(call_schema(tools)))
        command = [*harness, "generate", "--model", str(model), "--schema", str(schema), "--max-tokens", "80", "--device", "cpu", "--json"]
        for _, messages in asked:
            prompt = template.render(SYSTEM + messages[:1], tools, add_generation_prompt=True) + OPEN
            made = subprocess.run([*command, "--prompt", prompt], capture_output=True, text=True)
            if made.returncode != 0:
                raise SystemExit(f"the harness failed: {made.stderr.strip()}")
            replies.append(OPEN + json.loads(made.stdout)["text"] + CLOSE)
    return score_calls(asked, replies)
