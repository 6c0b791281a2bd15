"""Masks for imported boxes: each made once, and none that was made for another box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from connectors.executors import serial
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, State
from pipeline.services.boxes import BoxMasks
from pipeline.shelf import Predictions, Shelf
from pipeline.store.workspace import Workspace
from tests.fakes.people import resources
from tests.fakes.store import NOON, SIZE_HW, ingested, sample_id

KEY = sample_id(1)
FILE = Origin(OriginKind.IMPORTED, "labels.json")


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    workspace.ledger.samples.add([ingested(1, labels=boxed(Box(1, 1, 5, 5)))])
    return workspace


def boxed(*boxes: Box) -> tuple[Instance, ...]:
    """As a label file gives them: ids are their places in it."""
    return tuple(
        Instance(f"labels-{index}", "cat", box, None, FILE, State.ACCEPTED) for index, box in enumerate(boxes)
    )


class Segmenting:
    """Fills each box, and counts the boxes."""

    def __init__(self, workspace: Workspace) -> None:
        self.asked = 0
        executor = serial.build(serial.Settings(), resources(workspace.root))
        shelf = Shelf(workspace, lambda: executor, lambda _: pytest.fail("no image is read"), batch=4, emit=silent)
        self.boxes = BoxMasks(workspace.ledger, shelf)

    def make(self) -> str | None:
        return self.boxes.make(self._fill, lambda: ["a segmenter"])

    def _fill(self, boxes: Mapping[str, Sequence[Proposal]]) -> dict[str, Predictions]:
        self.asked += sum(map(len, boxes.values()))
        return {
            key: [MaskPrediction(Mask.from_box(row.box, SIZE_HW), 1.0, 1.0, None) for row in rows]
            for key, rows in boxes.items()
        }


def silent(_: str, /, **__: object) -> None:
    pass


def test_masks_are_made_once(workspace: Workspace) -> None:
    segmenting = Segmenting(workspace)
    name = segmenting.make()
    assert segmenting.make() == name
    assert segmenting.asked == 1
    found = segmenting.boxes.find(name)
    assert found(KEY, "labels-0") == Mask.from_box(Box(1, 1, 5, 5), SIZE_HW)
    assert found(KEY, "labels-1") is None


@pytest.mark.parametrize("later", [(Box(2, 2, 9, 9),), (Box(2, 2, 9, 9), Box(12, 3, 20, 8))])
def test_boxes_that_are_imported_later_have_masks_of_their_own(
    workspace: Workspace, later: tuple[Box, ...]
) -> None:
    segmenting = Segmenting(workspace)
    name = segmenting.make()
    workspace.ledger.annotations.append(Annotation(KEY, 0, boxed(*later), FILE, 0, NOON))
    assert segmenting.boxes.find(name)(KEY, "labels-0") is None, "nothing was made for it yet"
    again = segmenting.make()
    for index, box in enumerate(later):
        assert segmenting.boxes.find(again)(KEY, f"labels-{index}") == Mask.from_box(box, SIZE_HW)


def test_labels_with_masks_need_none(workspace: Workspace) -> None:
    mask = Mask.from_box(Box(1, 1, 5, 5), SIZE_HW)
    whole = tuple(replace(item, mask=mask) for item in boxed(Box(1, 1, 5, 5)))
    workspace.ledger.annotations.append(Annotation(KEY, 0, whole, FILE, 0, NOON))
    assert Segmenting(workspace).make() is None
