"""Writes tests/measure/agent_prompts.json: 60 held-out questions, each with the call that answers it, what the tool then says, and the answer.

    python models/evaluate/agent_prompts.py
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models" / "train"))

from generate import tools as T  # noqa: E402
from generate.names import Maker  # noqa: E402

OUT = ROOT / "tests" / "measure" / "agent_prompts.json"

prompts = []
for name in ("calculator", "clock", "weather", "encyclopedia"):
    for i in range(15):
        user, call, result, answer = T.EXCHANGES[name](Maker(f"agents {name} {i}", "held-out"))
        function = call["tool_calls"][0]["function"]
        prompts.append({"ask": user["content"], "tool": name, "arguments": function["arguments"], "result": result["content"], "answer": answer["content"]})
OUT.write_text("[\n" + ",\n".join(json.dumps(p, ensure_ascii=False) for p in prompts) + "\n]\n")
