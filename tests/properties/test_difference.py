"""Whatever two versions hold: the numbers of their difference add up, and its mirror image is that of the way back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Split, State
from pipeline.services.difference import difference
from tests.fakes.store import SIZE_HW, instance, sample_id

_IDS = st.sampled_from("abcdef")
_SPLITS: st.SearchStrategy[Split] = st.sampled_from(("train", "val"))


@st.composite
def _instance(draw: st.DrawFn, name: str) -> Instance:
    left, top = draw(st.integers(0, 20)), draw(st.integers(0, 10))
    width, height = draw(st.integers(1, 10)), draw(st.integers(1, 10))
    bitmap = np.zeros(SIZE_HW, dtype=np.bool_)
    bitmap[top : top + height, left : left + width] = True
    mask = Mask.from_bitmap(bitmap)
    assert mask.box is not None
    label, state = draw(st.sampled_from(["cat", "dog"])), draw(st.sampled_from([State.ACCEPTED, State.EDITED]))
    return replace(instance(name, state), label=label, mask=mask, box=mask.box)


@st.composite
def versions(draw: st.DrawFn) -> list[DatasetEntry]:
    entries = []
    for number in sorted(draw(st.sets(st.integers(1, 4)))):
        instances = tuple(draw(_instance(name)) for name in sorted(draw(st.sets(_IDS, max_size=4))))
        entries.append(DatasetEntry(sample_id(number), SIZE_HW, draw(_SPLITS), "g", 1, instances))
    return entries


@given(versions(), versions())
def test_the_numbers_add_up(before: list[DatasetEntry], after: list[DatasetEntry]) -> None:
    found = difference(before, after)
    kinds = Counter(change.kind for change in found.changes)
    for tally in (found.images, found.instances):
        assert tally.before + tally.added - tally.removed == tally.after
    assert found.instances.before == sum(len(entry.instances) for entry in before)
    assert found.instances.after == sum(len(entry.instances) for entry in after)
    for groups in (found.instances_by_class, found.instances_by_state):
        for name in ("before", "after", "added", "removed", "changed"):
            assert sum(getattr(tally, name) for tally in groups.values()) == getattr(found.instances, name)
    assert kinds == Counter(
        {name: count for name in ("added", "removed", "changed") if (count := getattr(found.instances, name))}
    )
    for name, tally in found.instances_by_class.items():
        came = sum(count for (_, label), count in found.relabelled.items() if label == name)
        left = sum(count for (label, _), count in found.relabelled.items() if label == name)
        assert tally.before + tally.added - tally.removed + came - left == tally.after


@given(versions(), versions())
def test_the_way_back(before: list[DatasetEntry], after: list[DatasetEntry]) -> None:
    there, back = difference(before, after), difference(after, before)
    assert (there.instances.added, there.instances.removed) == (back.instances.removed, back.instances.added)
    assert (there.moved, there.reshaped, there.instances.changed) == (
        back.moved,
        back.reshaped,
        back.instances.changed,
    )
    assert there.restated == {(other, one): count for (one, other), count in back.restated.items()}


@given(versions())
def test_nothing_changes_from_a_version_to_itself(version: list[DatasetEntry]) -> None:
    assert difference(version, version).is_empty
