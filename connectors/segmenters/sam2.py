"""SAM 2 and 2.1 (t, s, b, l), from Ultralytics' builders: boxes, points, prior masks, logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from connectors.promptable.frame import Square
from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.second import MEMORY, Sam2Network, image_parts
from connectors.ultralytics.runtime import load
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"ultralytics": ("torch", "ultralytics")}

_SQUARE = Square(side=1024, low_side=256, stretch=True)
"""Meta trained and published these weights with images stretched to the square; Ultralytics' predictor pads instead,
which gives other masks wherever an image is not square."""


class Settings(PromptableSettings):
    """`size` is the image encoder's; versions 2 and 2.1 differ in their weights."""

    version: Literal["2", "2.1"] = "2.1"
    size: Literal["t", "s", "b", "l"] = "t"

    @property
    def published_as(self) -> str:
        return f"sam{self.version}_{self.size}.pt"


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises MissingExtra, ConfigError, and WeightsUnavailable for weights that are missing, damaged, unsafe, of
    another digest or of another kind."""
    load("sam2")
    from ultralytics.models.sam import build as builders

    def make_model() -> Any:
        return image_parts(getattr(builders, f"build_sam2_{settings.size}")())

    return build_promptable(
        "sam2",
        f"{settings.version}_{settings.size}",
        settings,
        resources,
        square=_SQUARE,
        make_model=make_model,
        make_network=Sam2Network,
        ignored=MEMORY,
    )
