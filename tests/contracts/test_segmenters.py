"""What every segmenter promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, DataError, ShapeMismatch
from pipeline.ports import Segmenter
from pipeline.store.encodings import rounded
from tests.contracts._segmenters import (
    KINDS,
    SIZES,
    built,
    image,
    module_of,
    prompts_for,
    restored,
    said,
    whole,
)

POINT = Prompt(points_xy=((10.0, 10.0),), point_labels=(True,))


@pytest.fixture(scope="module", params=KINDS)
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return built(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def encodings(segmenter: Segmenter) -> dict[str, Encoding]:
    return dict(zip(SIZES, segmenter.encode([image(name) for name in SIZES]), strict=True))


@pytest.fixture(scope="module")
def encoding(encodings: dict[str, Encoding]) -> Encoding:
    return encodings["usual"]


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_frozen_and_closed(kind: str) -> None:
    module = module_of(kind)
    with pytest.raises(ValidationError):
        module.Settings(no_such_setting=1)
    settings = module.Settings()
    with pytest.raises(ValidationError):
        setattr(settings, next(iter(module.Settings.model_fields)), None)


@pytest.mark.parametrize("kind", KINDS)
def test_importing_it_imports_no_heavy_package(kind: str) -> None:
    code = (
        f"import sys, connectors.segmenters.{kind}; print(*{{'torch', 'ultralytics', 'scipy'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_its_name_begins_with_its_kind(segmenter: Segmenter, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["segmenter"]
    assert segmenter.name.startswith(f"{kind}-")
    assert len(segmenter.name) > len(kind) + 5, "what it is made of belongs into the name"


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_one_entry_per_prompt_of_the_image_s_size(
    segmenter: Segmenter, encodings: dict[str, Encoding], name: str, multimask: bool
) -> None:
    prompts = prompts_for(name)
    answers = segmenter.decode(encodings[name], prompts, multimask=multimask)
    assert len(answers) == len(prompts)
    for entry in answers:
        assert entry if multimask else len(entry) == 1
        for one in entry:
            assert one.mask.size_hw == SIZES[name]
            assert 0 <= one.predicted_iou <= 1
            assert 0 <= one.stability <= 1
            assert one.mask.area_px or one.predicted_iou == one.stability == 0
            assert one.logits is None or (one.logits.ndim == 2 and one.logits.dtype == np.float32)


def test_one_point_alone_may_mean_several_things_and_more_than_that_one(
    segmenter: Segmenter, encoding: Encoding
) -> None:
    point, box, two = prompts_for()[1], prompts_for()[0], prompts_for()[3]
    usual = segmenter.decode(encoding, [point, box, two])
    assert said(usual[:1]) == said(segmenter.decode(encoding, [point], multimask=True))
    assert [len(entry) for entry in usual[1:]] == [1, 1]
    assert len(segmenter.decode(encoding, [point], multimask=False)[0]) == 1


def test_a_higher_threshold_makes_masks_smaller_and_no_other(segmenter: Segmenter, encoding: Encoding) -> None:
    masks = [
        segmenter.decode(encoding, prompts_for()[:1], mask_threshold=threshold)[0][0].mask
        for threshold in (-1.0, 0.0, 1.0)
    ]
    for wide, narrow in pairwise(masks):
        assert narrow.intersection(wide) == narrow


def test_it_says_beforehand_what_its_encodings_will_bear(segmenter: Segmenter, encoding: Encoding) -> None:
    assert segmenter.fingerprint == encoding.fingerprint
    assert isinstance(segmenter.storable, bool)


def test_encodings_in_half_precision_are_understood(segmenter: Segmenter, encoding: Encoding) -> None:
    """As the store of encodings keeps them."""
    prompts = prompts_for()
    answers = segmenter.decode(rounded(encoding), prompts)
    assert len(answers) == len(prompts)
    assert all(entry[0].mask.size_hw == encoding.size_hw for entry in answers)


def test_many_prompts_at_once_are_answered_one_by_one(segmenter: Segmenter, encoding: Encoding) -> None:
    rng = np.random.default_rng(3)
    corners = np.sort(rng.uniform(0, 40, (40, 2, 2)), axis=1)
    points = [Prompt(points_xy=((float(x) + 1, float(y) + 1),), point_labels=(True,)) for x, y in corners[:, 0]]
    answers = segmenter.decode(encoding, points, multimask=False)
    for prompt, [one] in zip(points[::13], answers[::13], strict=True):
        [[alone]] = segmenter.decode(encoding, [prompt], multimask=False)
        assert alike(one, alone), prompt


def test_the_best_of_several_comes_first(segmenter: Segmenter, encoding: Encoding) -> None:
    [entry] = segmenter.decode(encoding, [prompts_for()[1]], multimask=True)
    scores = [one.predicted_iou for one in entry]
    assert scores == sorted(scores, reverse=True)


def test_nothing_asked_nothing_answered(segmenter: Segmenter, encoding: Encoding) -> None:
    assert segmenter.decode(encoding, []) == []
    assert segmenter.encode([]) == []


def test_the_same_question_gets_the_same_answer(segmenter: Segmenter, encoding: Encoding) -> None:
    prompts = prompts_for()
    first = segmenter.decode(encoding, prompts, multimask=True)
    np.random.seed(7)  # noqa: NPY002  # what others do with generators that all share must not matter
    cv2.setRNGSeed(7)
    assert said(segmenter.decode(encoding, prompts, multimask=True)) == said(first)


def test_prompts_in_another_order_get_their_answers_in_that_order(
    segmenter: Segmenter, encoding: Encoding
) -> None:
    prompts = prompts_for()
    order = np.random.default_rng(0).permutation(len(prompts)).tolist()
    straight = segmenter.decode(encoding, prompts)
    mixed = segmenter.decode(encoding, [prompts[number] for number in order])
    for place, number in enumerate(order):
        assert alike(mixed[place][0], straight[number][0]), prompts[number]


def test_an_image_is_encoded_alike_in_any_company(segmenter: Segmenter, encodings: dict[str, Encoding]) -> None:
    [alone] = segmenter.encode([image("wide")])
    for name, array in encodings["wide"].arrays.items():
        np.testing.assert_array_equal(alone.arrays[name], array)


def test_an_encoding_is_plain_arrays_that_survive_a_file(
    segmenter: Segmenter, encoding: Encoding, tmp_path: Path
) -> None:
    assert encoding.arrays
    assert all(type(array) is np.ndarray and array.dtype != object for array in encoding.arrays.values())
    assert encoding.size_bytes == sum(array.nbytes for array in encoding.arrays.values())
    prompts = prompts_for()
    kept = restored(encoding, tmp_path / "encoding.npz")
    assert said(segmenter.decode(kept, prompts)) == said(segmenter.decode(encoding, prompts))


def test_decoding_changes_nothing_in_the_encoding(segmenter: Segmenter, encoding: Encoding) -> None:
    before = {name: array.copy() for name, array in encoding.arrays.items()}
    segmenter.decode(encoding, prompts_for(), multimask=True)
    for name, array in encoding.arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_its_logits_are_a_prior_that_it_understands(segmenter: Segmenter, encoding: Encoding) -> None:
    [[first]] = segmenter.decode(encoding, prompts_for()[:1])
    if first.logits is None:
        pytest.skip(f"{segmenter.name} answers without logits: it promises none")
    [[second]] = segmenter.decode(encoding, [replace(POINT, prior=first.logits)])
    assert second.mask.size_hw == first.mask.size_hw


def test_an_encoding_of_another_segmenter_is_refused(segmenter: Segmenter, encoding: Encoding) -> None:
    with pytest.raises(BackendRejected, match="was made by 'elsewhere'") as caught:
        segmenter.decode(replace(encoding, fingerprint="elsewhere"), [POINT])
    assert caught.value.backend == segmenter.name


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        (lambda: Prompt(points_xy=((64.5, 3.0),), point_labels=(True,)), DataError),
        (lambda: Prompt(points_xy=((3.0, -0.5),), point_labels=(True,)), DataError),
        (lambda: Prompt(points_xy=((float("nan"), 1.0),), point_labels=(True,)), DataError),
        (lambda: Prompt(box=Box(5, 5, 5, 9)), DataError),
        (lambda: Prompt(box=Box(9, 5, 5, 9)), DataError),
        (lambda: replace(POINT, prior=np.full((256, 256), np.nan, dtype=np.float32)), ShapeMismatch),
        (lambda: replace(POINT, prior=np.zeros((7, 5), dtype=np.float32)), ShapeMismatch),
        (lambda: Prompt(box=Box(70, 5, 90, 9)), DataError),
        (lambda: replace(POINT, prior=Mask.empty((64, 48))), ShapeMismatch),
        (lambda: Prompt(text="a disc"), BackendRejected),
        (lambda: replace(POINT, text="a disc"), BackendRejected),
        (lambda: Prompt(box=Box(5, 5, 20, 20), text="a disc"), BackendRejected),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(
    segmenter: Segmenter, encoding: Encoding, prompt: Callable[[], Prompt], error: type[Exception]
) -> None:
    with pytest.raises(error):
        segmenter.decode(encoding, [POINT, prompt()])


def test_a_box_over_the_border_is_cut_there(segmenter: Segmenter, encoding: Encoding) -> None:
    over, inside = Prompt(box=Box(-20, -3, 40, 400)), Prompt(box=Box(0, 0, 40, 48))
    assert alike(segmenter.decode(encoding, [over])[0][0], segmenter.decode(encoding, [inside])[0][0])


def test_a_point_on_the_far_border_is_inside(segmenter: Segmenter, encodings: dict[str, Encoding]) -> None:
    for name in SIZES:
        corner = Prompt(points_xy=(whole(name)[2:],), point_labels=(True,))
        assert len(segmenter.decode(encodings[name], [corner])) == 1


def test_many_threads_say_what_one_says(segmenter: Segmenter, encodings: dict[str, Encoding]) -> None:
    jobs = [(("usual", "wide", "tall")[number % 3], number % 7) for number in range(16)]

    def ask(job: tuple[str, int]) -> list[tuple[object, ...]]:
        name, first = job
        return said(segmenter.decode(encodings[name], prompts_for(name)[first : first + 2]))

    serial = [ask(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, jobs)) == serial


def test_two_threads_encode_as_one_does(segmenter: Segmenter, encodings: dict[str, Encoding]) -> None:
    names = ["usual", "tall"]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda name: segmenter.encode([image(name)])[0], names))
    for name, one in zip(names, made, strict=True):
        for key, array in encodings[name].arrays.items():
            np.testing.assert_array_equal(one.arrays[key], array)


def alike(one: MaskPrediction, other: MaskPrediction) -> bool:
    """Equal within the noise of floating point, which depends on who else is in a batch."""
    differing = one.mask.union(other.mask).area_px - one.mask.intersection(other.mask).area_px
    return differing <= 0.002 * one.mask.size_hw[0] * one.mask.size_hw[1] + 1 and bool(
        np.isclose(one.predicted_iou, other.predicted_iou, atol=1e-3)
    )
