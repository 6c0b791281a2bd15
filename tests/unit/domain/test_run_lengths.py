"""Run lengths of crops, and their strings, against pycocotools' on the whole bitmap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.mask import Mask
from pipeline.domain.run_lengths import cropped, runs_of, unpacked
from pipeline.errors import DataError


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_a_crop_s_runs_are_those_that_coco_finds_in_the_image(
    size: tuple[int, int], share: float, seed: int, data: st.DataObject
) -> None:
    crop = np.random.default_rng(seed).random(size) < share
    (above, below), (left, right) = (data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3))) for _ in "yx")
    whole = np.pad(crop, ((above, below), (left, right)))
    runs = runs_of(crop, left, above, whole.shape)
    assert runs.sum() == whole.size
    assert (runs[1:] > 0).all()
    assert Mask.from_runs(runs.tolist(), whole.shape).counts == Mask.from_bitmap(whole).counts
    assert unpacked(Mask.from_crop(crop, left, above, whole.shape).counts).tolist() == runs.tolist()
    assert np.array_equal(cropped(runs, left, above, crop.shape, whole.shape[0]), crop)


@pytest.mark.parametrize("text", ["P", "\x7f1", "1é"])
def test_a_string_that_coco_never_wrote_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="run-length string"):
        unpacked(text)
