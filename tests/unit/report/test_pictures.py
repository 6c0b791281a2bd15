"""Thumbnails: what is drawn where, their size, their budget."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.errors import ImageUnreadable
from pipeline.report.pictures import Album, Outline, Picture, colour_of

SIZE_HW = (120, 200)
RED = "#ff0000"


def grey(_: str) -> Image:
    return np.full((*SIZE_HW, 3), 128, dtype=np.uint8)


def mask(top: int, left: int, bottom: int, right: int, size_hw: tuple[int, int] = SIZE_HW) -> Mask:
    bitmap = np.zeros(size_hw, dtype=np.bool_)
    bitmap[top:bottom, left:right] = True
    return Mask.from_bitmap(bitmap)


def pixels(picture: Picture) -> npt.NDArray[np.int64]:
    head, _, body = picture.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    found = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(body))).convert("RGB"), dtype=np.int64)
    assert found.shape == (picture.height, picture.width, 3)
    return found


def redness(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return found[..., 0] - found[..., 2]


def test_a_scene_is_300_px_at_its_longer_side_and_tinted_where_the_mask_is() -> None:
    found = pixels(Album(grey, budget=10**6).scene("a", [Outline(mask(40, 60, 80, 120), RED)]))
    assert found.shape[:2] == (180, 300)
    red = redness(found)
    assert red[90, 135] > 30
    assert abs(red[20, 20]) < 10
    assert red[58:62, 88:180].max() > 100, "its outline is brighter than what it holds"


def test_a_hole_stays_open() -> None:
    ring = np.zeros(SIZE_HW, dtype=np.bool_)
    ring[20:100, 60:140] = True
    ring[40:80, 80:120] = False
    red = redness(pixels(Album(grey, budget=10**6).scene("a", [Outline(Mask.from_bitmap(ring), RED)])))
    assert abs(red[90, 150]) < 10
    assert red[45, 150] > 30


@pytest.mark.parametrize(
    "box", [Box(60, 40, 80, 50), Box(0, 0, 10, 10), Box(190, 110, 200, 120), Box(0, 0, 200, 120)]
)
def test_a_close_up_is_a_square_inside_the_image_that_holds_the_box(box: Box) -> None:
    picture = Album(grey, budget=10**6).close_up("a", [Outline(Mask.from_box(box, SIZE_HW), RED)], box)
    ratio = picture.width / picture.height
    assert ratio == pytest.approx(SIZE_HW[1] / SIZE_HW[0] if box.width > SIZE_HW[0] else 1, abs=0.02)
    assert redness(pixels(picture)).max() > 100


def test_a_mask_of_one_pixel_can_be_seen_in_a_large_image() -> None:
    size_hw = (1500, 2000)
    album = Album(lambda _: np.full((*size_hw, 3), 128, dtype=np.uint8), budget=10**6)
    found = pixels(album.scene("a", [Outline(mask(700, 900, 701, 901, size_hw), RED)]))
    assert redness(found).max() > 40


def test_masks_of_another_image_are_not_drawn() -> None:
    album = Album(grey, budget=10**6)
    plain = album.scene("a", [])
    assert album.scene("a", [Outline(mask(0, 0, 5, 5, (60, 60)), RED), Outline(Mask.empty(SIZE_HW), RED)]) == plain


def test_the_same_image_and_masks_give_the_same_bytes() -> None:
    outlines = [Outline(mask(40, 60, 80, 120), colour_of(number)) for number in range(12)]
    first, second = (Album(grey, budget=10**6).scene("a", outlines) for _ in range(2))
    assert first == second


def test_when_the_budget_is_spent_the_page_says_so() -> None:
    album = Album(grey, budget=1)
    assert album.scene("a", []).uri
    left_out = album.scene("b", [])
    assert not left_out.uri
    assert "as many pictures as it may" in left_out.lacks


def test_an_image_that_cannot_be_read_says_why() -> None:
    def gone(sample_id: str) -> Image:
        raise ImageUnreadable("the file is gone", sample_id=sample_id)

    picture = Album(gone, budget=10**6).scene("a", [])
    assert (picture.uri, picture.lacks) == ("", "no picture: the file is gone")


def test_the_newest_image_is_read_once() -> None:
    read: list[str] = []

    def counted(sample_id: str) -> Image:
        read.append(sample_id)
        return grey(sample_id)

    album = Album(counted, budget=10**6)
    for sample_id in ("a", "a", "b", "b", "a"):
        album.close_up(sample_id, [], Box(0, 0, 10, 10))
    assert read == ["a", "b", "a"]
