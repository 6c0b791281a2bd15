"""Ellipses in boxes, discs at clicks: looks at no pixel. A baseline, and a segmenter for dry runs.

- A box gives the ellipse inscribed in it: pi / 4 of its area, which is its IoU with an object that fills the box.
- A prior mask is kept as it is, whatever box comes with it.
- Points alone give a disc around each positive one.
- A point that contradicts the shape so far adds or removes a disc. People click the middle of an error, so the
  disc reaches from the click to the shape's edge: that much is surely wrong. No disc covers a click of the other
  kind, so every clicked pixel ends on its right side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, ShapeMismatch
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}

_FINGERPRINT = "ellipse/1"
_SCALES = (1.0, 0.8, 1.25)
_BOX_QUALITY = math.pi / 4
_POINT_QUALITY = 0.5
_LOGITS_SIDE = 256


class Settings(BaseModel):
    """How far clicks reach.

    A corrected disc has `reach` times the radius from the click to the shape's edge, but at most `widest` times
    the shape's own (that of the disc of equal area). A point alone gives a disc whose radius is `point_radius` of
    the image's shorter side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach: Annotated[float, Field(gt=0, le=4)] = 1.2
    widest: Annotated[float, Field(gt=0, le=4)] = 1.0
    point_radius: Annotated[float, Field(gt=0, le=1)] = 0.1


class _Pin(NamedTuple):
    """The pixel under a click, and what it is said to be."""

    x: int
    y: int
    positive: bool


class _Shape(NamedTuple):
    """`bitmap` is the image's window whose first pixel is at (row top, column left); nothing lies outside it."""

    left: int
    top: int
    bitmap: Bitmap


def build(settings: Settings, _resources: Resources) -> Segmenter:
    return _Ellipse(settings)


class _Ellipse:
    """Keeps nothing but its settings."""

    fingerprint = _FINGERPRINT
    storable = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        digest = hashlib.sha256(f"1 {settings.model_dump_json()}".encode()).hexdigest()
        self.name = f"ellipse-{digest[:12]}"

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Of an image, only its size counts."""
        return [
            Encoding({"size_hw": np.array(image.shape[:2])}, (image.shape[0], image.shape[1]), _FINGERPRINT)
            for image in images
        ]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """One candidate, or three: the shape itself, a smaller and a larger one.

        `predicted_iou` is no estimate of a network: pi / 4 for a box, 1/2 for points alone, the IoU with the
        prior where there is one; candidates of another scale have it times their IoU with the shape itself.
        `stability` is that of SAM with its logits in pixels: the IoU of the shape shrunk by a pixel and the shape
        grown by one. An empty mask has neither (0). `logits` are the signed distance to the edge, positive
        inside, in pixels of the image, on a grid of at most 256 a side; so `mask_threshold` moves the edge inwards
        by as many pixels, whatever is clicked.

        Raises BackendRejected for an encoding of another segmenter or a prompt with a text, DataError for a
        prompt that does not fit the image, ShapeMismatch for prior logits that are not its own.
        """
        encoding.require(_FINGERPRINT, backend=self.name)
        size_hw = encoding.size_hw
        return [
            self._one(
                prompt.checked(size_hw),
                size_hw,
                _SCALES if prompt.wants_several(multimask) else _SCALES[:1],
                mask_threshold,
            )
            for prompt in prompts
        ]

    def _one(
        self, prompt: Prompt, size_hw: SizeHW, scales: Sequence[float], mask_threshold: float
    ) -> list[MaskPrediction]:
        if prompt.text:
            raise BackendRejected(
                "it understands boxes, points and prior masks, no text", backend=self.name, operation="decode"
            )
        prior, clicks = _prior(prompt.prior, size_hw), _pins(prompt, size_hw)
        answers: list[MaskPrediction] = []
        for scale in scales:
            drawn = self._corrected(self._start(prompt.box, clicks, prior, size_hw, scale), clicks, size_hw)
            shape = _moved_inwards(drawn, mask_threshold, size_hw)
            mask = Mask.from_crop(shape.bitmap, shape.left, shape.top, size_hw)
            quality = _BOX_QUALITY if prompt.box is not None else _POINT_QUALITY
            if prior.area_px:
                quality = mask.iou(prior)
            if answers:
                quality *= mask.iou(answers[0].mask)
            if mask.area_px:
                answers.append(MaskPrediction(mask, quality, _stability(shape, size_hw), _logits(drawn, size_hw)))
            else:
                answers.append(MaskPrediction(mask, 0.0, 0.0, _logits(drawn, size_hw)))
        return sorted(answers, key=lambda answer: -answer.predicted_iou)

    def _start(
        self, box: Box | None, clicks: Sequence[_Pin], prior: Mask, size_hw: SizeHW, scale: float
    ) -> _Shape:
        """What the prompt says before any click contradicts it."""
        if prior.area_px:
            return _rescaled(prior, scale)
        if box is not None:
            return _ellipse(box, size_hw, scale)
        radius = scale * self._settings.point_radius * min(size_hw)
        return _with_discs(_NOTHING, [(pin, radius) for pin in clicks if pin.positive], size_hw)

    def _corrected(self, shape: _Shape, clicks: Sequence[_Pin], size_hw: SizeHW) -> _Shape:
        """The shape with a disc for every click that contradicts it."""
        wrong = [pin for pin in clicks if _holds(shape, pin) != pin.positive]
        if not wrong:
            return shape
        framed = _framed(shape, wrong, 0.0, size_hw)
        distance = np.abs(_signed_distance(framed.bitmap))
        widest = self._settings.widest * math.sqrt(float(shape.bitmap.sum()) / math.pi)
        discs = []
        for pin in wrong:
            depth = float(distance[pin.y - framed.top, pin.x - framed.left])
            others = [math.dist(pin[:2], other[:2]) for other in clicks if other.positive != pin.positive]
            # Half a pixel less than the way to a click of the other kind leaves that pixel alone.
            allowed = min(widest, *(gap - 0.5 for gap in others)) if others else widest
            discs.append((pin, min(self._settings.reach * depth, allowed)))
        return _with_discs(shape, discs, size_hw)


_NOTHING = _Shape(0, 0, np.zeros((0, 0), dtype=np.bool_))


def _pins(prompt: Prompt, size_hw: SizeHW) -> list[_Pin]:
    """The clicked pixels; of two clicks on one pixel the later counts, the far border is the last pixel's."""
    height, width = size_hw
    said = {
        (min(int(x), width - 1), min(int(y), height - 1)): positive
        for (x, y), positive in zip(prompt.points_xy, prompt.point_labels, strict=True)
    }
    return [_Pin(x, y, positive) for (x, y), positive in said.items()]


def _prior(prior: Logits | Mask | None, size_hw: SizeHW) -> Mask:
    """As a mask of the image's size; no prior is an empty one."""
    if prior is None:
        return Mask.empty(size_hw)
    if isinstance(prior, Mask):
        return prior
    wanted = _logits_hw(size_hw)
    if prior.shape != wanted or not np.isfinite(prior).all():
        raise ShapeMismatch(
            f"prior logits must be finite and of shape {wanted}, as they come with an answer, not {prior.shape}: "
            "a mask from elsewhere is given as a mask"
        )
    scaled = cv2.resize(prior.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return Mask.from_bitmap(scaled > 0)


def _rescaled(prior: Mask, scale: float) -> _Shape:
    """The prior, its edge moved as far as the edge of a disc of its area would at this scale."""
    (left, top), crop = prior.crop()
    shape = _Shape(int(left), int(top), crop)
    if scale == 1.0:
        return shape
    move = (scale - 1.0) * math.sqrt(prior.area_px / math.pi)
    framed = _framed(shape, (), max(move, 0.0), prior.size_hw)
    return framed._replace(bitmap=_signed_distance(framed.bitmap) > -move)


def _ellipse(box: Box, size_hw: SizeHW, scale: float) -> _Shape:
    """The pixels whose centre lies in the ellipse; at least the one under the box's middle."""
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    half_w, half_h = scale * box.width / 2, scale * box.height / 2
    inside = Box(x - half_w, y - half_h, x + half_w, y + half_h).clipped(size_hw)
    left, top, right, bottom = (
        *(math.floor(value) for value in inside[:2]),
        *(math.ceil(value) for value in inside[2:]),
    )
    rows, columns = np.ogrid[top:bottom, left:right]
    bitmap: Bitmap = ((columns + 0.5 - x) / half_w) ** 2 + ((rows + 0.5 - y) / half_h) ** 2 <= 1
    bitmap[min(int(y), bottom - 1) - top, min(int(x), right - 1) - left] = True
    return _Shape(left, top, bitmap)


def _with_discs(shape: _Shape, discs: Sequence[tuple[_Pin, float]], size_hw: SizeHW) -> _Shape:
    """The shape after each disc has been added (positive) or removed; a disc holds its own pixel at least."""
    for pin, radius in discs:
        shape = _framed(shape, [pin], radius, size_hw) if pin.positive else shape
        rows, columns = np.ogrid[: shape.bitmap.shape[0], : shape.bitmap.shape[1]]
        disc = (columns + shape.left - pin.x) ** 2 + (rows + shape.top - pin.y) ** 2 <= max(radius, 0.0) ** 2
        shape = shape._replace(bitmap=shape.bitmap | disc if pin.positive else shape.bitmap & ~disc)
    return shape


def _holds(shape: _Shape, pin: _Pin) -> bool:
    row, column = pin.y - shape.top, pin.x - shape.left
    height, width = shape.bitmap.shape
    return 0 <= row < height and 0 <= column < width and bool(shape.bitmap[row, column])


def _framed(shape: _Shape, pins: Sequence[_Pin], margin_px: float, size_hw: SizeHW) -> _Shape:
    """The same pixels in a window that holds the pins too, and `margin_px` more on each side inside the image."""
    height, width = shape.bitmap.shape
    corners = [(pin.x, pin.y, pin.x + 1, pin.y + 1) for pin in pins]
    if shape.bitmap.size:
        corners.append((shape.left, shape.top, shape.left + width, shape.top + height))
    lefts, tops, rights, bottoms = zip(*corners, strict=True)
    more = math.ceil(margin_px)
    left, top = max(0, min(lefts) - more), max(0, min(tops) - more)
    right, bottom = min(size_hw[1], max(rights) + more), min(size_hw[0], max(bottoms) + more)
    bitmap = np.zeros((bottom - top, right - left), dtype=np.bool_)
    row, column = shape.top - top, shape.left - left
    if shape.bitmap.size:
        bitmap[row : row + height, column : column + width] = shape.bitmap
    return _Shape(left, top, bitmap)


def _signed_distance(bitmap: Bitmap) -> npt.NDArray[np.float32]:
    """Pixels from each pixel's centre to the object's edge, positive inside; the bitmap's border is an edge."""
    if not bitmap.any():
        return np.full(bitmap.shape, -float(sum(bitmap.shape)), dtype=np.float32)
    framed = np.pad(bitmap.astype(np.uint8), 1)
    inside, outside = (
        cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        for side in (framed, 1 - framed)
    )
    # Squares of distances are whole numbers; OpenCV's roots of them differ in the last digit from call to call.
    distance = np.sqrt(np.rint(np.square(np.where(bitmap, inside, outside)))) - 0.5
    return np.where(bitmap, distance, -distance).astype(np.float32)


def _stability(shape: _Shape, size_hw: SizeHW) -> float:
    distance = _signed_distance(_framed(shape, (), 2.0, size_hw).bitmap)
    return float((distance > 1).sum() / (distance > -1).sum())


def _moved_inwards(shape: _Shape, pixels: float, size_hw: SizeHW) -> _Shape:
    """The shape, its edge moved inwards by so many pixels, or outwards by as many under zero."""
    if pixels == 0.0 or not shape.bitmap.size:
        return shape
    framed = _framed(shape, (), max(-pixels, 0.0) + 1.0, size_hw)
    return framed._replace(bitmap=_signed_distance(framed.bitmap) > pixels)


def _logits(shape: _Shape, size_hw: SizeHW) -> Logits:
    mask = Mask.from_crop(shape.bitmap, shape.left, shape.top, size_hw)
    share = cv2.resize(mask.bitmap().astype(np.float32), _logits_hw(size_hw)[::-1], interpolation=cv2.INTER_AREA)
    return _signed_distance(share >= 0.5) / np.float32(_logits_scale(size_hw))


def _logits_hw(size_hw: SizeHW) -> SizeHW:
    scale = _logits_scale(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _logits_scale(size_hw: SizeHW) -> float:
    return min(1.0, _LOGITS_SIDE / max(size_hw))
