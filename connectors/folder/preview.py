"""The image with what the machine found in it: tinted objects, outlines, names."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pipeline.domain.contours import trace
from pipeline.domain.geometry import Box, Image
from pipeline.domain.records import Instance

__all__ = ["draw_preview"]

_SIDE_PX = (800, 1600)
"""The longer side of a preview: small images are enlarged so that names can be read, large ones reduced."""
_TEXT_PX = 15
_TINT = 0.25
_SHIFT = 4
"""OpenCV draws with this many binary places after the point."""
_GOLDEN_RATIO = 0.61803398875

_Colour = tuple[int, int, int]


def draw_preview(image: Image, instances: Sequence[Instance], classes: Sequence[str]) -> Image:
    """`uint8 (h, w, 3)`, the image scaled to a side that suits a screen, one colour a class.

    An instance without a mask is drawn as a box, with a question mark behind its name.
    """
    longest = max(image.shape[:2])
    scale = float(np.clip(longest, *_SIDE_PX)) / longest
    enlarged = cv2.INTER_NEAREST if scale >= 4 else cv2.INTER_CUBIC
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    canvas = cv2.resize(image, size_wh, interpolation=enlarged if scale > 1 else cv2.INTER_AREA)
    colours = [_colour(classes.index(instance.label)) for instance in instances]
    pictured = [(_rings(instance, scale), colour) for instance, colour in zip(instances, colours, strict=True)]
    tinted = canvas.copy()
    for rings, colour in pictured:
        cv2.fillPoly(tinted, rings, colour, cv2.LINE_AA, _SHIFT)  # even-odd: holes stay clear
    canvas = cv2.addWeighted(tinted, _TINT, canvas, 1 - _TINT, 0)
    for rings, colour in pictured:
        cv2.polylines(canvas, rings, True, (0, 0, 0), 4, cv2.LINE_AA, _SHIFT)
        cv2.polylines(canvas, rings, True, colour, 2, cv2.LINE_AA, _SHIFT)
    return _named(np.ascontiguousarray(canvas, dtype=np.uint8), instances, colours, scale)


def _colour(index: int) -> _Colour:
    """Hues a golden section apart: neighbours differ, however many classes there are."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + index * _GOLDEN_RATIO) % 1, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _ink(plate: _Colour) -> _Colour:
    """Black or white, whichever can be read on the plate (luma of ITU-R BT.601)."""
    return (0, 0, 0) if np.dot(plate, (0.299, 0.587, 0.114)) > 128 else (255, 255, 255)


def _rings(instance: Instance, scale: float) -> list[npt.NDArray[np.int32]]:
    """Outer rings and holes in OpenCV's fixed-point pixels of the scaled image, centres at whole numbers."""
    if instance.mask is None or instance.mask.area_px == 0:
        box = instance.box
        rings = [np.array([[box.x1, box.y1], [box.x2, box.y1], [box.x2, box.y2], [box.x1, box.y2]])]
    else:
        top_left, crop = instance.mask.crop()
        outline = trace(crop)
        rings = [ring + top_left for ring in (*outline.outer, *outline.holes)]
    return [np.rint((ring * scale - 0.5) * 2**_SHIFT).astype(np.int32) for ring in rings]


def _named(canvas: Image, instances: Sequence[Instance], colours: Sequence[_Colour], scale: float) -> Image:
    """Names and confidences on small plates above the objects, inside the picture."""
    picture = Pillow.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(_TEXT_PX)
    for instance, colour in zip(instances, colours, strict=True):
        text = instance.label if instance.mask is not None else f"{instance.label} ?"
        if instance.confidence is not None:
            text += f"  {instance.confidence:.2f}"
        left, top = _corner(instance.box, scale)
        extent = pen.textbbox((0, 0), text, font=font)
        width, height = extent[2] + 8, _TEXT_PX + 6
        x = min(max(left, 0), max(0, picture.width - width))
        y = top - height if top >= height else max(top, 0)
        pen.rectangle((x, y, x + width, y + height), fill=colour)
        pen.text((x + 4, y + 1), text, fill=_ink(colour), font=font)
    return np.ascontiguousarray(np.asarray(picture), dtype=np.uint8)


def _corner(box: Box, scale: float) -> tuple[int, int]:
    return round(box.x1 * scale), round(box.y1 * scale)
