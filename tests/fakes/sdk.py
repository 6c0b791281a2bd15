"""Label Studio's own software kit as a referee: asked in a process of its own environment, many questions at once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ask_sdk"]

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import json, sys
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle
answers = []
for kind, body in json.load(sys.stdin):
    if kind == "encode":
        answers.append(mask2rle(np.array(body, dtype=np.uint8)))
    elif kind == "encode_flat":
        answers.append(encode_rle(np.array(body, dtype=np.uint8)))
    else:
        answers.append(decode_rle(body).tolist())
json.dump(answers, sys.stdout)
"""


def ask_sdk(questions: list[tuple[str, Any]]) -> list[Any]:
    """`("encode", rows)`, `("encode_flat", values)` or `("decode", code)` each; skipped where the kit is not there."""
    python = ROOT / ".venv-label-studio" / "bin" / "python"
    if not python.is_file():
        pytest.skip("Label Studio's kit is not installed here: `make label-studio`")
    done = subprocess.run(
        [python, "-c", _SCRIPT], input=json.dumps(questions), capture_output=True, text=True, check=True
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers
