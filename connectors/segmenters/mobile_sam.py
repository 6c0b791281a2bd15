"""MobileSAM, from Ultralytics' builders: the small one for a laptop; boxes, points, prior masks, logits."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.first import SQUARE, SamNetwork
from connectors.ultralytics.runtime import load
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}


class Settings(PromptableSettings):
    """There is one size."""

    @property
    def published_as(self) -> str:
        return "mobile_sam.pt"


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises MissingExtra, ConfigError, and WeightsUnavailable for weights that are missing, damaged, unsafe, of
    another digest or of another kind."""
    load("mobile_sam")
    from ultralytics.models.sam.build import build_mobile_sam

    return build_promptable(
        "mobile_sam",
        "mobile_sam",
        settings,
        resources,
        square=SQUARE,
        make_model=build_mobile_sam,
        make_network=SamNetwork,
    )
