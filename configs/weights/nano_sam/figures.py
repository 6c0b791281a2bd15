"""What a segmenter can do on scenes that no training saw, asked through the port as the loop asks it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np
import numpy.typing as npt

from pipeline.domain.clicks import Click, next_click
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.ports import Segmenter
from pipeline.scenes import SceneSpec, scene_at

CLICKS = 3


@dataclass
class _Tally:
    """True IoUs by what was asked, and (predicted, true) of every first answer."""

    ious: dict[str, list[float]] = field(default_factory=dict)
    pairs: list[tuple[float, float]] = field(default_factory=list)

    def first(self, asked: str, answer: MaskPrediction, truth: Bitmap) -> None:
        self.later(asked, answer, truth)
        self.pairs.append((answer.predicted_iou, self.ious[asked][-1]))

    def later(self, asked: str, answer: MaskPrediction, truth: Bitmap) -> None:
        self.ious.setdefault(asked, []).append(iou(answer.mask.bitmap(), truth))


def measure(segmenter: Segmenter, spec: SceneSpec, *, objects: int, seed: int) -> dict[str, float]:
    """Mean IoUs from a box, from one point, and after three more clicks from either; and how well predicted IoUs rank.

    The point, and each click, is the one of `pipeline.domain.clicks`; a refinement is told all clicks, the box and the
    last logits. One point has several candidates: the best by predicted IoU counts, `point_best` is the best in truth.
    `spearman` is the rank correlation of predicted and true IoU over the answers to boxes and points.
    """
    tally = _Tally()
    for encoding, truth in islice(_objects(segmenter, spec, seed), objects):
        _ask(segmenter, encoding, truth, tally)
    means = {asked: float(np.mean(ious)) for asked, ious in tally.ious.items()}
    return means | {"spearman": spearman(*np.array(tally.pairs).T), "objects": objects}


def _objects(segmenter: Segmenter, spec: SceneSpec, seed: int) -> Iterator[tuple[Encoding, Bitmap]]:
    """Scene by scene without end."""
    for number in count():
        image, things = scene_at(spec, seed, number)
        [encoding] = segmenter.encode([image])
        for thing in things:
            yield encoding, thing.visible


def _ask(segmenter: Segmenter, encoding: Encoding, truth: Bitmap, tally: _Tally) -> None:
    box = Mask.from_bitmap(truth).box
    [[from_box]] = segmenter.decode(encoding, [Prompt(box=box)])
    tally.first("box", from_box, truth)
    tally.later("box_3_clicks", _refined(segmenter, encoding, Prompt(box=box), from_box, truth), truth)
    click = next_click(np.zeros_like(truth), truth)
    if click is None:
        raise ValueError("an object of no pixels")
    point = _with(Prompt(box=box), click, None, box=False)
    [candidates] = segmenter.decode(encoding, [point])
    tally.first("point", candidates[0], truth)
    tally.later("point_best", max(candidates, key=lambda one: iou(one.mask.bitmap(), truth)), truth)
    tally.later("point_3_clicks", _refined(segmenter, encoding, point, candidates[0], truth), truth)


def _refined(
    segmenter: Segmenter, encoding: Encoding, prompt: Prompt, answer: MaskPrediction, truth: Bitmap
) -> MaskPrediction:
    """The answer after three more clicks, fewer where nothing is wrong any more."""
    for _ in range(CLICKS):
        click = next_click(answer.mask.bitmap(), truth)
        if click is None:
            break
        prompt = _with(prompt, click, answer.logits)
        [[answer]] = segmenter.decode(encoding, [prompt], multimask=False)
    return answer


def _with(prompt: Prompt, click: Click, prior: Logits | None, *, box: bool = True) -> Prompt:
    return Prompt(
        box=prompt.box if box else None,
        points_xy=(*prompt.points_xy, click.point_xy),
        point_labels=(*prompt.point_labels, click.positive),
        prior=prior,
    )


def iou(one: Bitmap, other: Bitmap) -> float:
    """1 for two empty masks."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """The correlation of ranks; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
