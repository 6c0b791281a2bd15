"""Brush masks to Label Studio's code and back, beside its own kit, on smooth and on noisy masks of 1920 x 1080.

The kit runs in Label Studio's own environment (`make label-studio`): it gets the masks once, and is then told by a line
which one to encode or decode; that line is within its time, and is nothing beside it. Codes and masks must be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from benchmarks._harness import alternate, machine
from connectors.label_studio.rle import decode_rle, encode_rle

TARGETS = {
    ("smooth", "encode"): 8.0,
    ("smooth", "decode"): 5.0,
    ("noisy", "encode"): 4.0,
    ("noisy", "decode"): 4.0,
}
PYTHON = Path(__file__).resolve().parents[1] / ".venv-label-studio" / "bin" / "python"
SIZE_HW = (1080, 1920)
NOISY_HW = (480, 640)
"""Of noise, less is enough: the kit takes a second for it."""

_KIT = """
import hashlib, sys
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle
masks = [np.load(path) for path in sys.argv[1:]]
codes = [mask2rle(mask) for mask in masks]
digest = hashlib.sha256(b"".join(bytes(code) for code in codes)).hexdigest()
print(digest, flush=True)
for line in sys.stdin:
    what, number = line.split()
    if what == "encode":
        mask2rle(masks[int(number)])
    else:
        decode_rle(codes[int(number)])
    print("done", flush=True)
"""


def smooth(size_hw: tuple[int, int], seed: int) -> npt.NDArray[np.bool_]:
    """A few blobs, as people and segmenters make them."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[: size_hw[0], : size_hw[1]] / max(size_hw)
    waves = [np.sin(xs * a + ys * b + c) for a, b, c in rng.uniform(-20, 20, (8, 3))]
    return np.asarray(np.sum(waves, axis=0) > 1.5)


class Kit:
    """The other side: a process that does what it is told."""

    def __init__(self, masks: Sequence[npt.NDArray[np.bool_]], folder: Path) -> None:
        paths = [folder / f"{number}.npy" for number in range(len(masks))]
        for path, mask in zip(paths, masks, strict=True):
            np.save(path, mask.astype(np.uint8) * 255)
        self._process = subprocess.Popen(
            [PYTHON, "-c", _KIT, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.digest = _line(self._process.stdout)

    def do(self, what: str, number: int) -> Callable[[], str]:
        def told() -> str:
            stream = self._process.stdin
            if stream is None:
                raise RuntimeError("the kit has no input")
            print(what, number, file=stream, flush=True)
            return _line(self._process.stdout)

        return told

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def _line(stream: IO[str] | None) -> str:
    line = stream.readline().strip() if stream is not None else ""
    if not line:
        raise RuntimeError("Label Studio's kit has ended")
    return line


def measured(folder: Path, pairs: int) -> tuple[dict[str, dict[str, Any]], dict[str, bool]]:
    """Times of both sides, and whether they agree."""
    masks = {"smooth": smooth(SIZE_HW, 1), "noisy": np.random.default_rng(2).random(NOISY_HW) < 0.5}
    codes = {name: encode_rle(mask) for name, mask in masks.items()}
    kit = Kit(list(masks.values()), folder)
    same_codes = kit.digest == hashlib.sha256(b"".join(codes.values())).hexdigest()
    same_masks = all(
        np.array_equal(decode_rle(list(codes[name]), mask.shape) > 127, mask) for name, mask in masks.items()
    )
    results: dict[str, dict[str, Any]] = {}
    for number, (name, mask) in enumerate(masks.items()):
        code = list(codes[name])
        ours: dict[str, Callable[[], object]] = {
            "encode": partial(encode_rle, mask),
            "decode": partial(decode_rle, code, mask.shape),
        }
        for what, run in ours.items():
            found = alternate(run, kit.do(what, number), pairs)
            results[f"{name} {what}"] = {"ratio": found.ratio, "ci95": found.ci95, "goal": 1 / TARGETS[name, what]}
    kit.close()
    return results, {"codes": same_codes, "masks": same_masks}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; fail where the codes or masks differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    if not PYTHON.is_file():
        print("skipped: Label Studio's own kit is not installed here; `make label-studio` installs it")
        return
    with tempfile.TemporaryDirectory() as folder:
        results, agreement = measured(Path(folder), asked.pairs)
    for name, found in results.items():
        print(f"{name:<14} {1 / found['ratio']:6.1f} x the kit (goal >= {1 / found['goal']:.0f})")
    print(f"codes equal: {agreement['codes']}, masks equal: {agreement['masks']}")
    if asked.json:
        facts = {"name": "brush_rle", "peer": "label_studio_sdk", "ours": results, "agreement": agreement}
        print(json.dumps({**facts, "machine": machine(("numpy",))}))
    if not all(agreement.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
