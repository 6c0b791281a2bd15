"""How an image encoder runs quickest here: `python -m benchmarks.encoders [--networks mobile_sam,sam2] [--json]`.

Ours: the engine that `engine: auto` takes after its short measurement on this machine, once in fp32 and once in bf16.
The peer: the same network as PyTorch runs it, eager fp32. Both take turns in one process, on random pixels and random
weights; encodings must agree to the engine's own tolerance.

What a lower precision does to masks is measured where weights are trained: `nano_sam`, on held-out generated scenes,
the mean IoU of the masks from bf16 encodings with those from fp32.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import Comparison, alternate, machine
from connectors.engines.candidates import CANDIDATES, Precision
from connectors.engines.choice import Measured, measure
from connectors.sam.first import SQUARE
from connectors.sam.second import Sam2Network, image_parts
from connectors.segmenters import nano_sam
from connectors.ultralytics.runtime import load
from pipeline.domain.mask import Mask, mask_iou
from pipeline.domain.prompts import Prompt
from pipeline.scenes import DEMO, make_scenes
from tests.contracts._yolo import resources_for

TARGET_SPEED = 2.5
TARGET_AGREEMENT = 0.98
NETWORKS = ("mobile_sam", "sam2")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
SCENES = 40
SEED = 9_001


def encoder_of(kind: str) -> Any:
    """The image encoder of a published structure, with random weights."""
    import torch
    from ultralytics.models.sam import build

    torch.manual_seed(0)
    if kind == "mobile_sam":
        return build.build_mobile_sam().train().eval().requires_grad_(requires_grad=False).image_encoder
    return Sam2Network(image_parts(build.build_sam2_t().requires_grad_(requires_grad=False))).encoder.eval()


def compared(kind: str, precision: Precision, pairs: int) -> tuple[Comparison, list[Measured]]:
    """The chosen engine against eager fp32; and what the short measurement said of all."""
    module = encoder_of(kind)
    pixels = np.random.default_rng(0).standard_normal((1, 3, SQUARE.side, SQUARE.side)).astype(np.float32)
    rows = measure(module, pixels, precision)
    ours = CANDIDATES[rows[0].engine].make(module, pixels, precision)
    eager = CANDIDATES["eager"].make(module, pixels, "fp32")
    return alternate(lambda: ours(pixels), lambda: eager(pixels), pairs), rows


def agreement_of_masks() -> float:
    """Mean IoU of trained nano_sam's masks from bf16 encodings with those from fp32, one box for each object."""
    with tempfile.TemporaryDirectory() as folder:
        lent = resources_for(Path(folder))
        exact, quick = (
            nano_sam.build(nano_sam.Settings(device="cpu", precision=precision), lent) for precision in PRECISIONS
        )
    ious: list[float] = []
    for image, objects in make_scenes(DEMO, SCENES, SEED):
        prompts = [Prompt(box=Mask.from_bitmap(thing.visible).box) for thing in objects]
        if prompts:
            one, other = (segmenter.decode(segmenter.encode([image])[0], prompts) for segmenter in (exact, quick))
            pairs = zip(one, other, strict=True)
            ious += [float(mask_iou([a.mask], [b.mask])[0, 0]) for [a, *_], [b, *_] in pairs]
    return float(np.mean(ious))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    load("the benchmark")
    import torch

    torch.set_flush_denormal(True)  # random weights make denormal numbers, trained ones do not
    results = []
    for kind in asked.networks.split(","):
        for precision in PRECISIONS:
            times, rows = compared(kind, precision, asked.pairs)
            low, high = times.ci95
            print(
                f"{kind} {precision}: {rows[0].engine} takes {times.ratio:.3f} of eager fp32 ({low:.3f} to {high:.3f})"
            )
            for row in rows:
                print(
                    f"  {row.engine:<14}{row.failed or f'{row.seconds:7.3f} s   deviates by {row.deviation:.1e}'}"
                )
            results.append(
                {"network": kind, "precision": precision, "engine": rows[0].engine, "speed": 1 / times.ratio}
                | {"ratio": times.ratio, "ci95": [low, high], "measured": [asdict(row) for row in rows]}
            )
    agreement = agreement_of_masks()
    print(f"masks of nano_sam in bf16 against fp32: mean IoU {agreement:.4f}, target >= {TARGET_AGREEMENT}")
    best = max(result["speed"] for result in results)
    print(f"quickest {best:.2f} x eager fp32, target >= {TARGET_SPEED}")
    if asked.json:
        facts = {"name": "encoders", "ours": results, "agreement": agreement, "machine": machine(("torch",))}
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
