"""Named settings: how large the pair is and how long it trains."""

from dataclasses import dataclass, field

from model import Shape


@dataclass(frozen=True)
class Setting:
    target: Shape
    draft: Shape
    # Wall-clock minutes of training, pauses not counted. The learning rate is constant, then falls to zero over the last part.
    target_minutes: float
    draft_minutes: float
    decay_share: float = 0.25
    lr_scale: float = 1.0
    n_rows: int = 8
    n_tokens: int = 512
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    warmup_steps: int = 60
    threads: int | None = None
    compile: bool = True
    device: str = "cpu"
    # Documents that are generated; each is its own draw of names and numbers.
    n_documents: dict = field(default_factory=lambda: {"story_chat": 8000, "plots": 8000, "drills": 30000, "tool_chat": 30000, "text_tasks": 12000, "passages": 12000, "agents": 12000})
    # Distillation: the tokens whose target output is kept. One reply of the target's own is written for every 800 of them.
    n_teacher_tokens: int = 2_000_000
    seed: int = 1


SETTINGS = {
    # Minutes on any machine: checks the recipe, not the model.
    "smoke": Setting(
        target=Shape(2, 64, 2, 1, 128), draft=Shape(1, 32, 1, 1, 32), target_minutes=0.5, draft_minutes=0.3, n_rows=4, n_tokens=256, compile=False, warmup_steps=10,
        n_documents={"story_chat": 100, "plots": 100, "drills": 300, "tool_chat": 300, "text_tasks": 100, "passages": 100, "agents": 100}, n_teacher_tokens=20_000,
    ),
    # Hours on two cores. float32: bfloat16 was measured slower there.
    "cpu": Setting(target=Shape(12, 128, 4, 2, 384), draft=Shape(2, 64, 2, 1, 224), target_minutes=240, draft_minutes=30, n_rows=4),
    # About an hour on one data-centre GPU.
    "gpu": Setting(
        target=Shape(12, 256, 8, 2, 640), draft=Shape(2, 128, 4, 1, 320), target_minutes=60, draft_minutes=15, n_rows=64, n_tokens=1024, device="cuda", muon_lr=0.02, warmup_steps=200,
        n_documents={"story_chat": 40000, "plots": 40000, "drills": 300000, "tool_chat": 400000, "text_tasks": 100000, "passages": 120000, "agents": 120000}, n_teacher_tokens=20_000_000,
    ),
}
