"""Average precision of boxes and masks, as COCO defines it (Lin et al. 2014, https://cocodataset.org/#detection-eval).

faster-coco-eval computes it in memory. What a round asks for is what COCO calls "all areas, at most 100 detections an
image"; COCO's twelve figures are computed only where they are asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.hits import AREAS, Hits, Matched, gathered, matched
from pipeline.domain.mask import Mask
from pipeline.domain.metrics import ClassMetrics, Metrics
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, State
from pipeline.domain.uncollected import uncollected
from pipeline.errors import DataError, ShapeMismatch

__all__ = ["COCO_FIGURES", "ApAccumulator", "Kind"]

Kind = Literal["bbox", "segm"]
"""What overlaps are measured between: boxes or masks. COCO's own words."""

COCO_FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The names of COCO's twelve figures, in COCO's order."""

MAX_DETECTIONS = 100


class ApAccumulator:
    """Takes one image at a time, then says how well predictions met the truth.

    It keeps boxes and run-length masks only, never an image or a bitmap. A rejected instance is not truth.
    A proposal without a mask is no detection for the mask figures. If any truth instance has no mask, the
    mask figures are None: predictions of that object could be neither right nor wrong.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._class_ids = {name: number for number, name in enumerate(classes, start=1)}
        self._sizes: dict[str, SizeHW] = {}
        self._truth: list[_Row] = []
        self._found: list[_Row] = []
        self._evaluated: dict[Kind, Any] = {}

    def add(
        self, sample_id: str, size_hw: SizeHW, truth_instances: Iterable[Instance], proposals: Iterable[Proposal]
    ) -> None:
        """One image, also if it has no truth, or no proposal.

        Raises DataError for an image that was added before or a label that is not among the classes, and
        ShapeMismatch for a mask that is not of `size_hw`.
        """
        if sample_id in self._sizes:
            raise DataError("the image was already added to this evaluation", sample_id=sample_id)
        present = [instance for instance in truth_instances if instance.state is not State.REJECTED]
        image_id = len(self._sizes) + 1
        truth = [self._row(sample_id, image_id, size_hw, instance, 1.0) for instance in present]
        found = [self._row(sample_id, image_id, size_hw, guess, guess.confidence) for guess in proposals]
        self._sizes[sample_id] = size_hw
        self._truth += truth
        self._found += found
        self._evaluated.clear()

    def metrics(self) -> Metrics:
        """Figures over everything added so far."""
        box = self._precision("bbox")
        mask = self._precision("segm") if self.has_masks else None
        instances = Counter(row.class_id for row in self._truth)
        per_class = {}
        for column, (name, class_id) in enumerate(self._class_ids.items()):
            only = slice(column, column + 1)
            per_class[name] = ClassMetrics(instances[class_id], *_figures(box, only), *_figures(mask, only))
        every = slice(None)
        return Metrics(
            len(self._sizes), len(self._truth), *_figures(box, every), *_figures(mask, every), per_class=per_class
        )

    def coco_figures(self, kind: Kind) -> dict[str, float | None] | None:
        """COCO's twelve figures in [0, 1], by the names of COCO_FIGURES; None where there is no truth of that size.

        As there, an object is small, medium or large by its mask where it has one, also where boxes are judged; and
        ARs, ARm and ARl allow a hundred detections. None at all where masks are asked for and a truth has none.
        """
        if kind == "segm" and not self.has_masks:
            return None
        if not self._truth:
            return dict.fromkeys(COCO_FIGURES)
        evaluation = self._evaluated_for(kind, list(AREAS), [1, 10, MAX_DETECTIONS])
        evaluation.summarize()
        figures = zip(COCO_FIGURES, evaluation.stats.tolist(), strict=True)
        return {name: None if value < 0 else value for name, value in figures}

    @property
    def has_masks(self) -> bool:
        """Whether every truth has a mask, so that masks can be judged."""
        return all(row.mask is not None for row in self._truth)

    def hits(self, kind: Kind) -> Hits:
        """Which detections hit, image by image, over everything added so far."""
        ious = self._evaluation(kind).ious if self._truth else {}
        truth, found = (_by_pair(rows, kind) for rows in (self._truth, self._found))
        parts = [
            _matched(pair, ious.get(pair, ()), found.get(pair, [])[:MAX_DETECTIONS], truth.get(pair, []), kind)
            for pair in sorted(truth.keys() | found.keys())
        ]
        return gathered(tuple(self._sizes), tuple(self._class_ids), parts)

    def _row(
        self, sample_id: str, image_id: int, size_hw: SizeHW, item: Instance | Proposal, score: float
    ) -> _Row:
        class_id = self._class_ids.get(item.label)
        if class_id is None:
            known = ", ".join(self._class_ids)
            raise DataError(f"label {item.label!r} is not among the classes ({known})", sample_id=sample_id)
        if item.mask is not None and item.mask.size_hw != size_hw:
            raise ShapeMismatch(f"a mask is {item.mask.size_hw}, the image is {size_hw}", sample_id=sample_id)
        return _Row(image_id, class_id, item.box, item.mask, score)

    def _precision(self, kind: Kind) -> npt.NDArray[np.float64] | None:
        """COCO's interpolated precision, `(10 IoU thresholds, 101 recalls, k classes)`; -1 without truth."""
        if not self._truth:
            return None
        precision: npt.NDArray[np.float64] = np.asarray(self._evaluation(kind).eval["precision"])[:, :, :, 0, 0]
        return precision

    def _evaluation(self, kind: Kind) -> Any:
        """faster-coco-eval's own, made once for what was added; with its overlaps in `ious`."""
        if kind not in self._evaluated:
            self._evaluated[kind] = self._evaluated_for(kind, ["all"], [MAX_DETECTIONS])
        return self._evaluated[kind]

    def _evaluated_for(self, kind: Kind, areas: Sequence[str], most: Sequence[int]) -> Any:
        """For objects of these AREAS, and with at most so many detections of a class in an image."""
        from faster_coco_eval import COCO, COCOeval_faster

        frame = {
            "images": [
                {"id": number, "height": size_hw[0], "width": size_hw[1]}
                for number, size_hw in enumerate(self._sizes.values(), start=1)
            ],
            "categories": [{"id": number, "name": name} for name, number in self._class_ids.items()],
        }
        # COCO measures a truth by its mask, whatever is judged.
        with uncollected():
            rows = _coco(self._truth, kind, areas_of="segm"), _coco(self._found, kind, areas_of=kind)
            evaluation = COCOeval_faster(*(COCO({**frame, "annotations": side}) for side in rows), iouType=kind)
            evaluation.params.maxDets = list(most)
            evaluation.params.areaRng = [list(AREAS[name]) for name in areas]
            evaluation.params.areaRngLbl = list(areas)
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation


@dataclass(frozen=True, slots=True)
class _Row:
    image_id: int
    class_id: int
    box: Box
    mask: Mask | None
    score: float

    def area_px(self, kind: Kind) -> float:
        return self.mask.area_px if kind == "segm" and self.mask is not None else self.box.area_px


def _by_pair(rows: Sequence[_Row], kind: Kind) -> dict[tuple[int, int], list[_Row]]:
    """Rows by image and class, in COCO's order; a row without a mask is none for masks."""
    pairs: defaultdict[tuple[int, int], list[_Row]] = defaultdict(list)
    for row in rows:
        if kind == "bbox" or row.mask is not None:
            pairs[row.image_id, row.class_id].append(row)
    return {pair: sorted(members, key=lambda row: -row.score) for pair, members in pairs.items()}


def _matched(
    pair: tuple[int, int], ious: Sequence[Any], found: Sequence[_Row], truth: Sequence[_Row], kind: Kind
) -> Matched:
    return matched(
        (pair[0] - 1, pair[1] - 1),
        np.array([row.score for row in found], dtype=np.float64),
        np.array(ious, dtype=np.float64).reshape(len(found), len(truth)) if found and truth else np.zeros((0, 0)),
        np.array([row.area_px(kind) for row in found], dtype=np.float64),
        np.array([row.area_px("segm") for row in truth], dtype=np.float64),
    )


def _coco(rows: Sequence[_Row], kind: Kind, *, areas_of: Kind) -> list[dict[str, Any]]:
    """COCO's annotations or results; ids count from 1 because 0 means "unmatched" there."""
    table = []
    for number, row in enumerate(rows, start=1):
        if kind == "segm" and row.mask is None:
            continue
        shape: dict[str, Any] = {"bbox": [row.box.x1, row.box.y1, row.box.width, row.box.height]}
        if kind == "segm" and row.mask is not None:
            shape = {"segmentation": row.mask.rle}
        keys = {"id": number, "image_id": row.image_id, "category_id": row.class_id}
        table.append({**keys, **shape, "area": row.area_px(areas_of), "iscrowd": 0, "score": row.score})
    return table


def _figures(precision: npt.NDArray[np.float64] | None, classes: slice) -> tuple[float | None, float | None]:
    """AP at IoU 0.50, and its mean over 0.50:0.05:0.95, over the given columns that have truth."""
    if precision is None:
        return None, None
    chosen = precision[:, :, classes]
    return _mean(chosen[0]), _mean(chosen)


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
