"""Expected prompts for tests/chat: what transformers makes of every template in
../shared/data/templates with every case of template_cases.json, and what jinja2 makes of
the snippets in jinja_snippets.json.

    pip install -r tests/goldens/requirements.txt
    python tests/goldens/templates.py [PATH/TO/shared/data/templates]

Writes templates.json and jinja.json beside itself. The templates stay where they are.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


class FixedClock(datetime.datetime):
    """The moment every `strftime_now` sees; tests/chat uses the same."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 12, 34, 56)


chat_template_utils.datetime = FixedClock


def tokenizer():
    vocabulary = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=vocabulary, **SPECIAL)


def outcome(render):
    """The text, the template's own message, or that it failed otherwise."""
    try:
        return {"text": render()}
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"raised": error.message}
        return {"failed": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001: whatever Python raises inside a template
        return {"failed": f"{type(error).__name__}: {error}"[:200]}


def prompts(folder):
    cases = json.loads((HERE / "template_cases.json").read_text(encoding="utf-8"))
    found = {}
    for path in sorted(folder.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        results = found[path.name] = {}
        for case in cases["cases"]:
            tools = case.get("tools")
            if isinstance(tools, str):
                tools = cases["tools"][tools]
            results[case["name"]] = outcome(
                lambda: tokenizer().apply_chat_template(
                    case["messages"],
                    tools=tools,
                    documents=case.get("documents"),
                    chat_template=template,
                    add_generation_prompt=case.get("add_generation_prompt", False),
                    continue_final_message=case.get("continue_final_message", False),
                    tokenize=False,
                    **case.get("variables", {}),
                )
            )
    return found


def snippets():
    sources = json.loads((HERE / "jinja_snippets.json").read_text(encoding="utf-8"))
    results = []
    for source in sources["snippets"]:
        def render():
            return chat_template_utils._compile_jinja_template(source).render(**sources["variables"])
        results.append(outcome(render))
    return results


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    (HERE / name).write_text(text, encoding="utf-8")


def main():
    default = HERE.parent.parent.parent / "shared/data/templates"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    write("templates.json", {**versions, "templates": prompts(folder)})
    write("jinja.json", {**versions, "results": snippets()})


if __name__ == "__main__":
    main()
