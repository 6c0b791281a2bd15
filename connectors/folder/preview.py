"""The image with what the machine found in it: tinted objects, outlines, names."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pipeline.domain.drawing import Colour, Rings, covered, outline, rings_at, scaled
from pipeline.domain.geometry import Box, Image
from pipeline.domain.records import Instance

__all__ = ["draw_preview"]

_SIDE_PX = (800, 1600)
"""The longer side of a preview: small images are enlarged so that names can be read, large ones reduced."""
_TEXT_PX = 15
_TINT = 0.25
_GOLDEN_RATIO = 0.61803398875


def draw_preview(image: Image, instances: Sequence[Instance], classes: Sequence[str]) -> Image:
    """`uint8 (h, w, 3)`, the image scaled to a side that suits a screen, one colour a class.

    An instance without a mask is drawn as a box, with a question mark behind its name.
    """
    longest = max(image.shape[:2])
    scale = float(np.clip(longest, *_SIDE_PX)) / longest
    canvas = scaled(image, scale)
    colours = [_colour(classes.index(instance.label)) for instance in instances]
    pictured = [(_rings(instance, scale), colour) for instance, colour in zip(instances, colours, strict=True)]
    for rings, colour in pictured:
        tint = covered(canvas, rings)[..., None] * _TINT
        canvas = np.rint(canvas * (1 - tint) + np.array(colour, dtype=np.float32) * tint).astype(np.uint8)
    for rings, colour in pictured:
        outline(canvas, rings, [((0, 0, 0), 4), (colour, 2)])
    return _named(canvas, instances, colours, scale)


def _colour(index: int) -> Colour:
    """Hues a golden section apart: neighbours differ, however many classes there are."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + index * _GOLDEN_RATIO) % 1, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _ink(plate: Colour) -> Colour:
    """Black or white, whichever can be read on the plate (luma of ITU-R BT.601)."""
    return (0, 0, 0) if np.dot(plate, (0.299, 0.587, 0.114)) > 128 else (255, 255, 255)


def _rings(instance: Instance, scale: float) -> Rings:
    mask = instance.mask
    return rings_at(mask if mask is not None and mask.area_px else instance.box, scale)


def _named(canvas: Image, instances: Sequence[Instance], colours: Sequence[Colour], scale: float) -> Image:
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
