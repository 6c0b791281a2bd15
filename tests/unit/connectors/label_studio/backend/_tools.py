"""A backend without a project: pictures are flat, the segmenter paints, and the time is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from connectors.label_studio.backend.app import application
from connectors.label_studio.backend.services import Limits, Services
from connectors.label_studio.convert import Region, brush_row, read_regions
from connectors.label_studio.labeling_config import labeling_config, read_config
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, Sample, State
from pipeline.errors import DataError, ImageUnreadable
from tests.fakes.brush import BrushSegmenter
from tests.fakes.served import serving

__all__ = [
    "CLASSES",
    "CONFIG",
    "NOON",
    "SECRET",
    "SIZE_HW",
    "TAGS",
    "Clock",
    "box",
    "brush",
    "disc",
    "mask_in",
    "name_of",
    "point",
    "prediction_of",
    "predictions_of",
    "rectangle",
    "sample",
    "services",
    "talking",
]

CLASSES = ("cat", "dog")
CONFIG = labeling_config(CLASSES)
TAGS = read_config(CONFIG)
SIZE_HW = (80, 120)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "a-secret-of-some-length"
Row = dict[str, Any]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def name_of(number: int) -> str:
    return hashlib.sha256(f"sample {number}".encode()).hexdigest()


def sample(number: int) -> Sample:
    return Sample(name_of(number), Path(f"/nowhere/{number}.png"), SIZE_HW, "train", str(number))


def box(name: str) -> Instance:
    """What the machine finds in every picture."""
    mask = Mask.from_box(Box(10, 10, 30, 30), SIZE_HW)
    origin = Origin(OriginKind.MODEL, "start + brush")
    return Instance(name[:16], "cat", Box(10, 10, 30, 30), mask, origin, State.PROPOSED, confidence=0.75)


def services(known: int = 3, *, broken: Sequence[int] = (), **changes: Any) -> Services:
    """Of `known` samples those that are `broken` cannot be read."""
    samples = {name_of(number): sample(number) for number in range(known)}
    unreadable = {name_of(number) for number in broken}

    def read_image(one: Sample) -> Image:
        if one.id in unreadable:
            raise ImageUnreadable("is no longer an image", path=one.path)
        return np.zeros((*SIZE_HW, 3), dtype=np.uint8)

    def propose(images: Sequence[tuple[str, Image]]) -> list[tuple[Instance, ...] | DataError]:
        return [(box(name),) for name, _ in images]

    lent: dict[str, Any] = {
        "classes": CLASSES,
        "segmenter": BrushSegmenter(),
        "propose": propose,
        "model_version": lambda: "start + brush",
        "sample_of": samples.get,
        "read_image": read_image,
        "decode_image": lambda _: np.zeros((*SIZE_HW, 3), dtype=np.uint8),
        "queue": lambda: list(samples.values()),
        "now": Clock(),
    }
    return Services(**{**lent, **changes})


def point(name: str, x: float, y: float, positive: bool | None = True, label: str = "cat") -> Row:
    """A key point on the pixel in column x and row y, as the editor sends it."""
    row = _prompt(name, "keypointlabels", label, x=100 * (x + 0.5) / SIZE_HW[1], y=100 * (y + 0.5) / SIZE_HW[0])
    return row if positive is None else {**row, "is_positive": positive}


def rectangle(name: str, one: tuple[float, float, float, float], label: str = "cat") -> Row:
    x1, y1, x2, y2 = one
    height, width = SIZE_HW
    size = {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height, "rotation": 0}
    return _prompt(name, "rectanglelabels", label, x=100 * x1 / width, y=100 * y1 / height, **size)


def _prompt(name: str, kind: str, label: str, **value: float) -> Row:
    return {
        "id": name,
        "from_name": kind.removesuffix("labels"),
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        "original_width": SIZE_HW[1],
        "original_height": SIZE_HW[0],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
    }


def disc(x: float, y: float, radius: float = 6.0) -> Mask:
    ys, xs = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    return Mask.from_bitmap(np.hypot(xs - x, ys - y) <= radius)


def brush(name: str, mask: Mask, label: str = "cat") -> Row:
    """A region as Label Studio keeps it."""
    return brush_row(Region(name, label, "brush", mask), TAGS)


def mask_in(answer: dict[str, Any]) -> tuple[str, Mask]:
    """The one region of a prediction: its id and its mask."""
    [region] = read_regions(answer["result"], SIZE_HW)
    assert region.mask is not None
    return region.id, region.mask


@contextmanager
def talking(lent: Services, *, secret: str | None = None, limits: Limits | None = None) -> Iterator[httpx.Client]:
    """A client of a backend that is served on loopback."""
    auth = ("maskloop", secret) if secret is not None else None
    with (
        serving(application(lent, secret=secret, limits=limits)) as url,
        httpx.Client(base_url=url, auth=auth, trust_env=False, timeout=30) as client,
    ):
        yield client


def predictions_of(client: httpx.Client, tasks: Sequence[Row], context: Row | None = None) -> list[Row]:
    body = {"tasks": tasks, "project": "1.17", "label_config": CONFIG, "params": {"context": context}}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


def prediction_of(client: httpx.Client, task: Row, *rows: Row) -> Row:
    """The answer to prompts."""
    [answer] = predictions_of(client, [task], {"result": list(rows)})
    return answer
