"""The draft, distilled: it learns the target's distribution over the data and over the target's own text, because being accepted is
what it is for.

The target's output is computed once and kept (the largest probabilities of each position), so that the small model can read it
many times at little cost.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import data as D
import template
from sampling import generate

SHARES = {"story_chat": 0.25, "plots": 0.15, "tool_chat": 0.25, "drills": 0.1, "text_tasks": 0.1, "passages": 0.08, "agents": 0.07}  # of the prompts for its own text
KEPT = 32  # probabilities kept a position; the rest is spread over the other tokens


def own_text(target, tokenizer, data: Path, n: int, seed: int) -> list:
    """About n documents in which the target answers prompts of the training split, half at temperature 0 and half at 0.8."""
    documents = []
    for kind, share in SHARES.items():
        prompts = []
        for i, (messages, tools) in enumerate(D.conversations(kind, data, max(2, int(n * share)), f"{seed}-own")):
            replies = [j for j, message in enumerate(messages) if message["role"] == "assistant"]
            text = template.render(messages[: replies[i % len(replies)]], tools, add_generation_prompt=True)
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if len(ids) < 360:
                prompts.append(ids)
        for half, temperature in ((prompts[::2], 0.0), (prompts[1::2], 0.8)):
            for prompt, (reply, _) in zip(half, generate(target, half, 220 if kind in ("story_chat", "plots") else 90, temperature, seed, batch=64)):
                documents.append((prompt + reply, [False] * len(prompt) + [True] * len(reply)))
    return documents


@torch.no_grad()
def teacher_cache(target, batches, n_tokens: int, device) -> list[dict]:
    """Batches with the target's largest probabilities at each position that counts."""
    kept = []
    for _ in range(max(1, n_tokens // (batches.n_rows * batches.n_tokens))):
        ids, targets, positions, document = (t.to(device) for t in batches.next())
        hidden = target.hidden(ids, D.attention_mask(document), positions)[targets != -100]
        p, token = F.softmax(target.head(hidden).float(), -1).topk(KEPT, dim=-1)
        kept.append({"ids": ids.short().cpu(), "counts": (targets != -100).cpu(), "positions": positions.short().cpu(), "document": document.short().cpu(),
                     "p": p.half().cpu(), "token": token.short().cpu()})
    return kept


class Cached:
    """The kept batches in a new order each time round."""

    def __init__(self, kept, seed: int):
        self.kept, self.seed, self.state = kept, seed, {"batch": 0}

    def next(self):
        epoch, i = divmod(self.state["batch"], len(self.kept))
        self.state["batch"] += 1
        return self.kept[np.random.default_rng([self.seed, epoch]).permutation(len(self.kept))[i]]


def distillation_loss(hidden_of, device):
    """Cross-entropy against the target's probabilities (KL up to a constant); what was not kept counts as spread evenly."""
    def loss_of(model, batches):
        b = batches.next()
        ids, counts = b["ids"].long().to(device), b["counts"].to(device)
        hidden = hidden_of(ids, D.attention_mask(b["document"].to(device)), b["positions"].long().to(device))[counts]
        log_q = F.log_softmax(model.head(hidden).float(), -1)
        p, token = b["p"].float().to(device), b["token"].long().to(device)
        rest = (1 - p.sum(-1)).clamp(min=0)
        tail = (log_q.sum(-1) - log_q.gather(-1, token).sum(-1)) / (log_q.shape[-1] - KEPT)
        loss = -((p * log_q.gather(-1, token)).sum(-1) + rest * tail).mean()
        return loss, ids.numel()
    return loss_of
