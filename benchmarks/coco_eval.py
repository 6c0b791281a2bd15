"""COCO's twelve figures beside pycocotools, for boxes and masks: `python -m benchmarks.coco_eval [--json]`.

Both sides get the same simulated images with COCO's density. Ours begins with the house's own records and ends with the
figures; pycocotools gets rows that are made already, so that only its own work counts: index, results, evaluation,
accumulation, summary. All twenty-four figures must be equal up to 1e-14.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks._coco_scenes import CLASSES, SIZE_HW, Scene, scenes
from benchmarks._harness import Comparison, alternate, machine
from pipeline.domain.average_precision import COCO_FIGURES, ApAccumulator, Kind

GOAL = 3.0
SAME = 1e-14
"""pycocotools adds 2e-16 to each denominator."""
KINDS: tuple[Kind, ...] = ("bbox", "segm")

Rows = list[dict[str, Any]]


def ours(images: Sequence[Scene], kind: Kind) -> dict[str, float | None]:
    scores = ApAccumulator(CLASSES)
    for image in images:
        scores.add(image.name, SIZE_HW, image.truth, image.found)
    return scores.coco_figures(kind) or {}


def rows(images: Sequence[Scene]) -> tuple[Rows, Rows]:
    """COCO's annotations, and results with box and mask both."""
    truth: Rows = []
    found: Rows = []
    for number, image in enumerate(images, start=1):
        for table, items in ((truth, image.truth), (found, image.found)):
            for item in items:
                if item.mask is None:
                    raise ValueError("every simulated object has a mask")
                box = [item.box.x1, item.box.y1, item.box.width, item.box.height]
                row = {"image_id": number, "category_id": CLASSES.index(item.label) + 1, "bbox": box}
                table.append({**row, "segmentation": item.mask.rle, "score": item.confidence})
    areas = [item.mask.area_px for image in images for item in image.truth if item.mask is not None]
    for number, (row, area) in enumerate(zip(truth, areas, strict=True), start=1):
        row.update(id=number, area=area, iscrowd=0)
    return truth, found


def peer(images: int, truth: Rows, found: Rows, kind: Kind) -> dict[str, float | None]:
    """pycocotools, quiet; `loadRes` writes into its rows and takes a box for the shape where it sees one."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    other = "segmentation" if kind == "bbox" else "bbox"
    with contextlib.redirect_stdout(io.StringIO()):
        side = COCO()
        side.dataset = {
            "images": [{"id": n, "height": SIZE_HW[0], "width": SIZE_HW[1]} for n in range(1, images + 1)],
            "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)],
            "annotations": truth,
        }
        side.createIndex()
        results = side.loadRes([{key: value for key, value in row.items() if key != other} for row in found])
        evaluation = COCOeval(side, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(value) for value in evaluation.stats]
    return {name: None if value < 0 else value for name, value in zip(COCO_FIGURES, stats, strict=True)}


def difference(first: dict[str, float | None], second: dict[str, float | None]) -> float:
    """The largest of the twelve; infinite where one side has a figure that the other has not."""
    pairs = [(first[name], second[name]) for name in COCO_FIGURES]
    if any((a is None) != (b is None) for a, b in pairs):
        return float("inf")
    return max(abs((a or 0.0) - (b or 0.0)) for a, b in pairs)


def measured(images: Sequence[Scene], kind: Kind, pairs: int) -> tuple[Comparison, dict[str, Any]]:
    truth, found = rows(images)
    results: dict[str, dict[str, float | None]] = {}

    def our_side() -> None:
        results["ours"] = ours(images, kind)

    def peer_side() -> None:
        results["peer"] = peer(len(images), truth, found, kind)

    compared = alternate(our_side, peer_side, pairs)
    largest = difference(results["ours"], results["peer"])
    facts = {"figures": results["ours"], "largest_difference": largest, "identical": largest <= SAME}
    return compared, facts


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both sides; fail where a figure differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="the claim is about 5000")
    parser.add_argument("--detections", type=float, default=20.0, help="of each image, on average")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    images = scenes(asked.images, asked.detections, asked.seed)
    counts = {"truths": sum(len(one.truth) for one in images), "detections": sum(len(one.found) for one in images)}
    print(f"{asked.images} images, {counts['truths']} truths, {counts['detections']} detections")
    results: dict[str, Any] = {}
    for kind in KINDS:
        compared, facts = measured(images, kind, asked.pairs)
        times = {"ours_s": compared.ours_s, "peer_s": compared.peer_s}
        results[kind] = {**times, "ratio": compared.ratio, "ci95": compared.ci95, **facts}
        low, high = compared.ci95
        print(
            f"{kind}: {1 / compared.ratio:.1f} x pycocotools (95 % {1 / high:.1f} to {1 / low:.1f}, goal {GOAL:g})"
        )
        print("  " + "  ".join(f"{name} {_shown(value)}" for name, value in facts["figures"].items()))
        print(f"  largest difference of the twelve {facts['largest_difference']:.1e}")
    if asked.json:
        facts = {"name": "coco_eval", "peer": "pycocotools", "ours": results, "target": 1 / GOAL, **counts}
        packages = ("faster-coco-eval", "pycocotools", "numpy")
        print(json.dumps({**facts, "images": asked.images, "machine": machine(packages)}))
    if not all(found["identical"] for found in results.values()):
        sys.exit(1)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
