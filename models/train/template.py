"""Messages -> the prompt text, by the chat template that ships inside the models.

The Jinja environment is set up as `transformers.apply_chat_template` sets it up (the evaluation compares the two),
without its cost, because the recipe renders some hundred thousand conversations.
"""

import json
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment

SOURCE = (Path(__file__).parent / "chat_template.jinja").read_text()

_environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
_environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
_template = _environment.from_string(SOURCE)


def render(messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = False) -> str:
    return _template.render(messages=messages, tools=tools, add_generation_prompt=add_generation_prompt)


def signature(tool: dict) -> str:
    """One line about a tool, exactly as the template writes it: `weather(city: string) - Current weather in a city`."""
    return render([], [tool]).split("\n", 2)[2].removesuffix("<|im_end|>\n")
