"""Somebody who answers at the fake Label Studio: keeps the first object, throws out the others, draws a new one."""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from connectors.label_studio.credentials import TOKEN
from connectors.label_studio.rle import encode_rle
from connectors.work_folder import read_json
from tests.fakes.label_studio import PERSONAL_TOKEN, FakeLabelStudio
from tests.fakes.people import SIZE_HW

__all__ = ["answer", "drawn_row", "settings"]


@functools.cache
def _fake() -> FakeLabelStudio:
    """One server that lasts as long as this process; every work folder has tasks of its own there."""
    fake = FakeLabelStudio()
    atexit.register(fake.away)
    return fake


def settings() -> Mapping[str, Any]:
    """For images that nobody looks at."""
    os.environ[TOKEN] = PERSONAL_TOKEN
    images = {"kind": "s3", "root": Path.cwd(), "prefix": "s3://bucket/images"}
    return {"url": _fake().url, "project": "people", "images": images}


def answer(work: Path) -> None:
    """Answer every task of the work folder that has no answer yet, always in the same way."""
    state, key = _fake().state, (read_json(work / "workspace.json") or {})["key"]
    busy = {row["task"] for row in state.annotations.values()}
    for number, task in state.tasks.items():
        if number not in busy and task["data"]["maskloop_key"].startswith(f"{key}/"):
            shown = task["predictions"][0]["result"]
            state.annotate(number, {"result": [*shown[:1], drawn_row()], "lead_time": 2.5})


def drawn_row(name: str = "drawn", label: str = "ring") -> dict[str, Any]:
    """A region as the brush makes it."""
    bitmap = np.zeros(SIZE_HW, dtype=bool)
    bitmap[5:20, 50:60] = True
    return {
        "id": name,
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "origin": "manual",
        "original_width": SIZE_HW[1],
        "original_height": SIZE_HW[0],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": list(encode_rle(bitmap)), "brushlabels": [label]},
    }
