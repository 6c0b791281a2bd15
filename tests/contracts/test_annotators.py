"""What every annotator promises. A new file in the folder is tested without an edit here.

Peers that need something absent, a server for one, are skipped with what they say they need. A peer that waits
for people has somebody in `tests/fakes/answers_<kind>.py`: `answer(work)` answers whatever is asked, and `settings()`,
if it is there, are the settings of a peer that cannot do without.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import annotators
from pipeline.domain.records import OriginKind, State
from pipeline.errors import BackendUnavailable, ConfigError
from pipeline.ports import Annotator, Collected, NoAnswer, TaskItem, Unusable
from tests.fakes.people import SIZE_HW, answers_of, proposed, resources, sample, task, true

KINDS = sorted(module.name for module in pkgutil.iter_modules(annotators.__path__))
TRUTH = {
    "a": [true("t1", (5, 5, 25, 25)), true("t2", (40, 10, 60, 40), "star")],
    "b": [true("t3", (10, 20, 30, 50), "star")],
    "c": [],
}
ITEMS = [
    task([proposed("m1", (5, 5, 25, 25)), proposed("m2", (60, 50, 75, 60))], "a"),
    task([proposed("m3", (10, 20, 28, 48))], "b"),
    task([], "c"),
]


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest) -> Any:
    peer = importlib.import_module(f"connectors.annotators.{request.param}")
    for packages in peer.REQUIRES.values():
        for package in packages:
            pytest.importorskip(package, reason=f"{request.param} needs {package}")
    return peer


class Answered:
    """An annotator that waits for people, and somebody who answers as soon as it asks."""

    def __init__(self, annotator: Annotator, answer: Callable[[Path], None], work: Path) -> None:
        self.name = annotator.name
        self._annotator = annotator
        self._answer = answer
        self._work = work

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        tasks = self._annotator.submit(items)
        self._answer(self._work)
        return tasks

    def collect(self, since: str | None) -> Iterator[Collected | NoAnswer | Unusable]:
        return self._annotator.collect(since)


def build(module: Any, work: Path) -> Annotator:
    name = f"tests.fakes.answers_{module.__name__.rpartition('.')[2]}"
    somebody = importlib.import_module(name) if importlib.util.find_spec(name) is not None else None
    try:
        settings = module.Settings(**getattr(somebody, "settings", dict)())
        annotator: Annotator = module.build(settings, resources(work, TRUTH))
    except (BackendUnavailable, ConfigError, ValidationError) as exc:
        pytest.skip(f"{module.__name__} cannot be built here: {exc}")
    return annotator if somebody is None else Answered(annotator, somebody.answer, work)


@pytest.fixture
def annotator(module: Any, tmp_path: Path) -> Annotator:
    return build(module, tmp_path)


def said(answers: list[Collected]) -> list[tuple[str, str, object]]:
    return [(answer.task_id, answer.cursor, answer.annotation) for answer in answers]


def test_every_item_gets_its_own_task(annotator: Annotator) -> None:
    tasks = annotator.submit(ITEMS)
    assert list(tasks) == [item.sample.id for item in ITEMS]
    assert len(set(tasks.values())) == len(ITEMS)


def test_asking_twice_makes_one_task(annotator: Annotator) -> None:
    assert annotator.submit(ITEMS) == annotator.submit(ITEMS)
    answers = list(answers_of(annotator))
    assert len({answer.task_id for answer in answers}) == len(answers) <= len(ITEMS)


def test_before_anything_is_submitted_there_is_nothing_to_collect(annotator: Annotator) -> None:
    assert list(answers_of(annotator)) == []


def test_everything_that_was_answered_is_collected(annotator: Annotator) -> None:
    tasks = annotator.submit(ITEMS)
    assert sorted(answer.task_id for answer in answers_of(annotator)) == sorted(tasks.values())


def test_answers_belong_to_their_tasks_and_are_by_people(annotator: Annotator) -> None:
    tasks = annotator.submit(ITEMS)
    for answer in answers_of(annotator):
        annotation = answer.annotation
        assert answer.task_id == tasks[annotation.sample_id]
        assert annotation.origin.kind is OriginKind.HUMAN
        assert annotation.round == 1
        assert annotation.seconds >= 0
        assert all(item.origin.kind is OriginKind.HUMAN for item in annotation.instances)
        assert all(item.state is not State.PROPOSED for item in annotation.instances)
        assert all(item.mask is None or item.mask.size_hw == SIZE_HW for item in annotation.instances)


def test_shown_instances_keep_their_ids(annotator: Annotator) -> None:
    annotator.submit(ITEMS)
    shown = {item.sample.id: {instance.id for instance in item.instances} for item in ITEMS}
    for answer in answers_of(annotator):
        answered = {instance.id for instance in answer.annotation.instances}
        assert shown[answer.annotation.sample_id] <= answered


def test_a_cursor_goes_on_after_its_answer(annotator: Annotator) -> None:
    annotator.submit(ITEMS)
    answers = list(answers_of(annotator))
    for index, answer in enumerate(answers):
        assert said(list(answers_of(annotator, answer.cursor))) == said(answers[index + 1 :])


def test_a_later_process_collects_what_an_earlier_one_submitted(module: Any, tmp_path: Path) -> None:
    earlier = build(module, tmp_path)
    earlier.submit(ITEMS)
    assert said(list(answers_of(build(module, tmp_path)))) == said(list(answers_of(earlier)))


def test_collecting_may_stop_anywhere(annotator: Annotator) -> None:
    annotator.submit(ITEMS)
    whole = said(list(answers_of(annotator)))
    cursor, pieces = None, []
    while (answer := next(answers_of(annotator, cursor), None)) is not None:
        pieces.append(answer)
        cursor = answer.cursor
    assert said(pieces) == whole


def test_what_was_submitted_later_is_collected_later(annotator: Annotator) -> None:
    annotator.submit(ITEMS[2:])
    annotator.submit(ITEMS[:2])
    order = [answer.annotation.sample_id for answer in answers_of(annotator)]
    assert order == [sample(name).id for name in ("c", "a", "b")][: len(order)]


def test_settings_are_closed(module: Any) -> None:
    with pytest.raises(ValidationError, match="no_such_setting"):
        module.Settings(no_such_setting=1)
