"""Segment Anything (b, l, h), from Ultralytics' builders: boxes, points, prior masks, logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.first import SQUARE, SamNetwork
from connectors.ultralytics.runtime import load
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}


class Settings(PromptableSettings):
    """`size` is the image encoder's."""

    size: Literal["b", "l", "h"] = "b"

    @property
    def published_as(self) -> str:
        return f"sam_{self.size}.pt"


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises MissingExtra, ConfigError, and WeightsUnavailable for weights that are missing, damaged, unsafe, of
    another digest or of another kind."""
    load("sam")
    from ultralytics.models.sam import build as builders

    return build_promptable(
        "sam",
        settings.size,
        settings,
        resources,
        square=SQUARE,
        make_model=getattr(builders, f"build_sam_vit_{settings.size}"),
        make_network=SamNetwork,
    )
