"""What changed from one dataset version to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, Split, State
from pipeline.services.difference import Tally, difference
from tests.fakes.store import SIZE_HW, instance, sample_id


def entry(number: int, *instances: Instance, split: Split = "train") -> DatasetEntry:
    return DatasetEntry(sample_id(number), SIZE_HW, split, "g", 1, instances)


def shaped(name: str, columns: slice, label: str = "cat") -> Instance:
    """Ten rows high."""
    bitmap = np.zeros(SIZE_HW, dtype=np.bool_)
    bitmap[2:12, columns] = True
    mask = Mask.from_bitmap(bitmap)
    assert mask.box is not None
    return replace(instance(name), label=label, mask=mask, box=mask.box)


ONE, TWO = shaped("one", slice(0, 10)), shaped("two", slice(15, 25), "dog")


def test_a_version_and_itself() -> None:
    found = difference([entry(1, ONE, TWO), entry(2)], [entry(2), entry(1, TWO, ONE)])
    assert found.is_empty
    assert found.images == Tally(2, 2)
    assert found.instances == Tally(2, 2)
    assert (found.changes, found.mean_iou, found.retold) == ((), None, 0)


def test_images_come_go_change_and_move() -> None:
    before = [entry(1, ONE), entry(2, TWO), entry(3), entry(4, ONE)]
    after = [entry(2), entry(3, split="val"), entry(4, ONE), entry(5, TWO, split="val")]
    found = difference(before, after)
    assert found.images == Tally(4, 4, added=1, removed=1, changed=1)
    assert found.images_by_split == {
        "train": Tally(4, 2, added=0, removed=2, changed=1),
        "val": Tally(0, 2, added=2),
    }
    assert found.moved == 1
    assert found.instances == Tally(3, 2, added=1, removed=2)
    assert found.instances_by_class == {"cat": Tally(2, 1, removed=1), "dog": Tally(1, 1, added=1, removed=1)}


def test_an_object_is_known_by_its_id_whatever_its_shape() -> None:
    moved = shaped("one", slice(20, 30))
    (change,) = difference([entry(1, ONE)], [entry(1, moved)]).changes
    assert (change.kind, change.iou, change.extent) == ("changed", 0.0, 1.0)


def test_an_object_with_another_id_is_known_by_its_shape() -> None:
    alike, apart = shaped("new", slice(0, 8)), shaped("other", slice(6, 16))
    found = difference([entry(1, ONE)], [entry(1, alike, apart)])
    assert [(change.kind, change.iou, change.either.id) for change in found.changes] == [
        ("changed", pytest.approx(0.8), "new"),
        ("added", None, "other"),
    ]
    assert found.reshaped == 1
    assert found.mean_iou == pytest.approx(0.8)


def test_labels_and_states_that_changed() -> None:
    before = [entry(1, ONE, TWO), entry(2, ONE)]
    after = [entry(1, replace(ONE, label="dog"), TWO), entry(2, replace(ONE, state=State.EDITED))]
    found = difference(before, after)
    assert found.relabelled == {("cat", "dog"): 1}
    assert found.restated == {("accepted", "edited"): 1}
    assert found.instances_by_class == {"cat": Tally(2, 1, changed=1), "dog": Tally(1, 2, changed=1)}
    assert found.instances_by_state == {"accepted": Tally(3, 2, changed=1), "edited": Tally(0, 1, changed=1)}
    assert (found.reshaped, found.mean_iou) == (0, None)
    assert [change.extent for change in found.changes] == [1.0, 0.0]


def test_what_is_only_told_of_anew_is_no_change() -> None:
    anew = replace(ONE, origin=Origin(OriginKind.HUMAN, "bob"), clicks=3)
    found = difference([entry(1, ONE)], [entry(1, anew)])
    assert found.is_empty
    assert found.retold == 1


def test_the_most_changed_masks_come_first() -> None:
    before = [entry(1, ONE, TWO, shaped("three", slice(28, 30)))]
    after = [
        entry(1, shaped("one", slice(0, 9)), shaped("two", slice(15, 20), "dog"), shaped("four", slice(26, 27)))
    ]
    found = difference(before, after)
    assert [(change.either.id, change.kind) for change in found.changes] == [
        ("two", "changed"), ("one", "changed"), ("three", "removed"), ("four", "added"),
    ]  # fmt: skip
