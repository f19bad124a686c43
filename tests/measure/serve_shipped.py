"""The pair's target as a Hugging Face folder, served by `transformers serve`: a real server of somebody else's
that speaks OpenAI's interface, for `real_server.mjs`. Needs `pip install "transformers[serving]" accelerate`.

    python tests/measure/serve_shipped.py FOLDER [PORT]     # until it is stopped
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models/train"))

import export
import template

folder, port = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "8000"
shape, weights = export.read_gguf(ROOT / "models/tandem-target-q8_0.gguf")
export.write_hugging_face(folder, weights, shape)
(folder / "chat_template.jinja").write_text(template.SOURCE)
command = ["transformers", "serve", str(folder), "--host", "127.0.0.1", "--port", port, "--device", "cpu", "--dtype", "float32"]
os.environ["HF_HUB_OFFLINE"] = "1"
os.execvp(command[0], command)
