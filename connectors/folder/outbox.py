"""What people get: one folder a task, with the image, a COCO file and a preview."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from connectors.folder.coco import task_json
from connectors.folder.preview import draw_preview
from connectors.tasks import Task
from connectors.work_folder import atomic_copy, atomic_write
from pipeline.domain.geometry import Image
from pipeline.errors import BackendRejected

__all__ = ["Outbox"]

_SIGNATURES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png"}
"""The first bytes of formats that every tool reads."""


class Outbox:
    """Folders that appear whole or not at all."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self._folder = folder
        self._classes = tuple(classes)

    def publish(self, task: Task, source: Path, image: Image) -> None:
        """Make the task's folder, unless it is there. `source` is the file of `image`, the canonical frame."""
        folder = self._folder / task.id
        if not folder.exists():
            _make_whole(folder, lambda draft: self._fill(draft, task, source, image))

    def _fill(self, draft: Path, task: Task, source: Path, image: Image) -> None:
        suffix = _suffix(source)
        name = f"{task.id}{suffix or '.png'}"
        # A copy, and no hard link: tools that save into the image must not reach the original.
        if suffix is not None:
            atomic_copy(source, draft / name)
        else:
            atomic_write(draft / name, _png(image))
        atomic_write(draft / "instances.json", task_json(task, name, self._classes))
        atomic_write(draft / "preview.png", _png(draw_preview(image, task.instances, self._classes)))


def _make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        fill(draft)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _suffix(source: Path) -> str | None:
    """What a file is by its content, whatever its name says; None where it has to be written anew as PNG."""
    if not source.is_file():
        return None
    with source.open("rb") as opened:
        head = opened.read(16)
    return next((suffix for signature, suffix in _SIGNATURES.items() if head.startswith(signature)), None)


def _png(image: Image) -> bytes:
    written, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not written:
        raise BackendRejected("OpenCV made no PNG", backend="folder", operation="write an image")
    return np.asarray(data, dtype=np.uint8).tobytes()
