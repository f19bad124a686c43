"""Figures (as `models/evaluate --json` writes them) -> the tables of the two model cards, as Markdown on stdout.

    python models/evaluate/cards.py figures.json
"""

import json
import sys
from pathlib import Path


def percent(x: float) -> str:
    return f"{100 * x:.1f}%"


def table(rows) -> str:
    return "| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)


def target_card(f: dict) -> str:
    calls, held, declined, read, floats = f["tool_calls"], f["tool_calls_constrained"], f["declines"], f["read_back"], f["against_floats_target"]
    by = lambda d: ", ".join(f"{k} {percent(v)}" for k, v in d.items())
    return table([
        (f"Tool calls, {calls['n']} held-out prompts: right tool", percent(calls["right_tool"])),
        ("right tool and exactly right arguments", f"{percent(calls['right_call'])} ({by(calls['by_tool'])})"),
        ("the same, calls held to their schemas by the engine", f"{percent(held['right_call'])} ({by(held['by_tool'])}); right tool {percent(held['right_tool'])}"),
        (f"Declines, {declined['n']} prompts no tool fits", f"{percent(declined['declined'])} ({by(declined['by_kind'])})"),
        (f"Reads the result back right, {read['n']} results", f"{percent(read['right'])} ({by(read['by_tool'])})"),
        ("Ten stories below: sentences that were said before (in real ones 0.4%)", percent(f["stories_said_again"])),
        ("Perplexity a token, held out", ", ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in f["perplexity_target"].items())),
        ("Perplexity, Q8_0 against float32", ", ".join(f"{k.replace('_', ' ')} {100 * v:+.2f}%" for k, v in floats["gguf_perplexity_change"].items())),
        ("Logits, Q8_0 against float32 in PyTorch", f"mean difference {floats['gguf_logits_mean_difference']:.4f}, largest {floats['gguf_logits_max_difference']:.3f}"),
        ("Logits, this recipe's PyTorch against `transformers`", f"largest difference {floats['transformers_logits_max_difference']:.1e}"),
    ])


def draft_card(f: dict) -> str:
    rows = [f"| {k} | {v['alpha']:.3f} | {v['accepted_per_drafted']:.3f} | {v['tokens_per_round']:.2f} | {v['n_tokens']} |" for k, v in f["speculation"].items()]
    head = "| held-out | alpha | accepted of drafted, length 4 | tokens a round, length 4 | tokens measured |\n|---|---|---|---|---|\n"
    floats = f["against_floats_draft"]
    return head + "\n".join(rows) + "\n\n" + table([
        ("Perplexity a token, held out", ", ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in f["perplexity_draft"].items())),
        ("Perplexity, Q8_0 against float32", ", ".join(f"{k.replace('_', ' ')} {100 * v:+.2f}%" for k, v in floats["gguf_perplexity_change"].items())),
    ])


if __name__ == "__main__":
    figures = json.loads(Path(sys.argv[1]).read_text())
    print(target_card(figures), draft_card(figures), "\n".join("> " + s.replace("\n", "<br>") + "\n" for s in figures["stories"]), sep="\n\n---\n\n")
