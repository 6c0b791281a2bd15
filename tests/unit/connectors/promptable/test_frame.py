"""The square that a network sees: SAM's own conventions."""

from __future__ import annotations

import numpy as np
import pytest

from connectors.promptable.frame import Frame, Square
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask

SQUARE = Square(side=1024, low_side=256)
STRETCHED = Square(side=64, low_side=16, stretch=True, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("size_hw", "content_hw"), [((480, 640), (768, 1024)), ((1, 5000), (1, 1024)), ((2, 2), (1024, 1024))]
)
def test_the_longest_side_fills_the_frame(size_hw: tuple[int, int], content_hw: tuple[int, int]) -> None:
    frame = Frame(SQUARE, size_hw)
    assert frame.content_hw == content_hw
    pixels = frame.pixels(np.full((*size_hw, 3), 255, dtype=np.uint8))
    assert pixels.shape == (1, 3, 1024, 1024)
    assert pixels.dtype == np.float32
    height, width = content_hw
    assert (pixels[0, :, :height, :width] > 2).all()
    assert not pixels[0, :, height:].any()
    assert not pixels[0, :, :, width:].any()


def test_pixels_are_named_by_index_and_boxes_by_their_sides() -> None:
    frame = Frame(SQUARE, (512, 256))
    assert frame.point(0.5, 0.5) == (0, 0)
    assert frame.point(100.5, 20.5) == (200, 40)
    assert frame.box(Box(0, 0, 256, 512)) == (0, 0, 512, 1024)


def test_a_mask_becomes_logits_where_the_image_lies() -> None:
    logits = Frame(SQUARE, (64, 128)).prior(Mask.from_box(Box(0, 0, 64, 64), (64, 128)))
    assert (logits[:128, :128] > 0).all()
    assert (logits[:128, 128:] < 0).all()
    assert (logits[128:] < 0).all(), "the padding is no object"


def test_a_stretched_image_fills_the_whole_square() -> None:
    frame = Frame(STRETCHED, (10, 40))
    assert frame.content_hw == (64, 64)
    assert frame.low_content_hw == (16, 16)
    assert (frame.pixels(np.full((10, 40, 3), 7, dtype=np.uint8)) == 7).all()
    assert frame.point(0.5, 0.5) == (0, 0)
    assert frame.box(Box(0, 0, 20, 5)) == (0, 0, 32, 32)
    assert Square(64, 16).name != STRETCHED.name
