"""The network of our own: what its tensors mean, with weights drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from connectors.promptable.network import Asked

torch: Any = pytest.importorskip("torch", reason="the extra ultralytics brings PyTorch")

from connectors.nano_sam import prompting  # noqa: E402  # imports PyTorch
from connectors.nano_sam.model import NanoSam  # noqa: E402
from connectors.nano_sam.network import SQUARE, NanoNetwork  # noqa: E402
from connectors.nano_sam.prompting import NO_POINT, Prompts  # noqa: E402

NOWHERE = float("nan")


@pytest.fixture(scope="module")
def model() -> NanoSam:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NanoSam().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def features(model: NanoSam) -> Any:
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32))
    return model.encode(pixels)


def prompts(count: int = 1, *, height: int = 64, width: int = 96, **parts: Any) -> Prompts:
    """About a piece of that size, with nothing said but `parts`."""
    nothing = {
        "points": torch.zeros(count, 1, 2),
        "labels": torch.full((count, 1), float(NO_POINT)),
        "boxes": torch.full((count, 4), NOWHERE),
        "priors": torch.full((count, 1, height // 2, width // 2), NOWHERE),
    }
    return Prompts(**nothing | {name: torch.tensor(part) for name, part in parts.items()})


POINT: dict[str, Any] = {"points": [[[30.5, 20.5]]], "labels": [[1.0]]}
BOX: dict[str, Any] = {"boxes": [[10.0, 12.0, 50.0, 40.0]]}
PRIOR: dict[str, Any] = {"priors": np.linspace(-9, 9, 32 * 48, dtype=np.float32).reshape(1, 1, 32, 48)}


def test_features_lie_at_strides_8_4_and_2(features: Any) -> None:
    assert [tuple(part.shape) for part in features] == [(1, 128, 8, 12), (1, 32, 16, 24), (1, 16, 32, 48)]


def test_it_is_small_enough_to_come_along(model: NanoSam) -> None:
    assert 2 * sum(value.numel() for value in model.state_dict().values()) < 8_000_000


@pytest.mark.parametrize("said", [POINT, BOX, PRIOR, POINT | BOX | PRIOR])
def test_four_masks_at_stride_2_each_with_its_quality(model: NanoSam, features: Any, said: Any) -> None:
    logits, ious = model.decode(features, prompts(**said))
    assert logits.shape == (1, 4, 32, 48)
    assert ious.shape == (1, 4)
    assert logits.isfinite().all()
    assert ((ious > 0) & (ious < 1)).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (POINT, POINT | {"labels": [[0.0]]}),
        (POINT, POINT | {"points": [[[70.5, 50.5]]]}),
        (BOX, {"boxes": [[10.0, 12.0, 50.0, 44.0]]}),
        (PRIOR, {"priors": -PRIOR["priors"]}),
        (BOX, BOX | POINT),
        (BOX, BOX | {"priors": np.zeros((1, 1, 32, 48), dtype=np.float32)}),
    ],
)
def test_everything_said_matters(model: NanoSam, features: Any, one: Any, other: Any) -> None:
    """Also a prior that is nowhere sure of anything, which is not the same as none."""
    first, second = (model.decode(features, prompts(**said))[0] for said in (one, other))
    assert (first - second).abs().max() > 1e-3


def test_where_no_point_is_does_not_matter(model: NanoSam, features: Any) -> None:
    labels = [[1.0, float(NO_POINT)]]
    here, there = (
        model.decode(features, prompts(points=[[[30.5, 20.5], place]], labels=labels))
        for place in ([0.0, 0.0], [77.0, 13.0])
    )
    torch.testing.assert_close(here, there, rtol=0, atol=0)


def test_company_changes_no_answer(model: NanoSam, features: Any) -> None:
    boxes = [[10.0, 12.0, 50.0, 40.0], [0.0, 0.0, 96.0, 64.0], [60.0, 30.0, 70.0, 44.0]]
    together = model.decode(features, prompts(3, boxes=boxes))
    for row, box in enumerate(boxes):
        alone = model.decode(features, prompts(boxes=[box]))
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[row], rtol=1e-4, atol=1e-4)


def test_a_piece_is_told_what_the_frame_is_told_there(model: NanoSam) -> None:
    """Maps and positions of a piece at (32, 16) are those of the frame, cut out."""
    said: dict[str, Any] = {"points": [[[61.0, 40.0]]], "labels": [[1.0]], "boxes": [[40.0, 20.0, 90.0, 71.0]]}
    whole = prompting._maps(prompts(height=128, width=160, **said), (0.0, 0.0))
    piece = prompting._maps(prompts(**said), (32.0, 16.0))
    torch.testing.assert_close(piece, whole[..., 8 : 8 + 32, 16 : 16 + 48])
    grid = model.prompts.grid(16, 20, (0.0, 0.0))[..., 2 : 2 + 8, 4 : 4 + 12]
    torch.testing.assert_close(model.prompts.grid(8, 12, (32.0, 16.0)), grid, rtol=1e-4, atol=1e-4)


def test_maps_show_clicks_box_and_prior_where_they_are() -> None:
    said: dict[str, Any] = {
        "points": [[[31.0, 21.0], [71.0, 51.0]]],
        "labels": [[1.0, 0.0]],
        "boxes": [[10.0, 12.0, 51.0, 40.0]],
    }
    on, off, inside, boxed, prior, known = prompting._maps(prompts(**said), (0.0, 0.0))[0]
    assert divmod(int(on.argmax()), 48) == (10, 15)
    assert divmod(int(off.argmax()), 48) == (25, 35)
    assert on.max() == off.max() == 1
    assert float(inside.sum()) == (51 - 10) * (40 - 12) / 4
    assert (boxed == 1).all()
    assert not prior.any()
    assert not known.any()
    *_, prior, known = prompting._maps(prompts(**PRIOR), (0.0, 0.0))[0]
    assert (known == 1).all()
    np.testing.assert_allclose(prior, np.tanh(PRIOR["priors"][0, 0] / 4), rtol=1e-6)


def test_the_network_gives_the_first_mask_or_the_other_three(model: NanoSam) -> None:
    network = NanoNetwork(model)
    pixels = np.random.default_rng(1).normal(size=(1, 3, SQUARE.side, SQUARE.side)).astype(np.float32)
    arrays = {
        name: made.numpy()[0] for name, made in zip(network.names, model.encode(torch.tensor(pixels)), strict=True)
    }
    asked = Asked(None, None, np.array([[20, 30, 90, 120]], dtype=np.float32), None)
    one, three = (network.decode(arrays, asked, multimask=several) for several in (False, True))
    assert one.logits.shape == (1, 1, SQUARE.low_side, SQUARE.low_side)
    assert three.logits.shape == (1, 3, SQUARE.low_side, SQUARE.low_side)
    assert one.ious.shape == (1, 1)
    assert three.ious.shape == (1, 3)
    for candidate in three.logits[0]:
        assert not np.array_equal(candidate, one.logits[0, 0])
