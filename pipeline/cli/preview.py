"""A picture of what was asked and what came back: image, mask, prompt and score, for a person to look at."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pipeline.domain.drawing import covered, outline, rings_at, scaled
from pipeline.domain.geometry import Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Prompt

__all__ = ["picture"]

_SIDE_PX = (640, 1600)
"""The longer side: small images are enlarged, large ones reduced."""
_STRIP_PX, _TEXT_PX, _MARGIN_PX = 40, 16, 12
_INK, _PAPER = (236, 239, 244), (28, 31, 38)
_OBJECT, _EDGE, _SHADE, _BOX = (45, 125, 255), (255, 255, 255), (10, 30, 70), (255, 202, 58)
_SIGNS = {True: (46, 204, 113), False: (231, 60, 60)}
_TINT, _DIMMED = 0.45, 0.75


def picture(image: Image, mask: Mask, prompt: Prompt, caption: str) -> Image:
    """`uint8 (h, w, 3)`: the object is tinted and outlined, what is around it a little darker; points on the object
    are green with a plus, points off it red with a minus; `caption` stands in a strip below."""
    longest = max(image.shape[:2])
    scale = float(np.clip(longest, *_SIDE_PX)) / longest
    canvas = _tinted(image, mask, scale)
    if prompt.box is not None:
        x1, y1, x2, y2 = (round(value * scale) for value in prompt.box)
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), _BOX, 2, cv2.LINE_AA)
    for (x, y), positive in zip(prompt.points_xy, prompt.point_labels, strict=True):
        _click(canvas, round(x * scale), round(y * scale), positive=positive)
    return _captioned(canvas, caption)


def _tinted(image: Image, mask: Mask, scale: float) -> Image:
    canvas, rings = scaled(image, scale), rings_at(mask, scale)
    share = covered(canvas, rings)[..., None]
    tinted = canvas * (1 - _TINT) + np.array(_OBJECT, dtype=np.float32) * _TINT
    mixed = canvas * _DIMMED * (1 - share) + tinted * share
    canvas = np.ascontiguousarray(mixed.clip(0, 255).astype(np.uint8))
    outline(canvas, rings, [(_SHADE, 4), (_EDGE, 2)])
    return canvas


def _click(canvas: Image, x: int, y: int, *, positive: bool) -> None:
    cv2.circle(canvas, (x, y), 10, _EDGE, -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), 8, _SIGNS[positive], -1, cv2.LINE_AA)
    cv2.line(canvas, (x - 4, y), (x + 4, y), _EDGE, 2)
    if positive:
        cv2.line(canvas, (x, y - 4), (x, y + 4), _EDGE, 2)


def _captioned(canvas: Image, caption: str) -> Image:
    height, width = canvas.shape[:2]
    drawn = Pillow.new("RGB", (width, height + _STRIP_PX), _PAPER)
    drawn.paste(Pillow.fromarray(canvas), (0, 0))
    room, wanted = width - 2 * _MARGIN_PX, ImageFont.load_default(_TEXT_PX).getlength(caption)
    font = ImageFont.load_default(_TEXT_PX * min(1.0, max(room, 1) / wanted))
    ImageDraw.Draw(drawn).text((_MARGIN_PX, height + _STRIP_PX / 2), caption, fill=_INK, font=font, anchor="lm")
    return np.asarray(drawn, dtype=np.uint8)
