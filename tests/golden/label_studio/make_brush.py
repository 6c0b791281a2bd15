"""Make `brush.json` anew, with Label Studio's own kit: `python -m tests.golden.label_studio.make_brush`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.fakes.sdk import ask_sdk
from tests.properties.test_brush_rle import smooth

CASES = (((60, 80), 11), ((31, 17), 12), ((200, 150), 13))
"""Height and width, and the seed of the blobs."""


def main() -> None:
    """Write the file beside this one."""
    masks = [smooth(*size_hw, seed).astype(np.uint8) * 255 for size_hw, seed in CASES]
    codes = ask_sdk([("encode", mask.tolist()) for mask in masks])
    made = [
        {"size_hw": size_hw, "seed": seed, "code": bytes(code).hex()}
        for (size_hw, seed), code in zip(CASES, codes, strict=True)
    ]
    Path(__file__).with_name("brush.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
