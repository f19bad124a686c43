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
from generate.names import Maker
from tokenizer import END_OF_TEXT, IM_END

KEPT = 32  # probabilities kept a position; the rest is spread over the other tokens


@torch.no_grad()
def sample(model, ids: torch.Tensor, n: int, temperature: float, generator, stop=(END_OF_TEXT, IM_END)) -> torch.Tensor:
    """ids [batch, prompt] -> [batch, prompt + n]; after a stop token a row is filled with END_OF_TEXT."""
    caches = [{} for _ in model.layers]
    logits = model(ids, caches=caches)[:, -1]
    ended = torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
    for _ in range(n):
        if temperature == 0:
            token = logits.argmax(-1)
        else:
            token = torch.multinomial(F.softmax(logits.float() / temperature, -1), 1, generator=generator)[:, 0]
        token = torch.where(ended, END_OF_TEXT, token)
        ids = torch.cat((ids, token[:, None]), dim=1)
        for s in stop:
            ended |= token == s
        if ended.all():
            break
        logits = model(token[:, None], caches=caches)[:, -1]
    return ids


def own_text(target, tokenizer, data: Path, n: int, seed: int, device) -> list:
    """Documents in which the target answers prompts of the training split, half at temperature 0 and half at 0.8."""
    prompts = []
    for kind, share in (("story_chat", 0.4), ("tool_chat", 0.35), ("text_tasks", 0.1), ("passages", 0.08), ("agents", 0.07)):
        for messages, tools in D.conversations(kind, data, int(n * share * 1.5), f"{seed}-own"):
            m = Maker(f"{seed}-cut-{len(prompts)}")
            at = [i for i, x in enumerate(messages) if x["role"] == "assistant"]
            text = template.render(messages[: m.pick(at)], tools, add_generation_prompt=True)
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if len(ids) < 360:
                prompts.append((kind, ids))
    # Rows of a batch have one length, so prompts are cut into groups of equal length.
    groups = {}
    for kind, ids in prompts:
        groups.setdefault((len(ids), kind == "story_chat"), []).append(ids)
    generator, documents = torch.Generator(device=device).manual_seed(seed), []
    batches = [(k, g[i : i + 64]) for k, g in groups.items() for i in range(0, len(g), 64)]
    batches.sort(key=lambda b: -len(b[1]))
    for number, ((length, story), rows) in enumerate(batches):
        if len(documents) >= n:
            break
        out = sample(target, torch.tensor(rows, device=device), 220 if story else 90, 0.0 if number % 2 else 0.8, generator).tolist()
        for row in out:
            end = next((i for i in range(length, len(row)) if row[i] in (END_OF_TEXT, IM_END)), len(row) - 1)
            documents.append((row[: end + 1], [False] * length + [True] * (end + 1 - length)))
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
