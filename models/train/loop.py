"""The training loop, for target and draft alike: resumable at any moment, with a schedule by tokens or by wall-clock."""

import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from optim import optimisers

SAVE_EVERY_S = 300


def schedule(step: int, progress: float, warmup_steps: int, decay_share: float) -> float:
    """Warm-up, stable, decay (MiniCPM, arXiv 2404.06395): linear up, constant, then 1 - sqrt down to zero."""
    up = min(1.0, (step + 1) / warmup_steps)
    start = 1 - decay_share
    down = 1.0 if progress < start else 1 - math.sqrt(min(1.0, (progress - start) / decay_share))
    return up * down


def save(path: Path, **state):
    """Atomic: a run that is killed while saving keeps the checkpoint before."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


@dataclass(frozen=True)
class Budget:
    """How much a run is given: tokens where they are named, so that a busy machine takes longer but trains no less; otherwise minutes
    of its own steps."""

    minutes: float
    tokens: int | None = None

    def progress(self, tokens: int, trained_s: float) -> float:
        return tokens / self.tokens if self.tokens else trained_s / (60 * self.minutes)


class Run:
    """One model's training. `loss_of(model, batches)` makes the loss of the next batch and says how many tokens it read.

    Files in `folder`: NAME.pt, the newest state; NAME-stable.pt, the state before the learning rate fell, from which a longer run
    goes on; NAME.jsonl, the log.
    """

    def __init__(self, name, model, batches, loss_of, folder: Path, budget: Budget, setting, check=None):
        self.name, self.model, self.batches, self.loss_of, self.folder = name, model, batches, loss_of, folder
        self.budget, self.setting, self.check = budget, setting, check
        self.optimisers = optimisers(model, setting.muon_lr, setting.adam_lr)
        self.step, self.tokens, self.trained_s, self.done = 0, 0, 0.0, False
        self.path, self.stable = folder / f"{name}.pt", folder / f"{name}-stable.pt"
        if self.path.exists():
            self._load(self.path)
            if self.done and self.progress() < 0.98:
                # A finished run that is given more goes on from before its decay; at a lower rate that would lose what the decay gave.
                if setting.lr_scale == 1 and self.stable.exists():
                    self._load(self.stable)
                self.done = False
            print(f"{name}: goes on at step {self.step}, {self.tokens} tokens, {self.trained_s / 60:.1f} minutes", flush=True)

    def progress(self) -> float:
        return self.budget.progress(self.tokens, self.trained_s)

    def _load(self, path):
        state = torch.load(path, map_location=self.setting.device, weights_only=False)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.batches.state = state["batches"]
        self.step, self.tokens, self.trained_s, self.done = state["step"], state["tokens"], state["trained_s"], state["done"]

    def _save(self, path):
        save(path, model=self.model.state_dict(), optimisers=[o.state_dict() for o in self.optimisers], batches=self.batches.state,
             step=self.step, tokens=self.tokens, trained_s=self.trained_s, done=self.done)

    def _log(self, **values):
        line = json.dumps({"step": self.step, "tokens": self.tokens, "minutes": round(self.trained_s / 60, 2), **values})
        print(f"{self.name} {line}", flush=True)
        with (self.folder / f"{self.name}.jsonl").open("a") as file:
            file.write(line + "\n")

    def train(self):
        last_save = last_check = last_log = time.monotonic()
        losses, tokens_logged = [], self.tokens
        decaying = self.progress() >= 1 - self.setting.decay_share
        stop, first = [], True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.append(True))
        while not self.done:
            began = time.monotonic()
            progress = self.progress()
            if progress >= 1 - self.setting.decay_share and not decaying:
                decaying = True
                self._save(self.stable)
            scale = self.setting.lr_scale * schedule(self.step, progress, self.setting.warmup_steps, self.setting.decay_share)
            loss, n_tokens = self.loss_of(self.model, self.batches)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * scale
                optimiser.step()
            self.model.zero_grad(set_to_none=True)
            losses.append(loss.item())
            self.step, self.tokens = self.step + 1, self.tokens + n_tokens
            # The first step compiles the model; that is no training.
            self.trained_s += 0 if first else time.monotonic() - began
            first = False
            self.done = self.progress() >= 1
            if self.step % 20 == 0:
                speed = (self.tokens - tokens_logged) / (time.monotonic() - last_log)
                self._log(loss=round(sum(losses) / len(losses), 4), scale=round(scale, 3), tokens_per_s=round(speed))
                losses, tokens_logged, last_log = [], self.tokens, time.monotonic()
            if self.check and (time.monotonic() - last_check > 2 * SAVE_EVERY_S or self.done):
                self._log(**self.check(self.model))
                last_check = time.monotonic()
            if time.monotonic() - last_save > SAVE_EVERY_S or self.done or stop:
                self._save(self.path)
                last_save = time.monotonic()
            if stop:
                raise SystemExit(f"{self.name}: saved at step {self.step}; run the same command to go on")
        return self.model
