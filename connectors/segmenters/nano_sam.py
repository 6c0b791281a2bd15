"""A segmenter of our own of SAM's structure: its weights come along; boxes, points, prior masks, logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from connectors.promptable.settings import PromptableSettings, build_promptable
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "SHIPPED", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "safetensors")}

SHIPPED = Path(__file__).parents[1] / "nano_sam" / "nano_sam.safetensors"
"""The weights that come along, trained on generated scenes alone."""
_SHA256 = "99261e8fb18308b81c54678ca23552b25ea12e44ddf8f5128245f13ab686b53d"


class Settings(PromptableSettings):
    """Without `weights` it takes those that come along, after a look at their digest."""

    @property
    def published_as(self) -> str:
        return str(SHIPPED)


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises ConfigError, and WeightsUnavailable for weights that are missing, damaged, of another digest or of another
    kind."""
    from connectors.nano_sam.model import NanoSam
    from connectors.nano_sam.network import SQUARE, NanoNetwork

    if settings.weights is None:
        settings = settings.model_copy(update={"sha256": settings.sha256 or _SHA256})
        resources = replace(resources, find_weights=lambda _: SHIPPED)
    return build_promptable(
        "nano_sam",
        "nano_sam",
        settings,
        resources,
        square=SQUARE,
        make_model=NanoSam,
        make_network=NanoNetwork,
    )
