"""The ellipse's geometry: what a box, a point, a click and a prior come to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.segmenters import ellipse
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Prompt
from pipeline.errors import BackendRejected, ShapeMismatch
from pipeline.ports import Segmenter

SIZE = (60, 80)
BOX = Box(10, 10, 50, 40)


def built(**settings: Any) -> Segmenter:
    return ellipse.build(ellipse.Settings(**settings), None)  # type: ignore[arg-type]  # it borrows nothing


def ask(prompt: Prompt, *, multimask: bool = False, **settings: Any) -> list[MaskPrediction]:
    segmenter = built(**settings)
    [encoding] = segmenter.encode([np.zeros((*SIZE, 3), dtype=np.uint8)])
    [answers] = segmenter.decode(encoding, [prompt], multimask=multimask)
    return answers


def one(prompt: Prompt, **settings: Any) -> Mask:
    return ask(prompt, **settings)[0].mask


def test_a_box_gives_its_inscribed_ellipse() -> None:
    [answer] = ask(Prompt(box=BOX))
    assert answer.mask.box == BOX
    assert answer.mask.area_px == pytest.approx(math.pi / 4 * BOX.area_px, rel=0.01)
    assert answer.predicted_iou == math.pi / 4
    assert answer.mask.iou(Mask.from_box(BOX, SIZE)) == pytest.approx(math.pi / 4, rel=0.01)


def test_a_box_thinner_than_a_pixel_still_has_its_middle() -> None:
    mask = one(Prompt(box=Box(20.6, 5.0, 20.9, 5.2)))
    assert mask.bitmap()[5, 20]
    assert mask.area_px == 1


def test_a_prior_without_clicks_stays_whatever_the_box() -> None:
    prior = Mask.from_box(Box(5, 6, 30, 31), SIZE)
    assert one(Prompt(prior=prior)) == prior
    assert one(Prompt(prior=prior, box=BOX)) == prior
    assert ask(Prompt(prior=prior))[0].predicted_iou == 1


def test_its_logits_are_a_prior_that_says_the_same() -> None:
    [answer] = ask(Prompt(box=BOX))
    assert answer.logits is not None
    assert one(Prompt(prior=answer.logits)) == answer.mask


def test_logits_of_a_large_image_are_small() -> None:
    segmenter = built()
    [encoding] = segmenter.encode([np.zeros((600, 1024, 3), dtype=np.uint8)])
    box = Box(100, 100, 500, 400)
    [[answer]] = segmenter.decode(encoding, [Prompt(box=box)])
    assert answer.logits is not None
    assert answer.logits.shape == (150, 256)
    assert answer.logits.max() == pytest.approx(150, abs=8), "distances are in pixels of the image"
    [[again]] = segmenter.decode(encoding, [Prompt(prior=answer.logits)])
    assert again.mask.iou(answer.mask) > 0.95


def test_a_point_alone_gives_a_disc() -> None:
    mask = one(Prompt(points_xy=((40.5, 30.5),), point_labels=(True,)), point_radius=0.2)
    assert mask.box == Box(28, 18, 53, 43)
    assert mask.area_px == pytest.approx(math.pi * 12**2, rel=0.05)


def test_only_negative_points_show_nothing() -> None:
    [answer] = ask(Prompt(points_xy=((40.5, 30.5),), point_labels=(False,)))
    assert (answer.mask.area_px, answer.predicted_iou, answer.stability) == (0, 0, 0)


def test_a_click_changes_the_mask_near_itself_only() -> None:
    prior = Mask.from_box(BOX, SIZE)
    added = one(Prompt(prior=prior, points_xy=((55.5, 25.5),), point_labels=(True,)), reach=1.0)
    rows, columns = np.nonzero(added.bitmap() ^ prior.bitmap())
    assert added.bitmap()[25, 55]
    assert np.hypot(rows - 25, columns - 55).max() <= 6, "the edge is 5.5 pixels away"
    removed = one(Prompt(prior=prior, points_xy=((45.5, 25.5),), point_labels=(False,)), reach=1.0)
    rows, columns = np.nonzero(removed.bitmap() ^ prior.bitmap())
    assert not removed.bitmap()[25, 45]
    assert np.hypot(rows - 25, columns - 45).max() <= 6


def test_a_click_that_agrees_changes_nothing() -> None:
    prior = Mask.from_box(BOX, SIZE)
    clicks = Prompt(prior=prior, points_xy=((20.5, 20.5), (70.5, 50.5)), point_labels=(True, False))
    assert one(clicks) == prior


def test_a_far_click_adds_no_more_than_the_object_s_own_size() -> None:
    prior = Mask.from_box(Box(2, 2, 8, 8), SIZE)
    mask = one(Prompt(prior=prior, points_xy=((70.5, 50.5),), point_labels=(True,)), widest=1.0)
    assert mask.area_px <= 2.2 * prior.area_px


@given(
    places=st.lists(
        st.tuples(st.integers(0, SIZE[1] - 1), st.integers(0, SIZE[0] - 1), st.booleans()), min_size=1, max_size=8
    ),
    start=st.sampled_from(["box", "prior", "points"]),
    multimask=st.booleans(),
)
def test_every_clicked_pixel_ends_on_its_right_side(
    places: list[tuple[int, int, bool]], start: str, multimask: bool
) -> None:
    said = {(x, y): positive for x, y, positive in places}
    prompt = Prompt(
        box=BOX if start == "box" else None,
        points_xy=tuple((x + 0.5, y + 0.5) for x, y, _ in places),
        point_labels=tuple(positive for *_, positive in places),
        prior=Mask.from_box(BOX, SIZE) if start == "prior" else None,
    )
    for answer in ask(prompt, multimask=multimask):
        bitmap = answer.mask.bitmap()
        for (x, y), positive in said.items():
            assert bitmap[y, x] == positive


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=BOX),
        Prompt(prior=Mask.from_box(BOX, SIZE)),
        Prompt(points_xy=((40.5, 30.5),), point_labels=(True,)),
    ],
)
def test_of_three_candidates_the_plain_one_leads(prompt: Prompt) -> None:
    answers = ask(prompt, multimask=True)
    assert [answers[0].mask] == [one(prompt)]
    areas = [answer.mask.area_px for answer in answers]
    assert min(areas) < areas[0] < max(areas)
    ious = [answer.predicted_iou for answer in answers]
    assert ious == sorted(ious, reverse=True)
    assert len(set(ious)) == 3


def test_a_thin_mask_is_less_stable_than_a_thick_one() -> None:
    [thin], [thick] = (ask(Prompt(box=box)) for box in (Box(10, 10, 60, 16), Box(10, 10, 60, 50)))
    assert 0 < thin.stability < thick.stability < 1


def test_settings_are_part_of_its_name() -> None:
    assert built().name == built().name != built(reach=2.0).name


@pytest.mark.parametrize("box", [None, BOX])
def test_a_text_is_refused_and_never_left_out(box: Box | None) -> None:
    with pytest.raises(BackendRejected, match="no text"):
        ask(Prompt(text="a coin", box=box))


def test_a_threshold_moves_the_edge_by_as_many_pixels() -> None:
    segmenter = built()
    [encoding] = segmenter.encode([np.zeros((*SIZE, 3), dtype=np.uint8)])
    prior = Mask.from_box(Box(20, 20, 40, 40), SIZE)
    for pixels, expected in ((3.0, Box(23, 23, 37, 37)), (0.0, prior.box), (-3.0, Box(17, 17, 43, 43))):
        [[moved]] = segmenter.decode(encoding, [Prompt(prior=prior)], mask_threshold=pixels)
        assert moved.mask.box == expected
    [[nothing]] = segmenter.decode(encoding, [Prompt(prior=prior)], mask_threshold=11.0)
    assert (nothing.mask.area_px, nothing.predicted_iou, nothing.stability) == (0, 0.0, 0.0)


def test_one_point_gets_several_masks_and_a_box_one() -> None:
    segmenter = built()
    [encoding] = segmenter.encode([np.zeros((*SIZE, 3), dtype=np.uint8)])
    point = Prompt(points_xy=((30, 30),), point_labels=(True,))
    assert [len(entry) for entry in segmenter.decode(encoding, [point, Prompt(box=BOX)])] == [3, 1]


def test_logits_that_are_not_its_own_are_refused() -> None:
    for logits in (np.zeros((80, 60), dtype=np.float32), np.full(SIZE, np.nan, dtype=np.float32)):
        with pytest.raises(ShapeMismatch, match=r"given as a mask|give the mask"):
            one(Prompt(prior=logits))
