from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.domain.average_precision import ApAccumulator
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.metrics import Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.errors import DataError, ShapeMismatch

CLASSES = ("disc", "star", "ring", "never_seen")
SIZE = (60, 80)
PERSON = Origin(OriginKind.HUMAN, "person")
Scene = tuple[str, SizeHW, list[Instance], list[Proposal]]


def truth_of(
    box: Box, label: str = "disc", size_hw: SizeHW = SIZE, number: int = 0, *, mask: bool = True
) -> Instance:
    shape = Mask.from_box(box, size_hw) if mask else None
    return Instance(f"i{number}", label, box, shape, PERSON, State.DRAWN)


def guess(
    box: Box, confidence: float, label: str = "disc", size_hw: SizeHW = SIZE, *, mask: bool = True
) -> Proposal:
    return Proposal(box, label, confidence, mask=Mask.from_box(box, size_hw) if mask else None)


def random_box(rng: np.random.Generator, size_hw: SizeHW) -> Box:
    width, height = rng.uniform(4, size_hw[1] / 2), rng.uniform(4, size_hw[0] / 2)
    x, y = rng.uniform(0, size_hw[1] - width), rng.uniform(0, size_hw[0] - height)
    return Box(x, y, x + width, y + height)


def random_scenes(seed: int, images: int = 30, most: int = 8) -> list[Scene]:
    """Images with near misses, false alarms and tied confidences; some without truth, some without a guess."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    for number in range(images):
        size_hw = (int(rng.integers(40, 90)), int(rng.integers(40, 90)))
        truth = [
            truth_of(random_box(rng, size_hw), str(rng.choice(CLASSES[:3])), size_hw, index)
            for index in range(rng.integers(0, most))
        ]
        found = []
        for instance in truth * 2:
            moved = Box(*(np.array(instance.box) + rng.normal(0, 2, 4))).clipped(size_hw)
            label = instance.label if rng.random() < 0.8 else str(rng.choice(CLASSES))
            if rng.random() < 0.7 and moved.width > 1 and moved.height > 1:
                found.append(guess(moved, round(rng.random(), 1), label, size_hw))
        found += [guess(random_box(rng, size_hw), rng.random() / 2, str(rng.choice(CLASSES)), size_hw)] * (
            number % 3
        )
        scenes.append((f"image{number}", size_hw, truth, found if number % 7 else []))
    return scenes


def ours(scenes: Sequence[Scene]) -> Metrics:
    scores = ApAccumulator(CLASSES)
    for scene in scenes:
        scores.add(*scene)
    return scores.metrics()


Figures = dict[str, tuple[float | None, float | None]]


def referee(scenes: Sequence[Scene], kind: str) -> tuple[Figures, list[float]]:
    """pycocotools on the same data: class name, or "all", -> (AP50, AP50-95); and its twelve figures."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(pick: int) -> list[dict[str, Any]]:
        table: list[dict[str, Any]] = []
        for image, scene in enumerate(scenes, start=1):
            for item in scene[2:][pick]:
                box = item.box
                row = {"bbox": [box.x1, box.y1, box.width, box.height], "area": box.area_px, "iscrowd": 0}
                if item.mask is not None and (kind == "segm" or not pick):
                    row["area"] = item.mask.area_px
                if kind == "segm":
                    assert item.mask is not None
                    row["segmentation"] = item.mask.rle
                score = {"score": item.confidence} if pick else {}
                table.append(
                    {**row, **score, "id": len(table) + 1, "image_id": image}
                    | {"category_id": CLASSES.index(item.label) + 1}
                )
        return table

    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for pick in (0, 1):
            side = COCO()
            side.dataset = {
                "images": [{"id": n, "height": s[1][0], "width": s[1][1]} for n, s in enumerate(scenes, start=1)],
                "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)],
                "annotations": rows(pick),
            }
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]

    def mean(part: Any) -> float | None:
        return float(part[part > -1].mean()) if (part > -1).any() else None

    figures = {name: (mean(precision[0, :, k]), mean(precision[:, :, k])) for k, name in enumerate(CLASSES)}
    return figures | {"all": (float(evaluation.stats[1]), float(evaluation.stats[0]))}, evaluation.stats.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools(seed: int) -> None:
    scenes = random_scenes(seed)
    metrics = ours(scenes)
    for kind, prefix in (("bbox", "box"), ("segm", "mask")):
        expected, _ = referee(scenes, kind)
        for name, values in expected.items():
            source = metrics if name == "all" else metrics.per_class[name]
            got = (getattr(source, f"{prefix}_map50"), getattr(source, f"{prefix}_map50_95"))
            assert got == pytest.approx(values, abs=1e-9), (kind, name)
    assert 0.05 < (metrics.mask_map50_95 or 0) < 0.95, "the test's data must be neither hopeless nor perfect"
    assert metrics.per_class["never_seen"].box_map50_95 is None


def test_agrees_with_pycocotools_above_a_hundred_detections() -> None:
    rng = np.random.default_rng(5)
    truth = [truth_of(random_box(rng, SIZE), number=index) for index in range(30)]
    found = [guess(random_box(rng, SIZE), rng.random()) for _ in range(150)]
    scenes: list[Scene] = [("one", SIZE, truth, found + [guess(item.box, 0.02) for item in truth])]
    for kind, value in (("bbox", ours(scenes).box_map50), ("segm", ours(scenes).mask_map50)):
        assert value == pytest.approx(referee(scenes, kind)[0]["all"][0], abs=1e-9)
    cut = ours(scenes).box_map50
    assert cut is not None
    assert cut < 0.9, "the perfect boxes at rank 151 and later must not count"


def test_perfect_and_hopeless() -> None:
    box, far = Box(10, 10, 30, 30), Box(50, 40, 70, 55)
    perfect = ours([("one", SIZE, [truth_of(box)], [guess(box, 0.9)])])
    assert (perfect.box_map50, perfect.box_map50_95, perfect.mask_map50, perfect.mask_map50_95) == (1, 1, 1, 1)
    assert (perfect.images, perfect.instances, perfect.per_class["disc"].instances) == (1, 1, 1)
    hopeless = ours([("one", SIZE, [truth_of(box)], [guess(far, 0.9)])])
    assert (hopeless.box_map50, hopeless.mask_map50_95) == (0, 0)


def test_a_worse_mask_in_the_same_box_costs_the_mask_figures_only() -> None:
    box = Box(10, 10, 30, 30)
    half = replace(guess(box, 0.9), mask=Mask.from_box(Box(10, 10, 20, 30), SIZE))
    metrics = ours([("one", SIZE, [truth_of(box)], [half])])
    assert metrics.box_map50_95 == 1
    assert metrics.mask_map50_95 == pytest.approx(0.1), "IoU is exactly 0.5: right at one threshold of ten"


def test_a_rejected_instance_is_no_truth() -> None:
    box = Box(10, 10, 30, 30)
    rejected = replace(truth_of(Box(50, 40, 70, 55), number=1), state=State.REJECTED)
    metrics = ours([("one", SIZE, [truth_of(box), rejected], [guess(box, 0.9)])])
    assert (metrics.instances, metrics.box_map50) == (1, 1)


def test_truth_without_masks_has_no_mask_figures() -> None:
    box = Box(10, 10, 30, 30)
    metrics = ours([("one", SIZE, [truth_of(box, mask=False)], [guess(box, 0.9)])])
    assert (metrics.box_map50, metrics.mask_map50, metrics.per_class["disc"].mask_map50_95) == (1, None, None)


def test_a_model_without_masks_scores_no_mask() -> None:
    box = Box(10, 10, 30, 30)
    metrics = ours([("one", SIZE, [truth_of(box)], [guess(box, 0.9, mask=False)])])
    assert (metrics.box_map50, metrics.mask_map50) == (1, 0)


@pytest.mark.parametrize("found", [[], [guess(Box(10, 10, 30, 30), 0.9)]])
def test_without_any_truth_there_is_no_figure(found: list[Proposal]) -> None:
    metrics = ours([("one", SIZE, [], found)])
    assert (metrics.images, metrics.instances) == (1, 0)
    assert (metrics.box_map50, metrics.mask_map50_95, metrics.per_class["disc"].box_map50) == (None, None, None)
    assert ours([]).images == 0


def test_without_any_prediction_the_figure_is_zero() -> None:
    metrics = ours([("one", SIZE, [truth_of(Box(10, 10, 30, 30))], [])])
    assert (metrics.box_map50, metrics.mask_map50_95) == (0, 0)


def test_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ours(random_scenes(1, images=3))
    assert capsys.readouterr() == ("", "")


def test_bad_additions_are_refused_and_leave_no_trace() -> None:
    scores = ApAccumulator(("disc",))
    box = Box(10, 10, 30, 30)
    with pytest.raises(DataError, match="'star' is not among the classes"):
        scores.add("one", SIZE, [truth_of(box), truth_of(box, "star", number=1)], [])
    with pytest.raises(ShapeMismatch, match="the image is"):
        scores.add("one", SIZE, [truth_of(box)], [guess(box, 0.5, size_hw=(10, 10))])
    scores.add("one", SIZE, [truth_of(box)], [])
    with pytest.raises(DataError, match="already added"):
        scores.add("one", SIZE, [], [])
    assert scores.metrics().instances == 1
