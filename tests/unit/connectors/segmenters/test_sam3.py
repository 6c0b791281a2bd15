"""SAM 3 over Ultralytics: the weights that its builders want are the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from connectors.sam.third import parts_of
from connectors.segmenters import sam3
from pipeline.domain.geometry import Box
from pipeline.domain.prompts import Prompt
from tests.contracts._sam3 import small_tracker
from tests.contracts._segmenters import image, small_networks
from tests.contracts._yolo import resources_for, skip_without


def test_its_parts_bear_the_names_that_meta_s_own_package_gives_them() -> None:
    tracker = small_tracker()
    meta = parts_of(tracker.backbone, tracker).state_dict()
    with small_networks("sam3"):
        ours = sam3._made().state_dict()
    assert {name for name in meta if not name.endswith(".freqs_cis")} == set(ours)


def test_a_checkpoint_with_everything_else_in_it_is_taken(tmp_path: Path) -> None:
    """Detector, memory and rotary tables lie beside what is wanted."""
    skip_without("torch", "ultralytics")
    import torch

    with small_networks("sam3"):
        state = {name: torch.full_like(value, 0.01) for name, value in sam3._made().state_dict().items()}
        others = ("detector.transformer.x", "tracker.maskmem_tpos_enc", "tracker.obj_ptr_proj.layers.0.weight")
        tables = "detector.backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis"
        path = tmp_path / "sam3.pt"
        torch.save({"model": {**state, **{name: torch.zeros(1) for name in (*others, tables)}}}, path)
        segmenter = sam3.build(sam3.Settings(device="cpu"), resources_for(tmp_path, weights=path))
    [[answer]] = segmenter.decode(segmenter.encode([image()])[0], [Prompt(box=Box(5, 5, 40, 40))])
    assert answer.logits is not None
    assert answer.logits.shape == (288, 288)
    assert np.isfinite(answer.logits).all()
