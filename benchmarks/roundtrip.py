"""What a mask loses on the way through a YOLO-seg label file: `python -m benchmarks.roundtrip [--json]`.

Masks are written as label rows in three ways: by `pipeline.formats.yolo` (one ring, holes and parts by seams), by
Ultralytics' own `masks2segments` with its strategy "all", and as the usual exports do, as the largest outline. Each
file is read by Ultralytics' own loader, resampled by it to 1,000 points, and filled by its own `polygon2mask`, at the
image's size. For information the same is done as a training sees it: at 640 px with a mask ratio of 4, beside the true
mask shrunk in the same way.

A row is one ring, and the loader draws its border: what joins two parts is seen as a line. `bound` is what is left of a
mask by that alone, if the parts are joined by the lines that have the fewest pixels.

An instance is lost if nothing of it comes back, or less than half. Sets: nuclei, balloon and coco8-seg where
MASKLOOP_DATA has them; and generated hard ones: rings, C shapes, two to five parts, parts one pixel wide, twins that
touch, objects cut by the border, objects of one to four pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import csgraph
from scipy.spatial.distance import cdist

from benchmarks._harness import machine
from connectors.ultralytics.runtime import load
from pipeline.domain.mask import Bitmap, Mask
from pipeline.formats.coco import find_coco
from pipeline.formats.image import read_image
from pipeline.formats.labels import Found, LabelProblem
from pipeline.formats.seams import one_ring
from pipeline.formats.yolo_layout import find_yolo

SETS = ("nuclei", "balloon", "coco8-seg", "rings", "c", "parts", "thin", "twins", "border", "tiny")
TARGET = 0.99
FLOOR = 0.95
SIDE, RATIO, POINTS = 640, 4, 1000
"""Of a training: image size and mask ratio; and the points to which the loader resamples a ring."""

Rings = list[npt.NDArray[np.float64]]
Writer = Callable[[Bitmap], Rings]
"""A mask as the rings of its label rows, in pixels; no ring: no row."""


@dataclass(frozen=True)
class Tally:
    """IoUs of one way on one set, at the image's size and as a training sees it."""

    own: list[float]
    training: list[float]
    split: int
    bound: list[float]

    def facts(self) -> dict[str, Any]:
        own = np.array(self.own)
        return {
            "mean": float(own.mean()),
            "worst": float(own.min()),
            "under_floor": int((own < FLOOR).sum()),
            "lost": int((own < 0.5).sum()),
            "split": self.split,
            "training_mean": float(np.mean(self.training)),
            "bound": float(np.mean(self.bound)),
        }


def ours(bitmap: Bitmap) -> Rings:
    """One ring with seams."""
    return [one_ring(Mask.from_bitmap(bitmap))]


def ultralytics(bitmap: Bitmap) -> Rings:
    """Its own conversion: outer outlines, joined into one."""
    from ultralytics.utils.ops import masks2segments

    return [ring for ring in masks2segments(bitmap[None].astype(np.uint8), strategy="all") if len(ring) >= 3]


def largest(bitmap: Bitmap) -> Rings:
    """The outline with the largest area."""
    found, _ = cv2.findContours(bitmap.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    ring = max(found, key=cv2.contourArea).reshape(-1, 2).astype(np.float64)
    return [ring] if len(ring) >= 3 else []


WAYS: Mapping[str, Writer] = {"maskloop": ours, "masks2segments": ultralytics, "largest contour": largest}


def through_the_file(masks: Sequence[Bitmap], write: Writer, folder: Path) -> list[list[npt.NDArray[np.float32]]]:
    """Of each mask, the segments that Ultralytics' loader reads back, in fractions of the image."""
    from ultralytics.data.utils import verify_image_label

    height, width = masks[0].shape
    image, label = folder / "image.png", folder / "image.txt"
    cv2.imwrite(str(image), np.zeros((height, width, 3), dtype=np.uint8))
    found = []
    for mask in masks:  # one file each, so that it is known which rows are whose
        rows = [" ".join(f"{value:.6f}" for value in (ring / (width, height)).ravel()) for ring in write(mask)]
        label.write_text("".join(f"0 {row}\n" for row in rows))
        _, _, _, segments, _, _, _, _, corrupt, message = verify_image_label(
            (str(image), str(label), "", False, 1, 0, 0, False)
        )
        if corrupt:
            raise RuntimeError(f"the loader refuses what was written: {message}")
        found.append(segments)
    return found


def filled(segments: Sequence[npt.NDArray[np.float32]], size_hw: tuple[int, int], ratio: int = 1) -> Bitmap:
    """The union of what Ultralytics makes of each segment."""
    from ultralytics.data.utils import polygon2mask

    whole = np.zeros((size_hw[0] // ratio, size_hw[1] // ratio), dtype=np.bool_)
    for segment in segments:
        pixels = segment * np.array(size_hw[::-1], dtype=np.float32)
        whole |= polygon2mask(size_hw, [pixels.reshape(-1)], color=1, downsample_ratio=ratio) > 0
    return whole


def resampled(segments: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    """As the loader does before anything else."""
    from ultralytics.utils.ops import resample_segments

    most = max([POINTS, *(len(segment) + 1 for segment in segments)])
    found: list[npt.NDArray[np.float32]] = resample_segments(list(segments), n=most)
    return found


def bound(mask: Bitmap) -> float:
    """IoU of the mask and itself with the shortest lines that join its parts: a spanning tree over the parts, whose
    lengths count a line's pixels (Chebyshev's distance, less one).
    """
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return 1.0
    parts = [
        np.argwhere((labels == number) & ~ndimage.binary_erosion(labels == number))
        for number in range(1, count + 1)
    ]
    lengths = np.array([[cdist(one, other, "chebyshev").min() for other in parts] for one in parts])
    drawn = csgraph.minimum_spanning_tree(lengths).sum() - (count - 1)
    return float(mask.sum() / (mask.sum() + drawn))


def shrunk(mask: Bitmap) -> Bitmap:
    """The truth as a training would see it, if no label file were between."""
    height, width = _training_size((int(mask.shape[0]), int(mask.shape[1])))
    large = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.resize(large, (width // RATIO, height // RATIO)) > 0)


def _training_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    scale = SIDE / max(size_hw)
    return max(RATIO, round(size_hw[0] * scale)), max(RATIO, round(size_hw[1] * scale))


def iou(first: Bitmap, second: Bitmap) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def tallied(images: Sequence[Sequence[Bitmap]], write: Writer, folder: Path) -> Tally:
    tally = Tally([], [], 0, [])
    for masks in images:
        for mask, segments in zip(masks, through_the_file(masks, write, folder), strict=True):
            size_hw = int(mask.shape[0]), int(mask.shape[1])
            rings = resampled(segments)
            tally.own.append(iou(filled(rings, size_hw), mask))
            tally.training.append(iou(filled(rings, _training_size(size_hw), RATIO), shrunk(mask)))
            tally.bound.append(bound(mask))
            tally = replace(tally, split=tally.split + (len(segments) > 1))
    return tally


def together(tallies: Sequence[Tally]) -> Tally:
    """All sets as one, an instance as much as another."""
    lists = [
        [value for tally in tallies for value in getattr(tally, name)] for name in ("own", "training", "bound")
    ]
    return Tally(lists[0], lists[1], sum(tally.split for tally in tallies), lists[2])


# --- the sets ---------------------------------------------------------------------------------------------


def labelled(found: Iterator[Found | LabelProblem], limit: int) -> list[list[Bitmap]]:
    """The masks of a labelled folder's images."""
    images: list[list[Bitmap]] = []
    for one in islice((row for row in found if isinstance(row, Found)), limit):
        if one.labels is None:
            continue
        height, width = read_image(one.image).image.shape[:2]
        rows = one.labels.read((height, width), one.image.stem).instances
        images.append([row.mask.bitmap() for row in rows if row.mask is not None and row.mask.area_px])
    return [masks for masks in images if masks]


def generated(name: str, count: int = 60) -> list[list[Bitmap]]:
    """Masks of 200 x 260 pixels; the same for everybody."""
    rng = np.random.default_rng(SETS.index(name))
    return [[_HARD[name](rng) for _ in range(2)] for _ in range(count)]


def _canvas() -> npt.NDArray[np.uint8]:
    return np.zeros((200, 260), dtype=np.uint8)


def _somewhere(rng: np.random.Generator, margin: int = 45) -> tuple[int, int]:
    return int(rng.integers(margin, 260 - margin)), int(rng.integers(margin, 200 - margin))


def _ring(rng: np.random.Generator) -> Bitmap:
    canvas, at, radius = _canvas(), _somewhere(rng), int(rng.integers(12, 40))
    cv2.circle(canvas, at, radius, 1, -1)
    cv2.circle(canvas, at, int(radius * rng.uniform(0.3, 0.8)), 0, -1)
    return canvas > 0


def _c(rng: np.random.Generator) -> Bitmap:
    canvas, at, radius = _canvas(), _somewhere(rng), int(rng.integers(14, 40))
    start = float(rng.uniform(0, 360))
    cv2.ellipse(canvas, at, (radius, int(radius * 0.8)), 0, start, start + 300, 1, int(rng.integers(3, 9)))
    return canvas > 0


def _parts(rng: np.random.Generator) -> Bitmap:
    canvas = _canvas()
    while cv2.connectedComponents(canvas)[0] - 1 < rng.integers(2, 6):
        cv2.circle(canvas, _somewhere(rng, 20), int(rng.integers(4, 16)), 1, -1)
    return canvas > 0


def _thin(rng: np.random.Generator) -> Bitmap:
    canvas, (x, y) = _canvas(), _somewhere(rng)
    cv2.circle(canvas, (x, y), int(rng.integers(8, 20)), 1, -1)
    cv2.line(canvas, (x, y), _somewhere(rng, 5), 1, 1)
    canvas[y, : x + 1 : int(rng.integers(1, 3))] = 1
    return canvas > 0


def _twins(rng: np.random.Generator) -> Bitmap:
    """Two discs that touch in a corner or a row."""
    canvas, (x, y), radius = _canvas(), _somewhere(rng), int(rng.integers(6, 20))
    cv2.circle(canvas, (x, y), radius, 1, -1)
    cv2.circle(canvas, (x + 2 * radius + int(rng.integers(0, 2)), y + int(rng.integers(0, 3))), radius, 1, -1)
    return canvas > 0


def _border(rng: np.random.Generator) -> Bitmap:
    canvas = _canvas()
    x, y = [(0, 100), (259, 60), (130, 0), (90, 199), (0, 0), (259, 199)][int(rng.integers(6))]
    cv2.ellipse(canvas, (x, y), (int(rng.integers(8, 60)), int(rng.integers(8, 60))), 0, 0, 360, 1, -1)
    return canvas > 0


def _tiny(rng: np.random.Generator) -> Bitmap:
    canvas, (x, y) = _canvas(), _somewhere(rng)
    for dx, dy in islice(rng.permutation([(0, 0), (1, 0), (0, 1), (1, 1)]), int(rng.integers(1, 5))):
        canvas[y + dy, x + dx] = 1
    return canvas > 0


_HARD: Mapping[str, Callable[[np.random.Generator], Bitmap]] = {
    "rings": _ring,
    "c": _c,
    "parts": _parts,
    "thin": _thin,
    "twins": _twins,
    "border": _border,
    "tiny": _tiny,
}


def images_of(name: str, data: Path | None, limit: int) -> list[list[Bitmap]]:
    if name in _HARD:
        return generated(name)
    folder = data / name if data is not None else None
    if folder is None or not folder.is_dir():
        print(f"{name}: skipped, no such set; MASKLOOP_DATA or --data names the folder")
        return []
    if name == "coco8-seg":
        names = [str(number) for number in range(80)]
        return labelled(find_yolo(folder, names), limit)
    return labelled(find_coco(folder / "annotations.json", folder / "images"), limit)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; fail if ours loses an instance, splits one, or misses the target over all sets together."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--limit", type=int, default=200, help="images of each set")
    parser.add_argument("--data", type=Path, default=os.environ.get("MASKLOOP_DATA"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    load("the benchmark")
    data = Path(asked.data) if asked.data is not None else None
    tallies: dict[str, dict[str, Tally]] = {}
    print(f"{'set':<10} {'way':<16} {'n':>5}    mean  worst  <0.95  lost split  training   bound")
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.sets.split(","):
            images = images_of(name, data, asked.limit)
            for way, write in WAYS.items() if images else ():
                tally = tallied(images, write, Path(folder))
                tallies.setdefault(name, {})[way] = tally
                _print(name, way, tally)
    everything = {way: together([ways[way] for ways in tallies.values()]) for way in WAYS}
    for way, tally in everything.items():
        _print("all", way, tally)
    results = {name: {way: tally.facts() for way, tally in ways.items()} for name, ways in tallies.items()}
    results["all"] = {way: tally.facts() for way, tally in everything.items()}
    if asked.json:
        facts = {"name": "roundtrip", "ours": results, "target": TARGET, "machine": machine(("ultralytics",))}
        print(json.dumps(facts))
    ours_all = results["all"]["maskloop"]
    if ours_all["mean"] < TARGET or ours_all["lost"] or ours_all["split"]:
        sys.exit(1)


def _print(name: str, way: str, tally: Tally) -> None:
    facts = tally.facts()
    print(
        f"{name:<10} {way:<16} {len(tally.own):5d} {facts['mean']:7.4f} {facts['worst']:6.3f}"
        f" {facts['under_floor']:6d} {facts['lost']:5d} {facts['split']:5d}"
        f" {facts['training_mean']:9.3f} {facts['bound']:7.4f}"
    )


if __name__ == "__main__":
    main()
