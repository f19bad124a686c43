"""Target and draft side by side under shared noise: what the target writes, and where the draft would have said the same."""

import torch

from tokenizer import END_OF_TEXT, IM_END

STOP = (END_OF_TEXT, IM_END)


def _padded(prompts: list[list[int]], device):
    """Rows of unlike length, padded on the left: ids, positions and which keys are real, each [batch, longest]."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts], device=device)
    real = torch.tensor([[False] * (longest - len(p)) + [True] * len(p) for p in prompts], device=device)
    return ids, (real.long().cumsum(1) - 1).clamp(min=0), real


def _prefill_mask(real: torch.Tensor) -> torch.Tensor:
    n = real.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool, device=real.device).tril()
    # A padded row still sees itself, so that no softmax is empty.
    return ((causal & real[:, None, :]) | torch.eye(n, dtype=torch.bool, device=real.device))[:, None]


@torch.no_grad()
def generate(target, prompts: list[list[int]], n: int, temperature: float = 0.0, seed: int = 0, draft=None, batch: int = 32):
    """-> for each prompt (token ids, agreements): what the target wrote (with the stop token, if it came), and for each of these
    tokens whether the draft's own draw, argmax(logits / T + noise) under the same Gumbel noise, was the same."""
    device = next(target.parameters()).device
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    results = [None] * len(prompts)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        ids, positions, real = _padded([prompts[i] for i in rows], device)
        models = [target] + ([draft] if draft is not None else [])
        caches = [[{} for _ in m.layers] for m in models]
        logits = [m.head(m.hidden(ids, _prefill_mask(real), positions, c)[:, -1]) for m, c in zip(models, caches)]
        at, written, agreed = positions[:, -1:], [], []
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        generator = torch.Generator(device).manual_seed(seed + start)
        for _ in range(n):
            if temperature > 0:
                noise = -torch.log(-torch.log(torch.rand(logits[0].shape, generator=generator, device=device).clamp(1e-12, 1 - 1e-7)))
                draws = [(l / temperature + noise).argmax(-1) for l in logits]
            else:
                draws = [l.argmax(-1) for l in logits]
            token = torch.where(ended, END_OF_TEXT, draws[0])
            written.append(token)
            agreed.append(draws[-1] == draws[0])
            for s in STOP:
                ended |= token == s
            if ended.all():
                break
            at = at + 1
            real = torch.cat((real, torch.ones(len(rows), 1, dtype=torch.bool, device=device)), dim=1)
            logits = [m.head(m.hidden(token[:, None], real[:, None, None, :], at, c)[:, -1]) for m, c in zip(models, caches)]
        written, agreed = torch.stack(written, 1).tolist(), torch.stack(agreed, 1).tolist()
        for i, tokens, same in zip(rows, written, agreed):
            end = next((j + 1 for j, t in enumerate(tokens) if t in STOP), len(tokens))
            results[i] = (tokens[:end], same[:end])
    return results


def acceptance(agreements: list[list[bool]], draft_length: int = 4) -> dict:
    """What speculative rounds of this draft length would have done. A drafted token hangs on accepted ones alone, which are the
    target's own, so the rounds can be replayed from the agreements exactly."""
    n_drafts = n_drafted = n_accepted = 0
    for same in agreements:
        p = 0
        while p < len(same):
            drafted = min(draft_length, len(same) - p)
            n = next((i for i in range(drafted) if not same[p + i]), drafted)
            n_drafts, n_drafted, n_accepted = n_drafts + 1, n_drafted + drafted, n_accepted + n
            p += n + 1
    total = sum(map(len, agreements))
    return {
        "alpha": round(sum(map(sum, agreements)) / max(1, total), 4),  # a token's chance to be accepted once it is checked
        "accepted_per_drafted": round(n_accepted / max(1, n_drafted), 4),
        "tokens_per_round": round(total / max(1, n_drafts), 3),
        "n_tokens": total,
    }
