"""One command from data to checkpoints and GGUFs:

    python models/train --setting cpu

Everything is kept in --out; run it again and it goes on where it stopped. See models/README.md.
"""

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import corpus
import data as D
import distill
import export
import template
import tokenizer as T
from loop import Budget, Run
from model import Llama
from settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]


def options():
    parser = argparse.ArgumentParser(description="Train the target and the draft.")
    parser.add_argument("--setting", choices=SETTINGS, required=True)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--out", type=Path, default=Path.home() / ".cache/tandem-train", help="checkpoints, logs and exports; one folder a setting is made in it")
    parser.add_argument("--target-minutes", type=float, help="instead of the setting's")
    parser.add_argument("--target-tokens", type=int, help="train for so many tokens, however long they take")
    parser.add_argument("--decay-share", type=float, help="of the target's budget, the share in which its learning rate falls")
    parser.add_argument("--lr-scale", type=float, help="of the setting's learning rates, for the target; below 1, a run that is done goes on from its end and not from before its decay")
    parser.add_argument("--draft-minutes", type=float)
    parser.add_argument("--teacher-tokens", type=int)
    parser.add_argument("--threads", type=int, help="instead of PyTorch's choice; 1 is best where other work shares the cores")
    parser.add_argument("--start-from", type=Path, help="a GGUF of this recipe whose weights the target begins with, where there is no checkpoint")
    parser.add_argument("--stop-after", choices=["data", "target", "draft"], help="stop early")
    parser.add_argument("--new-tokenizer", action="store_true", help="train the tokenizer anew; old checkpoints are void then")
    return parser.parse_args()


def tokenizer_texts(data: Path):
    """A sample of everything the models will read."""
    yield from itertools.islice(corpus.stories(data), 3000)
    yield from itertools.islice(corpus.tales(data), 0, 4000, 6)
    for kind, n in (("tool_chat", 2500), ("text_tasks", 300), ("passages", 800), ("agents", 1200)):
        for conversation in D.conversations(kind, data, n, "tokenizer"):
            text = template.render(*conversation)
            for special in T.SPECIALS:
                text = text.replace(special, "\n")
            yield text
    for messages, tools in corpus.seal_tools(data)[:600] + corpus.toolformer(data)[:600]:
        yield template.render(messages, tools).replace("<|im_start|>", "\n").replace("<|im_end|>", "\n")


def autocast(device):
    return torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda")


def data_loss(hidden_of, device):
    """Next-token cross-entropy over the tokens that count; the others are left out before the head, which saves time."""
    def loss_of(model, batches):
        ids, targets, positions, document = (t.to(device) for t in batches.next())
        with autocast(device):
            hidden = hidden_of(ids, D.attention_mask(document), positions)
            logits = model.head(hidden[targets != -100])
        return F.cross_entropy(logits.float(), targets[targets != -100]), ids.numel()
    return loss_of


def held_out_check(tokenizer, data: Path, device):
    """Losses on a little held-out data, to watch while training; the real figures are `models/evaluate`'s."""
    stories = [s for s in corpus.stories(data) if corpus.is_held_out(s)][:24]
    sources = {"stories": D.Source([D.encode_text(tokenizer, s) for s in stories])}
    for kind in ("tool_chat", "drills", "passages", "text_tasks", "agents"):
        sources[kind] = D.Source([D.encode_chat(tokenizer, *c) for c in D.conversations(kind, data, 24, "check", "held-out")])

    @torch.no_grad()
    def check(model):
        found = {}
        for name, source in sources.items():
            batches = D.Batches({name: source}, 0, 8, 512, {name: 1.0})
            ids, targets, positions, document = (t.to(device) for t in batches.next())
            logits = model(ids, D.attention_mask(document), positions)
            found[f"held_out_{name}"] = round(F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100).item(), 4)
            right = (logits.argmax(-1) == targets)[targets != -100]
            found[f"right_{name}"] = round(right.float().mean().item(), 4)
        return found
    return check


def main():
    args = options()
    setting, data = SETTINGS[args.setting], args.data
    device = setting.device
    torch.manual_seed(setting.seed)
    np.random.seed(setting.seed)
    if args.threads or setting.threads:
        torch.set_num_threads(args.threads or setting.threads)
    out = args.out / args.setting
    out.mkdir(parents=True, exist_ok=True)

    if args.new_tokenizer or not (T.FOLDER / "tokenizer.json").exists():
        T.train(tokenizer_texts(data))
    tokenizer = T.load()
    sources = D.build(tokenizer, data, out / "data", setting.n_documents, setting.seed, max_tokens=setting.n_tokens)
    if args.stop_after == "data":
        return
    check = held_out_check(tokenizer, data, device)

    target = Llama(setting.target).to(device)
    print(f"target: {target.n_params()} parameters", flush=True)
    if args.start_from:
        target.load_state_dict(export.read_gguf(args.start_from)[1])
    hidden_of = torch.compile(target.hidden) if setting.compile else target.hidden
    batches = D.Batches(sources, setting.seed, setting.n_rows, setting.n_tokens)
    budget = Budget(args.target_minutes or setting.target_minutes, args.target_tokens)
    schedule = dataclasses.replace(setting, decay_share=args.decay_share or setting.decay_share, lr_scale=args.lr_scale or setting.lr_scale)
    target_run = Run("target", target, batches, data_loss(hidden_of, device), out, budget, schedule, check)
    target_run.train()
    export.export("target", target, out)
    if args.stop_after == "target":
        return

    draft = Llama(setting.draft).to(device)
    print(f"draft: {draft.n_params()} parameters, the target has {target.n_params() / draft.n_params():.1f} times as many", flush=True)
    kept_path, draft_path = out / "teacher.pt", out / "draft.pt"
    kept = torch.load(kept_path) if kept_path.exists() else None
    if kept is None or kept["target_step"] != target_run.step:
        n_tokens = args.teacher_tokens or setting.n_teacher_tokens
        own = distill.own_text(target, tokenizer, data, n_tokens // 800, setting.seed)
        print(f"the target's own text: {len(own)} documents, {sum(sum(d[1]) for d in own)} tokens", flush=True)
        mixed = dict(sources, own=D.Source(own))
        # The draft is judged by what it does in replies: the target's own text is a third of what it sees.
        weights = {k: w * 0.67 for k, w in D.WEIGHTS.items()} | {"own": 0.33}
        batches = D.Batches(mixed, setting.seed + 1, setting.n_rows, setting.n_tokens, weights)
        kept = {"target_step": target_run.step, "batches": distill.teacher_cache(target, batches, n_tokens, device)}
        torch.save(kept, kept_path)
        if draft_path.exists():
            # The target has moved on: the draft learns anew from it, beginning with the weights it has.
            draft_path.replace(out / "draft-before.pt")
    if (out / "draft-before.pt").exists():
        draft.load_state_dict(torch.load(out / "draft-before.pt", map_location=device, weights_only=False)["model"])
    hidden_of = torch.compile(draft.hidden) if setting.compile else draft.hidden
    budget = Budget(args.draft_minutes or setting.draft_minutes)
    Run("draft", draft, distill.Cached(kept["batches"], setting.seed), distill.distillation_loss(hidden_of, device), out, budget, setting, check).train()
    export.export("draft", draft, out)


if __name__ == "__main__":
    main()
