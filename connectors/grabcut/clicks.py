"""Cuts that clicks ask for: near a click that contradicts a mask, or around clicks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from connectors.grabcut.region import (
    PROBABLY,
    PROBABLY_NOT,
    SURELY,
    SURELY_NOT,
    Pixels,
    Task,
    Trimap,
    Window,
    sample,
    spread,
)
from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Bitmap

__all__ = ["Pin", "near_clicks", "pinned", "pins", "similar_region"]

_REACH, _HARD, _LIKE = 2.5, 0.5, 0.8
_LEAST_REACH_PX = 5.0
_CLICK_SHARE = 0.5
_SAMPLES = 600
_CONTEXT_PX = 20.0
_SIDE = 192


class Pin(NamedTuple):
    """The pixel under a click, and what it is said to be."""

    x: int
    y: int
    positive: bool


class _Dispute(NamedTuple):
    """A pin on the wrong side of a mask, and how far the mask's edge is from it."""

    pin: Pin
    depth_px: float


def pins(points_xy: Sequence[tuple[float, float]], labels: Sequence[bool], size_hw: SizeHW) -> list[Pin]:
    """The pixels under the points; one on the far border of the image belongs to the last pixel."""
    height, width = size_hw
    return [
        Pin(min(int(x), width - 1), min(int(y), height - 1), label)
        for (x, y), label in zip(points_xy, labels, strict=True)
    ]


def pinned(trimap: Trimap, window: Window, clicks: Sequence[Pin]) -> Trimap:
    """`trimap` with every click inside the window made sure; the later of two clicks on one pixel counts."""
    sure = trimap.copy()
    for pin in clicks:
        x, y = pin.x - window.left, pin.y - window.top
        if 0 <= x < sure.shape[1] and 0 <= y < sure.shape[0]:
            sure[y, x] = SURELY if pin.positive else SURELY_NOT
    return sure


def near_clicks(image: Image, prior: Bitmap, clicks: Sequence[Pin]) -> Task | None:
    """Cut again where clicks contradict a non-empty `prior`; None if none does.

    A person clicks the middle of an error, so the distance d from the click to the mask's edge tells how big
    the error is. Within 2.5 d (at least 5 pixels) everything is open, within d / 2 the click decides, and the
    colours within 0.8 d count for the side that the click names.
    """
    disputes = _disputes(prior, clicks)
    if not disputes:
        return None
    reach = [max(_LEAST_REACH_PX, _REACH * dispute.depth_px) for dispute in disputes]
    free_box = _hull(disputes, reach)
    size_hw = (int(prior.shape[0]), int(prior.shape[1]))
    near = Window.around(free_box, _CONTEXT_PX, _CONTEXT_PX, size_hw)
    known = prior[near.slices]
    opened = _discs(near, disputes, reach)
    trimap = np.where(
        known, np.where(opened, PROBABLY, SURELY), np.where(opened, PROBABLY_NOT, SURELY_NOT)
    ).astype(np.uint8)
    for dispute in disputes:
        disc = _discs(near, [dispute], [_HARD * dispute.depth_px])
        trimap[disc] = SURELY if dispute.pin.positive else SURELY_NOT
    object_pixels, background_pixels = _colours(image, prior, near, opened, disputes)
    return Task(near, trimap, object_pixels, background_pixels)


def _disputes(prior: Bitmap, clicks: Sequence[Pin]) -> list[_Dispute]:
    wrong = [pin for pin in clicks if bool(prior[pin.y, pin.x]) != pin.positive]
    if not wrong:
        return []
    tight = spread(prior, 0.0)
    left, top = (min(tight[side], *(pin[side] for pin in wrong)) for side in (0, 1))
    right, bottom = (max(tight[side + 2], *(pin[side] + 1 for pin in wrong)) for side in (0, 1))
    known = np.pad(prior[top:bottom, left:right].astype(np.uint8), 1)
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_5) for side in (known, 1 - known))
    return [
        _Dispute(pin, float((outside if pin.positive else inside)[pin.y - top + 1, pin.x - left + 1]))
        for pin in wrong
    ]


def _hull(disputes: Sequence[_Dispute], reach: Sequence[float]) -> Box:
    """The box around all discs."""
    sides = [
        (pin.x - r, pin.y - r, pin.x + 1 + r, pin.y + 1 + r) for (pin, _), r in zip(disputes, reach, strict=True)
    ]
    left, top, right, bottom = zip(*sides, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def _discs(window: Window, disputes: Sequence[_Dispute], radii: Sequence[float]) -> Bitmap:
    """The pixels of the window whose centre lies within the radius of a dispute's pin."""
    y, x = np.ogrid[window.top : window.bottom, window.left : window.right]
    inside: Bitmap = np.zeros(window.size_hw, dtype=np.bool_)
    for (pin, _), radius in zip(disputes, radii, strict=True):
        inside |= (x - pin.x) ** 2 + (y - pin.y) ** 2 <= radius**2
    return inside


def _colours(
    image: Image, prior: Bitmap, near: Window, opened: Bitmap, disputes: Sequence[_Dispute]
) -> tuple[Pixels, Pixels]:
    """Pixels of the object and of the background, without those in dispute, with those under the clicks."""
    crop, known = image[near.slices], prior[near.slices]
    wide = spread(prior, 0.0)
    added = [dispute for dispute in disputes if dispute.pin.positive]
    removed = [dispute for dispute in disputes if not dispute.pin.positive]
    like_object, like_background = (
        _discs(near, some, [max(1.5, _LIKE * dispute.depth_px) for dispute in some]) for some in (added, removed)
    )
    doubted = np.zeros(prior.shape, dtype=np.bool_)
    doubted[near.slices] = opened if removed else like_background
    object_pixels = sample(image[wide.slices], (prior & ~doubted)[wide.slices], _SAMPLES)
    if not len(object_pixels):
        object_pixels = sample(crop, known & ~like_background, _SAMPLES)
    background = ~known & ~(opened if added else like_object)
    if not background.any():
        background = ~known & ~like_object
    return (
        _mixed(object_pixels, sample(crop, like_object, _SAMPLES)),
        _mixed(sample(crop, background, _SAMPLES), sample(crop, like_background, _SAMPLES)),
    )


def _mixed(usual: Pixels, clicked: Pixels) -> Pixels:
    """A sample in which the clicked pixels count half as much as all others together, however few they are."""
    return np.concatenate([_repeated(usual, _SAMPLES), _repeated(clicked, int(_CLICK_SHARE * _SAMPLES))])


def _repeated(pixels: Pixels, count: int) -> Pixels:
    """`count` pixels, evenly spaced, or repeated if there are fewer; none of none."""
    if not len(pixels):
        return pixels
    return pixels[(np.arange(count) * len(pixels) / count).astype(np.intp)]


def similar_region(image: Image, clicks: Sequence[Pin]) -> Bitmap:
    """What hangs together with the positive clicks by colour: a first guess, `bool (h, w)`, at the object.

    The colour distance that a pixel may have from the clicked colours grows step by step; taken is the last
    region before the one step at which the region grows most, as it does when it breaks through the object's
    edge. The clicks decide: a region never holds a negative one. Looked for at 192 pixels a side at most.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    small_hw = max(1, round(height * scale)), max(1, round(width * scale))
    small = cv2.resize(image, (small_hw[1], small_hw[0]), interpolation=cv2.INTER_AREA)
    # Noise would wall the clicked pixel in; this filter takes it away and leaves the edges.
    lab = cv2.bilateralFilter(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), 7, 30, 3).astype(np.float32)
    places = [
        (min(int(pin.y * scale), small_hw[0] - 1), min(int(pin.x * scale), small_hw[1] - 1), pin.positive)
        for pin in clicks
    ]
    distance = np.full(small_hw, np.inf, dtype=np.float32)
    for y, x, positive in places:
        if positive:
            distance = np.minimum(distance, np.linalg.norm(lab - lab[y, x], axis=2))
    region = _grown(distance, places)
    return cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(np.bool_)


def _grown(distance: npt.NDArray[np.float32], places: Sequence[tuple[int, int, bool]]) -> Bitmap:
    """The region before the greatest relative growth."""
    regions: list[Bitmap] = []
    for limit in range(6, 62, 4):
        _, labels = cv2.connectedComponents((distance <= limit).astype(np.uint8), connectivity=4)
        wanted = [labels[y, x] for y, x, positive in places if positive]
        region: Bitmap = np.isin(labels, wanted)
        if any(region[y, x] for y, x, positive in places if not positive) or region.mean() > 0.5:
            break
        regions.append(region)
    if not regions:
        seeds = np.zeros(distance.shape, dtype=np.bool_)
        for y, x, positive in places:
            seeds[y, x] |= positive
        return seeds
    areas = np.array([region.sum() for region in regions] + [distance.size], dtype=np.float64)
    steps = areas[1:] / (areas[:-1] + 25.0)
    return regions[int(np.argmax(steps))]
