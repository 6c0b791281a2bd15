"""An exported file at the real server: it is imported, and what the server exports is read back to the pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from connectors.label_studio.client import Client
from connectors.label_studio.files import TaskLabels, read_tasks, write_tasks
from connectors.label_studio.starting import Studio
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.formats.labels import LabelledImage

SIZE_HW = (30, 44)


def instance(seed: int, state: State, kind: OriginKind) -> Instance:
    mask = Mask.from_bitmap(np.random.default_rng(seed).random(SIZE_HW) < 0.3)
    return Instance(
        f"i{seed}", "cat", mask.box or Box(0, 0, 1, 1), mask, Origin(kind, "x"), state, confidence=0.25
    )


def test_it_is_imported_and_comes_back(studio: Studio, token: str, tmp_path: Path) -> None:
    drawn = instance(1, State.DRAWN, OriginKind.HUMAN), instance(2, State.EDITED, OriginKind.HUMAN)
    guess = instance(3, State.PROPOSED, OriginKind.MODEL)
    images = [
        LabelledImage("images/train/x.png", SIZE_HW, "train", (*drawn, guess)),
        LabelledImage("images/val/nothing.png", SIZE_HW, "val", ()),
    ]
    written = write_tasks(images, ["cat", "dog"])
    client = Client(studio.url, token)
    fields = {"title": "files both ways", "label_config": written["labeling.xml"].decode()}
    project = client.create("/api/projects/", fields, "make a project")["id"]
    assert len(client.import_tasks(project, json.loads(written["tasks.json"]))) == 2
    export = client.get(f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true", "export")
    (tmp_path / "export.json").write_text(json.dumps(export))
    read = read_tasks(tmp_path / "export.json")
    found = {task.image: list(task.shapes(SIZE_HW)) for task in read.tasks if isinstance(task, TaskLabels)}
    assert found == {"x.png": [("cat", None, item.mask) for item in drawn], "nothing.png": []}
    assert read.predictions == 1
