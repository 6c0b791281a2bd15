"""Masks from low-resolution logits: the same pixels as the two enlargements that SAM makes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.promptable.enlarging import _axis, enlarged, enlarged_logits
from connectors.promptable.frame import Frame, Square

torch = pytest.importorskip("torch", reason="torch is not installed: make setup")


def as_sam_does(logits: np.ndarray, frame: Frame, threshold: float) -> np.ndarray:
    from torch.nn.functional import interpolate

    height, width = frame.content_hw
    side = frame.square.side
    whole = interpolate(torch.from_numpy(logits)[None, None], (side, side), mode="bilinear", align_corners=False)
    cut = whole[..., :height, :width]
    image = interpolate(cut, frame.size_hw, mode="bilinear", align_corners=False)
    return np.asarray(image[0, 0].numpy() > threshold)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    stretch=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([0.0, -1.5, 2.0]),
)
def test_the_pixels_are_those_of_sam_s_own_way(
    size: tuple[int, int], stretch: bool, seed: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((32, 32)).astype(np.float32)
    smooth = 4 * np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0)) - 1
    apart = np.where(np.abs(smooth - threshold) < 1e-4, threshold + 1e-3, smooth)
    logits: npt.NDArray[np.float32] = apart.astype(np.float32)
    frame = Frame(Square(side=128, low_side=32, stretch=stretch), size)
    ours, theirs = enlarged(logits, frame, threshold).bitmap(), as_sam_does(logits, frame, threshold)
    # Sums are made in another order: only a pixel on the threshold itself may fall to the other side.
    assert (ours != theirs).sum() <= max(1, ours.size // 1000)


def test_nothing_over_the_threshold_or_only_in_the_padding_is_an_empty_mask() -> None:
    frame = Frame(Square(side=128, low_side=32), (20, 100))
    logits = np.full((32, 32), -5.0, dtype=np.float32)
    assert enlarged(logits, frame, 0.0).area_px == 0
    logits[20:] = 5.0
    assert enlarged(logits, frame, 0.0).area_px == 0
    assert enlarged(logits, frame, -6.0).area_px == 2000


@pytest.mark.parametrize("size", [(480, 480), (1000, 1500), (100, 37), (70, 4000), (1, 1)])
def test_parts_of_the_matrices_give_what_the_whole_ones_give(size: tuple[int, int]) -> None:
    """Left-out weights are all zero. Nothing but the order of sums can differ."""
    frame = Frame(Square(side=1024, low_side=256), size)
    logits = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    content = frame.content_hw
    down, across = (_axis(256, 1024, content[axis], size[axis]).weights for axis in (0, 1))
    whole = down @ logits @ across.T
    made = enlarged_logits(logits, frame)
    np.testing.assert_allclose(made, whole, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(enlarged(logits, frame, 0.0).bitmap(), made > 0)
