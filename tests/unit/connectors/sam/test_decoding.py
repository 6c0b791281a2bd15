"""The mask decoder in another order of sums: in double precision it is the packages' own to the last digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from connectors.sam.decoding import MaskDecoding
from tests.contracts._yolo import skip_without

WIDTH, SIDE = 32, 6


def ultralytics_first() -> Any:
    from ultralytics.models.sam.modules.decoders import MaskDecoder
    from ultralytics.models.sam.modules.transformer import TwoWayTransformer

    return MaskDecoder(transformer_dim=WIDTH, transformer=TwoWayTransformer(2, WIDTH, 4, 64))


def ultralytics_second(**others: Any) -> Any:
    from ultralytics.models.sam.modules.blocks import SAM2TwoWayTransformer
    from ultralytics.models.sam.modules.decoders import SAM2MaskDecoder

    return SAM2MaskDecoder(
        transformer_dim=WIDTH,
        transformer=SAM2TwoWayTransformer(2, WIDTH, 4, 64),
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        **others,
    )


def by_stability() -> Any:
    return ultralytics_second(dynamic_multimask_via_stability=True, dynamic_multimask_stability_thresh=0.9)


def meta_first() -> Any:
    skip_without("segment_anything")
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer

    return MaskDecoder(
        transformer_dim=WIDTH,
        transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=4, mlp_dim=64),
    )


DECODERS: Mapping[str, Callable[[], Any]] = {
    "ultralytics first": ultralytics_first,
    "meta first": meta_first,
    "ultralytics second": ultralytics_second,
    "by stability": by_stability,
}


@pytest.mark.parametrize("multimask", [False, True], ids=["one mask", "three masks"])
@pytest.mark.parametrize("priors", [False, True], ids=["no priors", "priors"])
@pytest.mark.parametrize("prompts", [1, 2, 5])
@pytest.mark.parametrize("kind", DECODERS)
def test_it_says_what_the_package_s_own_says(kind: str, prompts: int, priors: bool, multimask: bool) -> None:
    skip_without("torch", "ultralytics")
    import torch

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(prompts)
        decoder = DECODERS[kind]().double().eval()
        for parameter in decoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=torch.float64))
        image, position = (torch.randn(1, WIDTH, SIDE, SIDE, dtype=torch.float64) for _ in range(2))
        sparse = torch.randn(prompts, 3, WIDTH, dtype=torch.float64)
        dense = torch.randn(prompts if priors else 1, WIDTH, SIDE, SIDE, dtype=torch.float64)
        second: dict[str, Any] = {}
        if "first" not in kind:
            finer = [
                torch.randn(1, WIDTH // less, times * SIDE, times * SIDE, dtype=torch.float64)
                for less, times in ((8, 4), (4, 2))
            ]
            second = {"repeat_image": True, "high_res_features": finer}
        whole = dense.expand(prompts, -1, -1, -1)
        logits, ious, *_ = decoder(image, position, sparse, whole, multimask_output=multimask, **second)
        ours = MaskDecoding(decoder)(
            image, position, sparse, dense, multimask=multimask, finer=second.get("high_res_features")
        )
    assert ours[0].shape == logits.shape == (prompts, 3 if multimask else 1, 4 * SIDE, 4 * SIDE)
    assert float(logits.std()) > 0.1, "a decoder that says nothing proves nothing"
    np.testing.assert_allclose(ours[0].numpy(), logits.numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours[1].numpy(), ious.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", DECODERS)
def test_in_bf16_it_says_nearly_the_same(kind: str) -> None:
    skip_without("torch", "ultralytics")
    import torch

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        decoding = MaskDecoding(DECODERS[kind]().eval())
        image, position = (torch.randn(1, WIDTH, SIDE, SIDE) for _ in range(2))
        sparse, dense = torch.randn(5, 3, WIDTH), torch.randn(1, WIDTH, SIDE, SIDE)
        finer = [torch.randn(1, WIDTH // less, times * SIDE, times * SIDE) for less, times in ((8, 4), (4, 2))]

        def told() -> Any:
            return decoding(
                image, position, sparse, dense, multimask=True, finer=None if "first" in kind else finer
            )

        exact, exact_ious = told()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded, ious = told()
    assert float((rounded.float() - exact).norm() / exact.norm()) < 0.03
    np.testing.assert_allclose(ious.float().numpy(), exact_ious.numpy(), atol=0.02)
    assert not torch.equal(rounded.float(), exact)
