"""How many clicks a good mask takes: `python -m benchmarks.clicks [--peers nano_sam,grabcut] [--data DIR] [--json]`.

The protocol is the field's (Sofiiuk, Petrov, Konushin, ICIP 2022; see pipeline/domain/clicks.py): click the middle of
the largest error, at most 20 times; NoC@t is the number of clicks to IoU t, 20 where it was not reached; NoF@t counts
those that were not: as published, where a success exactly at click 20 is a failure, and `clean`. IoU leaves out what
the masks mark as ignored. Every click is asked with all before it and with the logits of the last answer, as in the
SAM wrappers of SegNext and RClicks; other than there, only a first point takes the best of three candidates, and later
ones the single mask. No box, no zoom, no flip.

Three ways for each peer and set: from nothing; and from a mask disturbed to an IoU of 0.75 to 0.85, with the whole
answer taken and with progressive merge, which is what the house does. Peers are those whose weights are here; random
weights are never judged.

Before that, the simulator's own speed: against the protocol written down literally, on errors that cover at most 10 %
of the frame; every click must have the same coordinates.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._click_sets import Case, disturbed, photographs, scenes
from benchmarks._harness import Comparison, alternate, machine
from pipeline.domain.clicks import Click, next_click
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.refinement import Refinement
from pipeline.errors import PipelineError
from pipeline.ports import Segmenter
from pipeline.segmenting.refining import refined
from pipeline.wiring import open_segmenter

MOST = 20
LEVELS = (0.80, 0.85, 0.90)
AFTER = (1, 3, 5)
PEERS = ("nano_sam", "grabcut", "mobile_sam", "sam", "sam2", "segment_anything", "fastsam")
SETS = ("demo", "shapes", "grabcut", "berkeley")
TARGET_SPEED = 5.0
TARGET_RATIO = 0.45
_FRAME = (480, 640)


def iou(mask: Bitmap, case: Case) -> float:
    """Without what is ignored; nothing and nothing are equal."""
    seen = np.ones_like(case.truth) if case.ignore is None else ~case.ignore
    union = ((mask | case.truth) & seen).sum()
    return float((mask & case.truth & seen).sum() / union) if union else 1.0


def played(segmenter: Segmenter, case: Case, start: Bitmap | None, *, progressive: bool) -> list[float]:
    """The IoU after each click: up to 20, fewer where 0.90 was reached or no error is left."""
    [encoding] = segmenter.encode([case.image])
    state = Refinement.of_mask(Mask.from_bitmap(start if start is not None else np.zeros_like(case.truth)))
    if start is not None:
        state = Refinement(state.mask, prior=state.prior)
    ious: list[float] = []
    for _ in range(MOST):
        click = next_click(state.mask.bitmap(), case.truth, case.ignore, state.clicks)
        if click is None:
            break
        state = refined(segmenter, encoding, state, click, progressive=progressive)
        ious.append(iou(state.mask.bitmap(), case))
        if ious[-1] >= LEVELS[-1]:
            break
    return ious


def clicks_to(ious: Sequence[float], level: float) -> int:
    """NoC: 1 + the first index at which the level is reached, 20 if none is."""
    return next((number for number, value in enumerate(ious, start=1) if value >= level), MOST)


def summed_up(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """NoC and NoF of all objects, and their mean IoU after some clicks; who is done keeps the last IoU."""
    facts: dict[str, Any] = {"objects": len(rounds)}
    for level in LEVELS:
        counts = [clicks_to(ious, level) for ious in rounds]
        name = f"{level:.2f}"[2:]
        facts[f"noc{name}"] = float(np.mean(counts))
        facts[f"nof{name}"] = sum(count == MOST for count in counts)
        facts[f"nof{name}_clean"] = sum(max(ious, default=0.0) < level for ious in rounds)
    for after in AFTER:
        facts[f"iou{after}"] = float(
            np.mean([ious[min(after, len(ious)) - 1] if ious else 1.0 for ious in rounds])
        )
    return facts


def judged(segmenter: Segmenter, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """The three ways."""
    starts = [disturbed(case.truth, np.random.default_rng(number)) for number, case in enumerate(cases)]
    ways: dict[str, tuple[Iterable[Bitmap | None], bool]] = {
        "from nothing": ([None] * len(cases), False),
        "from a mask": (starts, False),
        "from a mask, progressive": (starts, True),
    }
    return {
        way: summed_up(
            [
                played(segmenter, case, start, progressive=progressive)
                for case, start in zip(cases, begun, strict=True)
            ]
        )
        for way, (begun, progressive) in ways.items()
    }


def literal_click(pred: Bitmap, truth: Bitmap) -> Click:
    """The protocol's steps one by one, on whole images."""
    depths = []
    for error in (truth & ~pred, ~truth & pred):
        padded = np.pad(error, ((1, 1), (1, 1)), "constant").astype(np.uint8)
        depths.append(cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1])
    positive = bool(depths[0].max() > depths[1].max())
    chosen = depths[0] if positive else depths[1]
    ys, xs = np.where(chosen == chosen.max())
    return Click(int(xs[0]), int(ys[0]), positive)


def simulator_speed(pairs: int) -> tuple[Comparison, float]:
    """Both simulators on the same errors, and the share of equal clicks."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(40):
        truth = np.zeros(_FRAME, dtype=np.uint8)
        centre = int(rng.integers(80, 560)), int(rng.integers(80, 400))
        cv2.ellipse(truth, centre, (int(rng.integers(30, 90)), int(rng.integers(30, 70))), 0, 0, 360, 1, -1)
        pred = disturbed(truth > 0, rng)
        if ((truth > 0) ^ pred).mean() <= 0.1:
            errors.append((pred, truth > 0))
    same = np.mean([next_click(pred, truth) == literal_click(pred, truth) for pred, truth in errors])

    def all_by(click: Callable[[Bitmap, Bitmap], Click | None]) -> Callable[[], list[Click | None]]:
        return lambda: [click(pred, truth) for pred, truth in errors]

    return alternate(all_by(next_click), all_by(literal_click), pairs), float(same)


def cases_of(name: str, data: Path | None, limit: int) -> list[Case]:
    """Empty where the set is not here, which is said."""
    if name in ("demo", "shapes"):
        return list(scenes(name, limit))
    folder = data / "clicks" / name if data is not None else None
    if folder is None or not folder.is_dir():
        print(f"{name}: skipped, no such set; MASKLOOP_DATA or --data names the folder")
        return []
    return list(photographs(folder, limit))


def table(peer: str, name: str, ways: dict[str, dict[str, Any]]) -> None:
    objects = next(iter(ways.values()))["objects"]
    print(f"\n{peer} on {name}, {objects} objects")
    print(f"  {'':<26} NoC@80 NoC@85 NoC@90  NoF@90 (clean)  IoU@1  IoU@3  IoU@5")
    for way, facts in ways.items():
        counts = " ".join(f"{facts[f'noc{level}']:6.2f}" for level in (80, 85, 90))
        ious = "  ".join(f"{facts[f'iou{after}']:.3f}" for after in AFTER)
        print(f"  {way:<26} {counts}  {facts['nof90']:6d} ({facts['nof90_clean']:d})  {ious:>26}")
    ratio = ways["from a mask, progressive"]["noc90"] / ways["from nothing"]["noc90"]
    print(f"  from a mask with progressive merge: {ratio:.2f} x the clicks from nothing (goal <= {TARGET_RATIO})")
    more = ways["from a mask, progressive"]["noc90"] - ways["from a mask"]["noc90"]
    print(f"  progressive merge costs {more:+.2f} clicks to 0.90 (goal <= 0)")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--limit", type=int, default=60, help="objects of each set")
    parser.add_argument("--data", type=Path, default=os.environ.get("MASKLOOP_DATA"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    data = Path(asked.data) if asked.data is not None else None
    compared, same = simulator_speed(pairs=7)
    print(
        f"simulator: {1 / compared.ratio:.1f} x the literal protocol (goal >= {TARGET_SPEED}), {same:.0%} equal clicks"
    )
    sets = {name: cases_of(name, data, asked.limit) for name in asked.sets.split(",")}
    results: dict[str, dict[str, Any]] = {}
    for peer in asked.peers.split(","):
        try:
            segmenter = open_segmenter(peer)
        except PipelineError as exc:
            print(f"\n{peer}: not judged here: {str(exc).splitlines()[0]}")
            continue
        results[peer] = {name: judged(segmenter, cases) for name, cases in sets.items() if cases}
        for name, ways in results[peer].items():
            table(peer, name, ways)
    if asked.json:
        speed = {"ratio": compared.ratio, "ci95": compared.ci95, "equal_clicks": same}
        facts = {"name": "clicks", "ours": results, "simulator": speed, "limit": asked.limit}
        print(json.dumps({**facts, "machine": machine(("torch",))}))


if __name__ == "__main__":
    main()
