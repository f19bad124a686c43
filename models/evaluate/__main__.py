"""One command that measures the pair and prints its figures, as JSON and as a table for the model cards:

    python models/evaluate                                       # the pair that ships
    python models/evaluate --floats ~/.cache/tandem-train/cpu    # the same, and how far it is from the float weights
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

import torch

MODELS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(MODELS / "train"))

import constrained  # noqa: E402
import data as D  # noqa: E402
import export  # noqa: E402
import measures as M  # noqa: E402
import template  # noqa: E402
import tokenizer as T  # noqa: E402
from model import Llama  # noqa: E402


PARTS = ["tool_calls", "constrained", "declines", "read_back", "perplexity", "speculation", "floats", "stories"]
HARNESS = f"cargo run --quiet --release -p tandem --manifest-path {shlex.quote(str(MODELS.parent / 'Cargo.toml'))} --example tandem --"


def load_gguf(path: Path) -> Llama:
    shape, weights = export.read_gguf(path)
    model = Llama(shape)
    model.load_state_dict(weights)
    return model.eval()


def against_floats(name: str, shipped: Llama, folder: Path, documents, tokenizer, data) -> dict:
    """The GGUF against the float weights in PyTorch, and these against `transformers`, which reads the exported folder."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    floats = LlamaForCausalLM.from_pretrained(folder / f"tandem-{name}", dtype=torch.float32).eval()
    theirs = AutoTokenizer.from_pretrained(folder / f"tandem-{name}")
    ours = Llama(shipped.shape)
    ours.load_state_dict({k: floats.state_dict()[export.names(k)[0]] for k in ours.state_dict()})
    ids = torch.tensor(documents["stories"][0][0][:256])[None]
    with torch.no_grad():
        a, b, c = floats(ids).logits, ours(ids), shipped(ids)
    same_prompt = all(
        theirs.apply_chat_template(m, tools=t, tokenize=False, add_generation_prompt=g) == template.render(m, t, g)
        and theirs(template.render(m, t, g), add_special_tokens=False)["input_ids"] == tokenizer.encode(template.render(m, t, g), add_special_tokens=False).ids
        for kind in ("tool_chat", "agents") for m, t in D.conversations(kind, data, 20, "same", "held-out") for g in (False, True)
    )
    quantised = {k: M.perplexity(shipped, documents[k]) / M.perplexity(ours, documents[k]) - 1 for k in ("stories", "tool_chat")}
    return {
        "transformers_logits_max_difference": (a - b).abs().max().item(), "gguf_logits_max_difference": (b - c).abs().max().item(),
        "gguf_logits_mean_difference": (b - c).abs().mean().item(), "gguf_perplexity_change": quantised, "chat_template_and_tokenizer_as_transformers": same_prompt,
    }


def main():
    parser = argparse.ArgumentParser(description="Measure the pair.")
    parser.add_argument("--target", type=Path, default=MODELS / "tandem-target-q8_0.gguf")
    parser.add_argument("--draft", type=Path, default=MODELS / "tandem-draft-q8_0.gguf")
    parser.add_argument("--data", type=Path, default=MODELS.parent / "../shared/data")
    parser.add_argument("--floats", type=Path, help="the folder of the training run, with the exported Hugging Face folders")
    parser.add_argument("--harness", default=HARNESS, help="the command that runs the native harness, for calls held to their schemas")
    parser.add_argument("--n-calls", type=int, default=300)
    parser.add_argument("--n-documents", type=int, default=90)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="measure only these")
    parser.add_argument("--json", type=Path, help="where to write the figures; those of other parts that are there stay")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    tokenizer = T.load()
    target = load_gguf(args.target)
    draft = load_gguf(args.draft) if args.draft.exists() else None
    documents = M.held_out_documents(tokenizer, args.data, args.n_documents)
    figures = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    figures.update(target_parameters=target.n_params(), draft_parameters=draft and draft.n_params())

    def done(name, value):
        figures[name] = value
        print(json.dumps({name: value}, ensure_ascii=False, indent=1), flush=True)
        if args.json:
            args.json.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n")

    def perplexities(model):
        return {k: round(M.perplexity(model, d), 3) for k, d in documents.items()}

    if "tool_calls" in args.parts:
        done("tool_calls", M.tool_calls(target, tokenizer, args.n_calls))
    if "constrained" in args.parts:
        done("tool_calls_constrained", constrained.tool_calls(shlex.split(args.harness), args.target, args.n_calls))
    if "declines" in args.parts:
        done("declines", M.declines(target, tokenizer, args.n_calls // 2))
    if "read_back" in args.parts:
        done("read_back", M.read_back(target, tokenizer, args.n_calls // 2))
    if "perplexity" in args.parts:
        done("perplexity_target", perplexities(target))
    if "stories" in args.parts:
        samples = M.story_samples(target, tokenizer, args.data)
        done("stories", samples)
        done("stories_said_again", M.said_again(samples))
    if "floats" in args.parts and args.floats:
        done("against_floats_target", against_floats("target", target, args.floats, documents, tokenizer, args.data))
    if draft and "perplexity" in args.parts:
        done("perplexity_draft", perplexities(draft))
    if draft and "speculation" in args.parts:
        done("speculation", M.speculation(target, draft, tokenizer, args.data, args.n_documents // 2))
    if draft and "floats" in args.parts and args.floats:
        done("against_floats_draft", against_floats("draft", draft, args.floats, documents, tokenizer, args.data))


if __name__ == "__main__":
    main()
