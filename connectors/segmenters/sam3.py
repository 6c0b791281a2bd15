"""SAM 3's interactive head, from Ultralytics' builders, on any processor: boxes, points, prior masks, logits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.third import OTHERS, SQUARE, network_of, parts_of
from connectors.ultralytics.runtime import load
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}


_TABLES = "*.attn.freqs_cis"
"""Rotary tables, which a checkpoint holds and Ultralytics computes."""


class Settings(PromptableSettings):
    """There is one size."""

    @property
    def published_as(self) -> str:
        return "sam3.pt"


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises MissingExtra, ConfigError, and WeightsUnavailable for weights that are missing, damaged, unsafe, of
    another digest or of another kind.

    Words are not understood: SAM 3's detector, which reads them, answers with all objects of an image at once, and its
    text encoder comes from a package that no registry has.
    """
    load("sam3")
    return build_promptable(
        "sam3",
        "sam3",
        settings,
        resources,
        square=SQUARE,
        make_model=_made,
        make_network=network_of,
        ignored=(*OTHERS, _TABLES),
    )


def _made() -> Any:
    """Ultralytics builds this network only around a checkpoint, of which it takes what it finds: here, nothing."""
    import torch
    from ultralytics.models.sam.build_sam3 import build_interactive_sam3

    with tempfile.TemporaryDirectory(prefix="maskloop-") as folder:
        empty = Path(folder) / "empty.pt"
        torch.save({}, empty)
        model = build_interactive_sam3(str(empty))
    return parts_of(model.image_encoder, model)
