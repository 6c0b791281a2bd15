"""The port over a network of SAM's structure: any number of prompts in few calls, answers in order, logits back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from connectors.promptable.enlarging import enlarged, enlarged_logits
from connectors.promptable.frame import Frame, Square
from connectors.promptable.network import Asked, Network
from connectors.ultralytics.faults import translated
from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.errors import BackendRejected

__all__ = ["PromptableSegmenter"]

Run = Callable[[npt.NDArray[np.float32]], tuple[npt.NDArray[np.float32], ...]]

_OFFSET = 1.0


class PromptableSegmenter:
    """Keeps the network and what it is called, nothing of any image. `run` is the network's encoder on its engine.

    `encode` raises BackendError if the network fails. `decode` raises BackendRejected for an encoding of another
    segmenter or a prompt with a text, DataError for a prompt that does not fit the image, ShapeMismatch for prior
    logits of another size.
    """

    storable = True

    def __init__(
        self, network: Network, run: Run, square: Square, *, name: str, fingerprint: str, batch: int
    ) -> None:
        self._network = network
        self._run = run
        self._square = square
        self._batch = batch
        self.name = name
        self.fingerprint = fingerprint

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """One image at a time: an encoding does not depend on its neighbours."""
        with translated(self.name, "encode"):
            return [self._encode(image) for image in images]

    def _encode(self, image: Image) -> Encoding:
        size_hw = (int(image.shape[0]), int(image.shape[1]))
        made = self._run(Frame(self._square, size_hw).pixels(image))
        arrays = {name: array[0] for name, array in zip(self._network.names, made, strict=True)}
        return Encoding(arrays, size_hw, self.fingerprint)

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """With several candidates the best predicted IoU comes first."""
        encoding.require(self.fingerprint, backend=self.name)
        checked = [prompt.checked(encoding.size_hw) for prompt in prompts]
        if any(prompt.text for prompt in checked):
            raise BackendRejected(
                "it understands boxes, points and priors, no text", backend=self.name, operation="decode"
            )
        arrays = {name: array.astype(np.float32, copy=False) for name, array in encoding.arrays.items()}
        frame = Frame(self._square, encoding.size_hw)
        answers: dict[int, list[MaskPrediction]] = {}
        for numbers, several in self._groups(checked, multimask):
            asked = _asked([checked[number] for number in numbers], frame)
            answers.update(zip(numbers, self._ask(arrays, asked, several, frame, mask_threshold), strict=True))
        return [answers[number] for number in range(len(prompts))]

    def enlarge(self, logits: Logits, size_hw: SizeHW) -> npt.NDArray[np.float32]:
        """Logits at the size of the image. Raises ShapeMismatch."""
        frame = Frame(self._square, size_hw)
        return enlarged_logits(frame.prior(logits), frame)

    def _groups(self, prompts: Sequence[Prompt], multimask: bool | None) -> Iterator[tuple[list[int], bool]]:
        """Numbers of prompts that can be asked together: as many points, a box or none, a prior or none, and one
        candidate or several."""
        groups: dict[tuple[int, bool, bool, bool], list[int]] = {}
        for number, prompt in enumerate(prompts):
            several = prompt.wants_several(multimask)
            shape = len(prompt.points_xy), prompt.box is not None, prompt.prior is not None, several
            groups.setdefault(shape, []).append(number)
        for (*_, several), group in groups.items():
            for start in range(0, len(group), self._batch):
                yield group[start : start + self._batch], several

    def _ask(
        self,
        arrays: Mapping[str, npt.NDArray[np.float32]],
        asked: Asked,
        several: bool,
        frame: Frame,
        mask_threshold: float,
    ) -> list[list[MaskPrediction]]:
        with translated(self.name, "decode"):
            told = self._network.decode(arrays, asked, multimask=several)
        answers = [
            [
                _prediction(logits, float(iou), frame, mask_threshold)
                for logits, iou in zip(candidates, ious, strict=True)
            ]
            for candidates, ious in zip(told.logits, told.ious, strict=True)
        ]
        return [sorted(entry, key=lambda prediction: -prediction.predicted_iou) for entry in answers]


def _asked(prompts: Sequence[Prompt], frame: Frame) -> Asked:
    """Prompts of one shape as the network wants them."""
    points = [[frame.point(*point) for point in prompt.points_xy] for prompt in prompts]
    labels = [prompt.point_labels for prompt in prompts]
    boxes = [frame.box(prompt.box) for prompt in prompts if prompt.box is not None]
    priors = [frame.prior(prompt.prior)[None] for prompt in prompts if prompt.prior is not None]
    return Asked(
        np.array(points, dtype=np.float32) if points[0] else None,
        np.array(labels, dtype=np.float32) if points[0] else None,
        np.array(boxes, dtype=np.float32) if boxes else None,
        np.stack(priors) if priors else None,
    )


def _prediction(logits: Logits, iou: float, frame: Frame, mask_threshold: float) -> MaskPrediction:
    """An empty mask has no quality: 0. Logits are the caller's own copy."""
    mask = enlarged(logits, frame, mask_threshold)
    logits = logits.copy()
    if mask.area_px == 0:
        return MaskPrediction(mask, 0.0, 0.0, logits)
    return MaskPrediction(mask, min(max(iou, 0.0), 1.0), _stability(logits, frame, mask_threshold), logits)


def _stability(logits: Logits, frame: Frame, mask_threshold: float) -> float:
    """SAM's score: the IoU of the masks at a threshold one higher and one lower, in low resolution."""
    height, width = frame.low_content_hw
    shown = logits[:height, :width] - mask_threshold
    wide = int((shown > -_OFFSET).sum())
    return int((shown > _OFFSET).sum()) / wide if wide else 0.0
