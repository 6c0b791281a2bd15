"""What the tests of served segmenters share."""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.calling import Caller
from connectors.remote.client import RemoteSegmenter
from connectors.segmenters import ellipse
from pipeline.domain.geometry import Box, Image
from pipeline.domain.prompts import Prompt
from pipeline.ports import Segmenter

SECRET = "a-secret-of-some-length"
BOX = Prompt(box=Box(2, 3, 20, 15))
POINT = Prompt(points_xy=((10.0, 8.0),), point_labels=(True,))


def picture(seed: int = 0, size_hw: tuple[int, int] = (24, 32)) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (*size_hw, 3), dtype=np.uint8)


def at_home() -> Segmenter:
    """Any segmenter; this one is quick."""
    return ellipse.build(ellipse.Settings(), None)  # type: ignore[arg-type]  # it uses no resources


def caller(url: str, **more: Any) -> Caller:
    """One that does not wait between attempts."""
    return Caller(url, backend="remote", hint="start it", sleep=lambda _: None, **more)


def far(url: str, *, logits: bool = True, **more: Any) -> RemoteSegmenter:
    return RemoteSegmenter(caller(url, **more), logits=logits)


def bearer(secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
