"""Boxes, points and priors on pictures whose truth is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from connectors.grabcut.colours import COMPONENTS, fit, log_likelihood, sharper
from connectors.grabcut.region import sample
from connectors.segmenters.grabcut import Settings, build
from pipeline.domain.clicks import Click, next_click
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.prompts import Logits, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, ShapeMismatch
from pipeline.ports import Segmenter
from tests.fakes.people import resources

SIZE_HW = (80, 100)
BOX = Box(28, 18, 62, 52)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return build(Settings(), resources(tmp_path))


def disc(centre: tuple[int, int] = (45, 35), radius: int = 16, size_hw: tuple[int, int] = SIZE_HW) -> Bitmap:
    drawn = np.zeros(size_hw, dtype=np.uint8)
    cv2.circle(drawn, centre, radius, 1, thickness=-1)
    return drawn.astype(np.bool_)


def picture(*objects: Bitmap, size_hw: tuple[int, int] = SIZE_HW) -> Image:
    """Noise; greenish ground, reddish objects."""
    rng = np.random.default_rng(0)
    colours = np.full((*size_hw, 3), (60, 110, 70), dtype=np.float64)
    for drawn in objects:
        colours[drawn] = (190, 70, 60)
    return np.clip(colours + rng.normal(0, 12, colours.shape), 0, 255).astype(np.uint8)


def ask(segmenter: Segmenter, image: Image, prompt: Prompt) -> MaskPrediction:
    return segmenter.decode(segmenter.encode([image])[0], [prompt])[0][0]


def clicked(*clicks: Click, prior: Bitmap | None = None, box: Box | None = None) -> Prompt:
    return Prompt(
        box=box,
        points_xy=tuple(click.point_xy for click in clicks),
        point_labels=tuple(click.positive for click in clicks),
        prior=None if prior is None else Mask.from_bitmap(prior),
    )


def iou(answer: MaskPrediction, truth: Bitmap) -> float:
    return answer.mask.iou(Mask.from_bitmap(truth))


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=BOX),
        Prompt(box=Box(30, 20, 60, 50)),
        clicked(Click(45, 35, positive=True)),
        clicked(Click(45, 35, positive=True), Click(90, 70, positive=False)),
        clicked(Click(52, 40, positive=True), box=BOX),
        Prompt(prior=Mask.from_bitmap(disc(radius=14))),
        clicked(Click(45, 35, positive=True), prior=np.zeros(SIZE_HW, dtype=np.bool_)),
    ],
    ids=["box", "small box", "point", "two points", "box and point", "prior", "empty prior and point"],
)
def test_an_object_of_its_own_colour_is_found(segmenter: Segmenter, prompt: Prompt) -> None:
    answer = ask(segmenter, picture(disc()), prompt)
    assert iou(answer, disc()) > 0.95
    assert answer.predicted_iou > 0.8
    assert answer.stability > 0.6


def test_a_large_window_is_cut_at_a_smaller_scale_and_comes_back(tmp_path: Path) -> None:
    size_hw, truth = (600, 800), disc((400, 300), 150, (600, 800))
    small = build(Settings(max_side=128), resources(tmp_path))
    image = picture(truth, size_hw=size_hw)
    answer = ask(small, image, clicked(Click(255, 300, positive=False), box=Box(250, 150, 551, 451)))
    assert iou(answer, truth) > 0.95
    assert not answer.mask.bitmap()[300, 255], "a click counts at full size, too"
    assert answer.logits is not None
    assert answer.logits.shape == (192, 256)


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("prior", [None, "full", "empty"])
@pytest.mark.parametrize("box", [None, BOX])
def test_the_clicked_pixel_ends_on_the_side_that_was_named(
    segmenter: Segmenter, label: bool, prior: str | None, box: Box | None
) -> None:
    image, rng = picture(disc()), np.random.default_rng(4)
    known = None if prior is None else np.full(SIZE_HW, prior == "full")
    for x, y in rng.integers(0, (100, 80), (12, 2)).tolist():
        answer = ask(segmenter, image, clicked(Click(x, y, positive=label), prior=known, box=box))
        assert bool(answer.mask.bitmap()[y, x]) == label, (x, y)


def test_a_click_changes_the_mask_near_it_and_nowhere_else(segmenter: Segmenter) -> None:
    left, right = disc((25, 40), 12), disc((75, 40), 12)
    image = picture(left, right)
    bitten = left & ~disc((32, 40), 6)
    prior = bitten | right
    prior[38:42, 70:72] = False
    click = next_click(prior, left | right)
    assert click is not None
    answer = ask(segmenter, image, clicked(click, prior=prior)).mask.bitmap()
    np.testing.assert_array_equal(answer[:, 55:], prior[:, 55:])
    assert (answer[:, :50] & left[:, :50]).sum() > 0.97 * left.sum()


def test_a_prior_with_which_all_clicks_agree_stays(segmenter: Segmenter) -> None:
    prior = disc(radius=11)
    agreeing = clicked(Click(45, 35, positive=True), Click(5, 5, positive=False), prior=prior)
    answer = ask(segmenter, picture(disc()), agreeing)
    np.testing.assert_array_equal(answer.mask.bitmap(), prior)


def test_its_logits_are_worth_its_mask(segmenter: Segmenter) -> None:
    image = picture(disc())
    first = ask(segmenter, image, Prompt(box=BOX))
    assert first.logits is not None
    np.testing.assert_array_equal(first.logits > 0, first.mask.bitmap())
    again = ask(segmenter, image, Prompt(points_xy=((45.5, 35.5),), point_labels=(True,), prior=first.logits))
    assert again.mask == first.mask


def test_only_negative_points_are_no_object(segmenter: Segmenter) -> None:
    answer = ask(segmenter, picture(disc()), clicked(Click(45, 35, positive=False)))
    assert (answer.mask.area_px, answer.predicted_iou, answer.stability) == (0, 0.0, 0.0)


def test_a_poor_mask_is_told_from_a_good_one(segmenter: Segmenter) -> None:
    """An object of the ground's own colours cannot be cut out; it says so."""
    good = ask(segmenter, picture(disc()), Prompt(box=BOX))
    poor = ask(segmenter, picture(), Prompt(box=BOX))
    assert poor.predicted_iou < 0.8 < good.predicted_iou


def test_candidates_nest_within_each_other(segmenter: Segmenter) -> None:
    encoding = segmenter.encode([picture(disc())])[0]
    [entry] = segmenter.decode(encoding, [Prompt(box=BOX)], multimask=True)
    tight, middle, wide = sorted((one.mask for one in entry), key=lambda mask: mask.area_px)
    assert tight.intersection(middle) == tight
    assert middle.intersection(wide) == middle


def test_what_a_cut_depends_on_is_in_the_name(tmp_path: Path) -> None:
    usual, other = (build(Settings(margin=margin), resources(tmp_path)) for margin in (1.0, 0.5))
    assert usual.name != other.name
    assert usual.name == build(Settings(), resources(tmp_path)).name


def test_mixtures_tell_colours_apart() -> None:
    rng = np.random.default_rng(0)
    red, green = (
        rng.normal(mean, 6, (400, 3)).clip(0, 255).astype(np.uint8) for mean in ((200, 40, 40), (40, 200, 40))
    )
    both, only_red = fit(np.concatenate([red, green])), fit(red)
    assert both.shape == (1, 13 * COMPONENTS)
    assert np.isclose(both[0, :COMPONENTS].sum(), 1)
    assert (log_likelihood(only_red, red) > log_likelihood(both, red)).mean() > 0.9
    assert (log_likelihood(only_red, green) < log_likelihood(both, green)).all()


def test_a_mixture_of_one_gaussian_is_that_gaussian() -> None:
    pixels = np.array([[10, 20, 30]], dtype=np.uint8)
    density = np.exp(log_likelihood(fit(pixels), pixels))
    np.testing.assert_allclose(density, (2 * np.pi * 4.0) ** -1.5)


def test_a_sharper_mixture_keeps_its_means_and_falls_off_faster() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(120, 9, (300, 3)).clip(0, 255).astype(np.uint8)
    usual = fit(pixels)
    sharp = sharper(usual, 4.0)
    np.testing.assert_array_equal(sharp[:, : 4 * COMPONENTS], usual[:, : 4 * COMPONENTS])
    np.testing.assert_array_equal(4 * sharp[:, 4 * COMPONENTS :], usual[:, 4 * COMPONENTS :])
    far = np.array([[200, 200, 200]], dtype=np.uint8)
    assert log_likelihood(sharp, far) < log_likelihood(usual, far)


def test_a_sample_is_of_wanted_pixels_evenly_spaced() -> None:
    crop = np.arange(300, dtype=np.uint8)[:, None].repeat(3, axis=1)[:200].reshape(10, 20, 3)
    wanted = crop[..., 0] >= 100
    np.testing.assert_array_equal(sample(crop, wanted, 1000), crop[wanted])
    np.testing.assert_array_equal(sample(crop, wanted, 25)[:, 0], np.arange(100, 200, 4))
    assert sample(crop, np.zeros((10, 20), dtype=np.bool_), 5).shape == (0, 3)


def test_a_thin_object_fills_its_box(segmenter: Segmenter) -> None:
    """Smoothness alone would cut a thin cross's arms off."""
    size_hw = (120, 160)
    truth = np.zeros(size_hw, dtype=np.uint8)
    cv2.line(truth, (40, 20), (120, 100), 1, 3)
    cv2.line(truth, (120, 20), (40, 100), 1, 3)
    cross = truth.astype(np.bool_)
    rng = np.random.default_rng(0)
    colours = np.full((*size_hw, 3), (90, 110, 90), dtype=np.float64)
    colours[cross] = (140, 90, 80)
    image = np.clip(colours + rng.normal(0, 14, colours.shape), 0, 255).astype(np.uint8)
    box = Mask.from_bitmap(cross).box
    assert box is not None
    answer = ask(segmenter, image, Prompt(box=box))
    assert answer.mask.box is not None
    assert answer.mask.box.iou(box) > 0.8


def test_a_box_around_what_looks_like_its_surroundings_still_gets_a_mask(tmp_path: Path) -> None:
    """Cells among cells: whoever drew the box says that something is there."""
    image = np.full((80, 80, 3), 140, dtype=np.uint8)
    image[::2, ::2] = 150
    box = Box(30, 30, 50, 50)
    segmenter = build(Settings(), resources(tmp_path))
    ((prediction,),) = segmenter.decode(segmenter.encode([image])[0], [Prompt(box=box)])
    assert prediction.mask.bitmap()[36:44, 36:44].all()
    assert prediction.mask.area_px <= 26 * 26


def test_one_point_gets_several_masks_and_a_box_one(segmenter: Segmenter) -> None:
    [encoding] = segmenter.encode([picture(disc())])
    point, box = clicked(Click(45, 35, positive=True)), Prompt(box=BOX)
    assert [len(entry) for entry in segmenter.decode(encoding, [point, box])] == [3, 1]
    assert [len(entry) for entry in segmenter.decode(encoding, [point, box], multimask=True)] == [3, 3]
    assert [len(entry) for entry in segmenter.decode(encoding, [point, box], multimask=False)] == [1, 1]


def test_a_higher_threshold_gives_a_smaller_mask_and_the_same_logits(segmenter: Segmenter) -> None:
    blurred = np.asarray(cv2.GaussianBlur(picture(disc()), (15, 15), 0), dtype=np.uint8)
    [encoding] = segmenter.encode([blurred])
    wide, usual, tight = (
        segmenter.decode(encoding, [Prompt(box=BOX)], mask_threshold=threshold)[0][0]
        for threshold in (-3.0, 0.0, 3.0)
    )
    assert wide.mask.intersection(usual.mask) == usual.mask != wide.mask
    assert usual.mask.intersection(tight.mask) == tight.mask != usual.mask
    assert wide.logits is not None
    assert tight.logits is not None
    np.testing.assert_array_equal(wide.logits, tight.logits)


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((100, 80), dtype=np.float32),
        np.zeros((1, 80, 100), dtype=np.float32),
        np.full((80, 100), np.nan, dtype=np.float32),
    ],
)
def test_logits_that_are_not_its_own_are_refused(segmenter: Segmenter, logits: Logits) -> None:
    with pytest.raises(ShapeMismatch, match=r"finite and of (shape|two)"):
        ask(segmenter, picture(disc()), Prompt(prior=logits))


def test_words_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(BackendRejected, match="no text"):
        ask(segmenter, picture(disc()), Prompt(text="a disc"))


def test_many_prompts_at_once_are_answered_as_each_alone(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(5)
    image = picture(disc())
    prompts = [Prompt(box=Box(x, y, x + 12, y + 9)) for x, y in rng.uniform(0, 70, (300, 2))]
    [encoding] = segmenter.encode([image])
    together = segmenter.decode(encoding, prompts)
    assert [entry[0].mask for entry in together[::50]] == [
        ask(segmenter, image, prompt).mask for prompt in prompts[::50]
    ]
