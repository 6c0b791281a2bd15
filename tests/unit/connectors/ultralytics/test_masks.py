from __future__ import annotations

import numpy as np
import pytest

from connectors.ultralytics.masks import box_masks
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from tests.contracts._yolo import skip_without


@pytest.mark.parametrize("size_hw", [(480, 640), (640, 480), (37, 53), (700, 1100), (640, 640), (9, 200), (1, 1)])
@pytest.mark.parametrize("image_size", [320, 640])
def test_they_are_those_of_ultralytics(size_hw: SizeHW, image_size: int) -> None:
    skip_without("torch", "ultralytics")
    load("the tests")
    import torch
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils import ops

    padded = LetterBox(image_size, auto=True, stride=32)(image=np.zeros((*size_hw, 3), dtype=np.uint8))
    mask_hw = (padded.shape[0] // 4, padded.shape[1] // 4)
    torch.manual_seed(0)
    # Smooth, as real logits are: noise would be all edges.
    prototypes = torch.nn.functional.interpolate(torch.randn(1, 8, 5, 5), mask_hw, mode="bicubic")[0]
    coefficients = torch.randn(6, 8)
    corners = np.sort(np.random.default_rng(0).uniform(0, 1, (6, 2, 2)), axis=1) * (size_hw[1], size_hw[0])
    boxes = [Box(*(float(value) for value in corner.reshape(-1))) for corner in corners]
    boxes[0] = Box(0.0, 0.0, float(size_hw[1]), float(size_hw[0]))

    theirs = ops.process_mask_native(prototypes, coefficients, torch.tensor(boxes), size_hw).numpy().astype(bool)
    logits = (coefficients @ prototypes.view(8, -1)).view(6, *mask_hw).numpy()
    ours = np.stack([mask.bitmap() for mask in box_masks(logits, boxes, size_hw)])
    different = int((ours != theirs).sum())
    # A logit of zero but for rounding may fall on either side.
    assert different <= 1e-5 * theirs.size, f"{different} of {theirs.size} pixels"


def test_no_boxes() -> None:
    assert box_masks(np.zeros((0, 40, 40), dtype=np.float32), [], (100, 100)) == []


def test_a_box_without_a_pixel_has_an_empty_mask() -> None:
    skip_without("torch")
    (mask,) = box_masks(np.ones((1, 40, 40), dtype=np.float32), [Box(3.2, 3.2, 3.9, 8.0)], (160, 160))
    assert mask == Mask.empty((160, 160))
