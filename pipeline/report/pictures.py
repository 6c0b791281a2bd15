"""Small pictures for a page that must stand alone: images with masks drawn on them, as `data:` URIs.

The same image and masks give the same bytes. All pictures of a page share one budget of bytes; when it is spent,
the reason is told where a picture would be, as it is where an image cannot be read.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from pipeline.domain.drawing import covered, outline, rings_at, scaled
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.errors import DataError
from pipeline.events import Emit, silent

__all__ = ["AFTER", "BEFORE", "COLOURS", "Album", "Outline", "Picture", "colour_of"]

COLOURS = (
    "#ff7a1a",
    "#19b5fe",
    "#35c46a",
    "#f15bb5",
    "#ffd23f",
    "#9b7bff",
    "#00c2a8",
    "#ff5263",
    "#b5e61d",
    "#c78b5f",
)
"""One for each class, in turn: they stand out on photographs, and from each other."""

BEFORE, AFTER = "#ff9f1c", "#2ec4b6"
"""For two masks of one object."""

_SIDE_PX = 300
_QUALITY = 80
_TINT = 0.28
_SHADE = (20, 22, 26)
_MARGIN = 0.35


@dataclass(frozen=True)
class Outline:
    """A mask to draw, and its colour as `#rrggbb`."""

    mask: Mask
    colour: str


@dataclass(frozen=True)
class Picture:
    """A picture's `data:` URI and its size in pixels; without one (`uri` is ""), `lacks` says why."""

    uri: str
    width: int
    height: int
    lacks: str = ""


def colour_of(number: int) -> str:
    """The colour of a class, by its number."""
    return COLOURS[number % len(COLOURS)]


class Album:
    """Makes a page's pictures; `read` gives the image of a sample, `budget` is in bytes of the page. Tells
    `report.batch` of each.
    """

    def __init__(self, read: Callable[[str], Image], *, budget: int, emit: Emit = silent) -> None:
        self._emit = emit
        self._read = read
        self._left = budget
        self._open: tuple[str, Image] | None = None

    def scene(self, sample_id: str, outlines: Sequence[Outline]) -> Picture:
        """The whole image, 300 px at its longer side."""
        return self._taken(sample_id, outlines, None)

    def close_up(self, sample_id: str, outlines: Sequence[Outline], around: Box) -> Picture:
        """A square around a box, with some of what surrounds it, moved into the image where it would leave it."""
        return self._taken(sample_id, outlines, around)

    def _taken(self, sample_id: str, outlines: Sequence[Outline], around: Box | None) -> Picture:
        if self._left <= 0:
            return Picture("", 4, 3, "left out: this page holds as many pictures as it may")
        try:
            image = self._image(sample_id)
        except DataError as exc:
            return Picture("", 4, 3, f"no picture: {exc.reason}")
        window = _window(image, around)
        drawn = _drawn(image, [outline for outline in outlines if outline.mask.size_hw == image.shape[:2]], window)
        uri = _uri(drawn)
        self._left -= len(uri)
        self._emit("report.batch", done=1)
        return Picture(uri, drawn.shape[1], drawn.shape[0])

    def _image(self, sample_id: str) -> Image:
        """The newest one is kept: close-ups of one image come in a row."""
        if self._open is None or self._open[0] != sample_id:
            self._open = (sample_id, self._read(sample_id))
        return self._open[1]


def _window(image: Image, around: Box | None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in whole pixels."""
    height, width = image.shape[:2]
    if around is None:
        return 0, 0, width, height
    wanted = round(max(around.width, around.height, 8.0) * (1 + 2 * _MARGIN))
    across, down = min(wanted, width), min(wanted, height)
    left = round(min(max((around.x1 + around.x2 - across) / 2, 0), width - across))
    top = round(min(max((around.y1 + around.y2 - down) / 2, 0), height - down))
    return left, top, left + across, top + down


def _drawn(image: Image, outlines: Sequence[Outline], window: tuple[int, int, int, int]) -> Image:
    """The window of the image, enlarged or reduced, every mask tinted and outlined."""
    left, top, right, bottom = window
    scale = _SIDE_PX / max(right - left, bottom - top)
    canvas = scaled(image[top:bottom, left:right], scale)
    for one in outlines:
        red, green, blue = (int(one.colour[start : start + 2], 16) for start in (1, 3, 5))
        rings = rings_at(one.mask, scale, (left, top))
        share = covered(canvas, rings)[..., None] * np.float32(_TINT)
        canvas = (canvas * (1 - share) + np.array([red, green, blue], dtype=np.float32) * share).astype(np.uint8)
        outline(canvas, rings, [(_SHADE, 4), ((red, green, blue), 2)])
    return canvas


def _uri(image: Image) -> str:
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
