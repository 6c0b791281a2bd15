from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, State
from pipeline.errors import DataError, ShapeMismatch, SplitLeak
from pipeline.ports import Collected, NoAnswer, TaskItem
from pipeline.stages.collect import Refused, collect
from tests.fakes.people import CLASSES, NOW, SIZE_HW, sample

PERSON = Origin(OriginKind.HUMAN, "ada")
BOX = Box(1, 1, 9, 9)
DRAWN = Instance("m", "ring", BOX, Mask.from_box(BOX, SIZE_HW), PERSON, State.DRAWN)
GOOD = Annotation(sample("a").id, 0, (DRAWN,), PERSON, 1, NOW, 4.0)


class Inbox:
    name = "inbox"

    def __init__(self, *annotations: Annotation) -> None:
        self.answers = [Collected(item, f"t{index}", str(index)) for index, item in enumerate(annotations)]

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        return {}

    def collect(self, since: str | None) -> Iterator[Collected | NoAnswer]:
        yield from self.answers[0 if since is None else int(since) + 1 :]


def collected(*annotations: Annotation, since: str | None = None) -> list[Collected | NoAnswer | Refused]:
    samples = {sample("a").id: sample("a"), "e" * 64: replace(sample("a"), id="e" * 64, split="val")}
    return list(collect(Inbox(*annotations), since, sample_of=samples.get, classes=CLASSES))


def test_good_answers_pass_unchanged() -> None:
    empty = replace(GOOD, instances=(), size_hw=SIZE_HW)
    assert collected(GOOD, empty) == [Collected(GOOD, "t0", "0"), Collected(empty, "t1", "1")]


def test_the_cursor_is_passed_on() -> None:
    assert [answer.cursor for answer in collected(GOOD, GOOD, GOOD, since="0")] == ["1", "2"]


OTHER_SIZE = (SIZE_HW[0] + 1, SIZE_HW[1])


@pytest.mark.parametrize(
    ("annotation", "error", "reason"),
    [
        (replace(GOOD, sample_id="f" * 64), DataError, "does not know"),
        (replace(GOOD, sample_id="e" * 64), SplitLeak, "held-out split 'val'"),
        (replace(GOOD, instances=(replace(DRAWN, label="disc"),)), DataError, "'disc' is no class"),
        (replace(GOOD, origin=Origin(OriginKind.MODEL, "yolo")), DataError, "not by a person"),
        (replace(GOOD, instances=(), size_hw=OTHER_SIZE), ShapeMismatch, "the image is"),
        (
            replace(GOOD, instances=(replace(DRAWN, mask=Mask.from_box(BOX, OTHER_SIZE)),)),
            ShapeMismatch,
            "mask m is",
        ),
    ],
)
def test_a_bad_answer_is_refused_with_its_reason_and_the_next_still_come(
    annotation: Annotation, error: type[DataError], reason: str
) -> None:
    refused, passed = collected(annotation, GOOD)
    assert isinstance(refused, Refused)
    assert (refused.sample_id, refused.task_id, refused.cursor) == (annotation.sample_id, "t0", "0")
    assert type(refused.error) is error
    assert reason in str(refused.error)
    assert passed == Collected(GOOD, "t1", "1")


def test_answers_are_drawn_one_at_a_time() -> None:
    class Endless(Inbox):
        def collect(self, since: str | None) -> Iterator[Collected | NoAnswer]:
            yield Collected(GOOD, "t0", "0")
            pytest.fail("the second answer was worked out for nothing")

    samples = {sample("a").id: sample("a")}
    assert next(collect(Endless(), None, sample_of=samples.get, classes=CLASSES)) == Collected(GOOD, "t0", "0")


def test_what_happens_is_told() -> None:
    told: list[str] = []
    samples = {sample("a").id: sample("a")}
    inbox = Inbox(GOOD, replace(GOOD, sample_id="f" * 64))
    list(
        collect(
            inbox, None, sample_of=samples.get, classes=CLASSES, emit=lambda name, /, **data: told.append(name)
        )
    )
    assert told == ["collect.answer", "collect.refused"]


def test_no_answer_is_passed_on() -> None:
    skipped = NoAnswer(sample("a").id, "t0", "0", "ada", NOW, "skipped")

    class Passing(Inbox):
        def collect(self, since: str | None) -> Iterator[Collected | NoAnswer]:
            yield skipped

    samples = {sample("a").id: sample("a")}
    assert list(collect(Passing(), None, sample_of=samples.get, classes=CLASSES)) == [skipped]
