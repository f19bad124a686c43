"""Muon for the matrices of the layers (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/), AdamW for the rest."""

import torch


def orthogonalise(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """g [matrices, rows, columns] -> the nearest semi-orthogonal matrices, roughly, by a Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.transpose(1, 2)
        x = a * x + (b * s + c * s @ s) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Matrices of one shape are stepped together, so that many small products become one batched product."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.02):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                for p in params:
                    state = self.state[p]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(p)
                    state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                nesterov = torch.stack([p.grad.lerp(self.state[p]["momentum"], group["momentum"]) for p in params])
                low = nesterov.bfloat16() if nesterov.is_cuda else nesterov
                update = orthogonalise(low).to(nesterov.dtype) * max(1, shape[0] / shape[1]) ** 0.5
                for p, u in zip(params, update):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(u, alpha=-group["lr"])


def optimisers(model, muon_lr: float, adam_lr: float):
    """[Muon, AdamW] over the model; `initial_lr` is what the schedule scales."""
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and not n.startswith("embed_tokens")]
    rest = [p for n, p in model.named_parameters() if p.dim() != 2 or n.startswith("embed_tokens")]
    made = [Muon(matrices, lr=muon_lr), torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)]
    for optimiser in made:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return made
