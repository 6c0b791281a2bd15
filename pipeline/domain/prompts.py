"""What detectors propose, what segmenters are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.errors import BackendRejected, DataError, ShapeMismatch

__all__ = ["Encoding", "Logits", "MaskPrediction", "Prompt", "Proposal"]

Logits = npt.NDArray[np.float32]
"""`float32 (h', w')`: low-resolution mask logits of a segmenter; > 0 is object."""


@dataclass(frozen=True)
class Proposal:
    """A detector's guess at one object.

    `class_probs` is `float64 (k,)` over the project's classes in their order, each in [0, 1] (YOLO's
    sigmoid scores: they need not add up to 1), or None. `mask` is the detector's own, if it makes masks.
    """

    box: Box
    label: str
    confidence: float
    class_probs: tuple[float, ...] | None = None
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise DataError(f"confidence {self.confidence} is not in [0, 1]")


@dataclass(frozen=True)
class Prompt:
    """What is said about ONE object: at least one of a box, points, a prior or a text.

    `points_xy` are (x, y) pixels; `point_labels` has one True (on the object) or False (off it) for each.
    `prior` is the last answer's logits, or any existing mask of the image. `label` is the class of the object,
    where it is known; it comes back with the mask and changes nothing else.
    """

    box: Box | None = None
    points_xy: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[bool, ...] = ()
    prior: Logits | Mask | None = None
    text: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if len(self.points_xy) != len(self.point_labels):
            raise ShapeMismatch(f"{len(self.points_xy)} points with {len(self.point_labels)} labels")
        if self.box is None and not self.points_xy and self.prior is None and not self.text:
            raise DataError("an empty prompt: give a box, a point, a prior mask or a text")
        if self.box is not None:
            self.box.checked()
        if not np.isfinite(np.asarray(self.points_xy, dtype=np.float64)).all():
            raise DataError("a point is not finite")
        if isinstance(self.prior, np.ndarray) and (self.prior.ndim != 2 or not np.isfinite(self.prior).all()):
            raise ShapeMismatch(
                f"prior logits must be finite and of two dimensions, not {self.prior.shape}: give back what this "
                "segmenter answered, or give the mask as the prior"
            )

    @property
    def is_ambiguous(self) -> bool:
        """One positive point and nothing else: it may mean a part, an object or a group (Kirillov et al., "Segment
        Anything", ICCV 2023), so that several candidates are worth having."""
        return self.box is None and self.prior is None and not self.text and self.point_labels == (True,)

    def wants_several(self, multimask: bool | None) -> bool:
        """Whether several candidates are asked for; None leaves it to what the prompt is."""
        return self.is_ambiguous if multimask is None else multimask

    def checked(self, size_hw: SizeHW) -> Prompt:
        """The prompt with its box clipped to the image. Raises DataError for points or boxes outside it,
        ShapeMismatch for a prior mask of another size."""
        height, width = size_hw
        for x, y in self.points_xy:
            if not (0 <= x <= width and 0 <= y <= height):
                raise DataError(f"point ({x:g}, {y:g}) lies outside the image of height x width {size_hw}")
        if isinstance(self.prior, Mask) and self.prior.size_hw != size_hw:
            raise ShapeMismatch(f"prior mask is {self.prior.size_hw}, the image is {size_hw}")
        box = self.box.checked(size_hw) if self.box is not None else None
        return replace(self, box=box)


@dataclass(frozen=True)
class MaskPrediction:
    """A segmenter's answer to one prompt: the mask at the image's own size.

    `predicted_iou` and `stability` lie in [0, 1]; an empty mask means "no mask here". `logits` can be
    given back as the prior of the next prompt, None where the segmenter has none. `label` is the prompt's.
    """

    mask: Mask
    predicted_iou: float
    stability: float
    logits: Logits | None = None
    label: str | None = None


@dataclass(frozen=True)
class Encoding:
    """An image as a segmenter remembers it: named arrays, and the fingerprint of what made them.

    `fingerprint` names the segmenter kind, weights digest and preprocessing. A segmenter decodes only
    encodings of its own fingerprint.
    """

    arrays: Mapping[str, npt.NDArray[np.generic]]
    size_hw: SizeHW
    fingerprint: str

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def require(self, fingerprint: str, *, backend: str) -> None:
        """Raises BackendRejected if another segmenter than `backend`, whose fingerprint this is, made the encoding."""
        if self.fingerprint != fingerprint:
            raise BackendRejected(
                f"the encoding was made by {self.fingerprint!r}: encode the image with this segmenter",
                backend=backend,
                operation="decode",
            )
