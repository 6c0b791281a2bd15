from __future__ import annotations

import numpy as np
import pytest

from pipeline.domain.clicks import Click, next_click, progressive_merge
from pipeline.domain.mask import Bitmap
from pipeline.errors import ShapeMismatch


def drawn(*rows: str) -> Bitmap:
    return np.array([[character == "#" for character in row] for row in rows])


NOTHING = drawn(".....", ".....", ".....", ".....", ".....")
SQUARE = drawn(".....", ".###.", ".###.", ".###.", ".....")


def test_the_first_click_on_a_missing_square_is_its_centre() -> None:
    assert next_click(NOTHING, SQUARE) == Click(2, 2, positive=True)


def test_a_surplus_square_is_clicked_away_at_its_centre() -> None:
    assert next_click(SQUARE, NOTHING) == Click(2, 2, positive=False)


def test_no_error_asks_for_no_click() -> None:
    assert next_click(SQUARE, SQUARE) is None


def test_ignored_pixels_are_no_errors() -> None:
    assert next_click(NOTHING, SQUARE, ignore=SQUARE) is None


def test_the_border_of_the_image_is_a_border_of_the_error() -> None:
    everything = np.ones((5, 5), dtype=bool)
    assert next_click(np.zeros((5, 5), dtype=bool), everything) == Click(2, 2, positive=True)


def test_equally_deep_errors_are_clicked_away_before_they_are_added() -> None:
    truth, pred = drawn("##.."), drawn("..##")
    assert next_click(pred, truth) == Click(2, 0, positive=False)


def test_equally_deep_pixels_are_clicked_from_the_top_then_from_the_left() -> None:
    truth = drawn("...#", ".#.#", ".#..")
    assert next_click(np.zeros((3, 4), dtype=bool), truth) == Click(3, 0, positive=True)


def test_a_clicked_pixel_is_not_clicked_again() -> None:
    first = Click(2, 2, positive=True)
    second = next_click(NOTHING, SQUARE, clicked=[first])
    assert second == Click(1, 1, positive=True)


def test_a_point_is_the_centre_of_its_pixel() -> None:
    assert Click(3, 0, positive=True).point_xy == (3.5, 0.5)


def test_bitmaps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ShapeMismatch):
        next_click(NOTHING, SQUARE[:4])
    with pytest.raises(ShapeMismatch):
        next_click(NOTHING, SQUARE, ignore=SQUARE[:4])
    with pytest.raises(ShapeMismatch):
        progressive_merge(NOTHING, SQUARE[:4], Click(0, 0, positive=True))


def test_only_the_clicked_change_is_taken_over() -> None:
    previous = drawn("#....", "#....", "#....")
    prediction = drawn("#.##.", "#.##.", ".....")
    merged = progressive_merge(previous, prediction, Click(2, 0, positive=True))
    assert (merged == drawn("#.##.", "#.##.", "#....")).all()


def test_a_change_the_other_way_beside_the_clicked_one_is_not_taken_over() -> None:
    previous, prediction = drawn("##..."), drawn("..##.")
    assert (progressive_merge(previous, prediction, Click(2, 0, positive=True)) == drawn("####.")).all()


def test_changes_that_touch_at_a_corner_belong_together() -> None:
    merged = progressive_merge(drawn("...", "..."), drawn("#..", ".#."), Click(0, 0, positive=True))
    assert (merged == drawn("#..", ".#.")).all()


def test_a_prediction_deaf_to_the_click_changes_nothing() -> None:
    assert progressive_merge(SQUARE, NOTHING, Click(0, 0, positive=True)) is SQUARE
