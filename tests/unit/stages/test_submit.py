from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, Split, State
from pipeline.domain.rounds import Uncertainty
from pipeline.errors import BackendRejected, DataError, ShapeMismatch, SplitLeak
from pipeline.ports import Collected, TaskItem
from pipeline.stages.submit import submit
from tests.fakes.people import proposed, sample, task


class Office:
    """Makes a task for every item but those it forgets."""

    name = "office"

    def __init__(self, forgets: frozenset[str] = frozenset()) -> None:
        self.forgets = forgets
        self.calls = 0

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        self.calls += 1
        ids = [item.sample.id for item in items if item.sample.id not in self.forgets]
        return {key: f"task-{key[:6]}" for key in reversed(ids)}

    def collect(self, since: str | None) -> Iterator[Collected]:
        return iter(())


def test_every_item_gets_a_task_in_its_order_and_it_is_told() -> None:
    told = []
    items = [task([proposed("m", (1, 1, 9, 9))], "a"), task([], "b")]
    tasks = submit(items, Office(), lambda name, /, **data: told.append((name, data)))
    assert list(tasks) == [item.sample.id for item in items]
    assert tasks[sample("a").id] == f"task-{sample('a').id[:6]}"
    assert [name for name, _ in told] == ["submit.begin", "submit.end"]


def test_nothing_to_submit_bothers_nobody() -> None:
    office = Office()
    assert submit([], office) == {}
    assert office.calls == 0


@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_images_are_never_submitted(split: Split) -> None:
    of = sample("a", split)
    with pytest.raises(SplitLeak):
        submit([TaskItem(of, (), Uncertainty(of.id, 0.0, {}, 0), 1)], Office())


def test_an_item_that_comes_twice_is_an_error() -> None:
    with pytest.raises(DataError, match="twice"):
        submit([task([], "a"), task([], "a")], Office())


def test_a_mask_of_another_size_is_an_error() -> None:
    box = Box(0, 0, 5, 5)
    stranger = Instance(
        "m", "ring", box, Mask.from_box(box, (10, 10)), Origin(OriginKind.MODEL, "model"), State.PROPOSED
    )
    with pytest.raises(ShapeMismatch, match="mask m"):
        submit([task([stranger])], Office())


def test_an_item_left_out_by_the_annotator_is_an_error() -> None:
    with pytest.raises(BackendRejected, match="no task for 1 of 2"):
        submit([task([], "a"), task([], "b")], Office(frozenset([sample("b").id])))
