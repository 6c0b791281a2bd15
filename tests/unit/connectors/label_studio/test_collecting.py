"""Answers: every one once, whoever gives it, whenever it changes, and whatever clocks say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.annotators import label_studio
from connectors.label_studio.client import Client
from connectors.work_folder import read_json
from pipeline.domain.records import Instance, State
from pipeline.errors import BackendRejected, DataError
from pipeline.ports import Annotator, Collected, NoAnswer, TaskItem, Unusable
from tests.fakes.answers_label_studio import drawn_row
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.people import NOW, proposed, resources, sample, task

FIRST, SECOND = "person@example.org", "second@example.org"
ITEMS = [task([proposed("m1", (5, 5, 25, 25)), proposed("m2", (60, 50, 75, 60))], "a"), task([], "b")]


class Room:
    """A workspace beside a server: every `collect` is a new process's, some time after the last."""

    def __init__(self, fake: FakeLabelStudio, client: Client, work: Path) -> None:
        self.fake = fake
        self.state = fake.state
        self.work = work
        self.cursor: str | None = None
        self._client = client
        self._now = NOW
        self.state.users.append({"id": 2, "email": SECOND, "username": "", "first_name": ""})

    def annotator(self) -> Annotator:
        images = {"kind": "s3", "root": Path.cwd(), "prefix": "s3://bucket"}
        settings = label_studio.Settings.model_validate(
            {"url": self.fake.url, "project": "rings", "images": images}
        )
        lent = replace(resources(self.work), now=lambda: self._now)
        return label_studio.build(settings, lent, client=self._client)

    def submit(self, items: list[TaskItem] = ITEMS) -> list[int]:
        """Task numbers as Label Studio counts them."""
        known = set(self.state.tasks)
        self.annotator().submit(items)
        return [number for number in self.state.tasks if number not in known]

    def collect(self, later: timedelta = timedelta(hours=1)) -> list[Any]:
        self._now += later
        return list(self._collect())

    def _collect(self) -> Iterator[Any]:
        for said in self.annotator().collect(self.cursor):
            if isinstance(said, (Collected, NoAnswer)):
                self.cursor = said.cursor
            yield said


@pytest.fixture
def room(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> Room:
    return Room(fake, client, tmp_path)


def summary(said: list[Any]) -> list[tuple[str, ...]]:
    """What people have said, briefly: who, and the states of the objects or why there are none."""
    rows: list[tuple[str, ...]] = []
    for one in said:
        if isinstance(one, NoAnswer):
            rows.append((one.author, one.reason))
        elif isinstance(one, Collected):
            annotation = one.annotation
            rows.append((annotation.origin.name, *(instance.state.value for instance in annotation.instances)))
        else:
            rows.append(("unusable", one.reason))
    return rows


def test_an_answer_is_the_persons_with_states_and_seconds(room: Room) -> None:
    first, _ = room.submit()
    shown = room.state.tasks[first]["predictions"][0]["result"]
    made = room.state.annotate(first, {"result": [shown[0], drawn_row()], "lead_time": 7.5})
    (said,) = room.collect()
    annotation = said.annotation
    assert annotation.sample_id == sample("a").id
    assert (annotation.origin.name, annotation.seconds, annotation.round) == (FIRST, 7.5, 1)
    assert annotation.created_at.isoformat() == made["updated_at"].replace("Z", "+00:00")
    assert [one.state for one in annotation.instances] == [State.ACCEPTED, State.REJECTED, State.DRAWN]
    kept: Instance = annotation.instances[0]
    assert (kept.id, kept.mask) == ("m1", ITEMS[0].instances[0].mask)


def test_nothing_was_seen_is_an_answer(room: Room) -> None:
    _, second = room.submit()
    room.state.annotate(second, {"result": []})
    assert summary(room.collect()) == [(FIRST,)]


def test_drafts_and_left_prompts_are_no_answers(room: Room) -> None:
    first, second = room.submit()
    room.state.draft(first, {"result": [drawn_row()]})
    assert room.collect() == []
    prompt = {**drawn_row("k"), "type": "keypointlabels", "from_name": "keypoint"}
    prompt["value"] = {"x": 5, "y": 5, "width": 0.2, "keypointlabels": ["ring"]}
    room.state.annotate(second, {"result": [prompt, drawn_row()]})
    assert summary(room.collect()) == [(FIRST, "drawn")]


def test_every_answer_comes_once(room: Room) -> None:
    for number in room.submit():
        room.state.annotate(number, {"result": [drawn_row()]})
    assert len(room.collect()) == 2
    assert room.collect() == room.collect() == []


def test_what_was_read_is_not_read_again(room: Room) -> None:
    for number in room.submit():
        room.state.annotate(number, {"result": [drawn_row()]})
    for _ in range(3):
        room.collect()
    reads = [count for key, count in room.fake.faults.seen.items() if key.startswith("GET /api/annotations/")]
    assert reads == [1, 1]


def test_a_change_is_a_new_answer_and_a_touch_is_none(room: Room) -> None:
    first, _ = room.submit()
    made = room.state.annotate(first, {"result": [drawn_row()]})
    assert len(room.collect()) == 1
    room.state.change_annotation(made["id"], {"ground_truth": True})
    assert room.collect() == []
    room.state.change_annotation(made["id"], {"result": []})
    assert summary(room.collect()) == [(FIRST, "rejected", "rejected")]
    room.state.change_annotation(made["id"], {"result": [drawn_row()]})
    assert summary(room.collect()) == [(FIRST, "rejected", "rejected", "drawn")]


def test_several_people_are_several_answers_newest_last(room: Room) -> None:
    _, second = room.submit()
    by_first = room.state.annotate(second, {"result": []})
    room.state.annotate(second, {"result": [drawn_row()]}, by=2)
    assert summary(room.collect()) == [(FIRST,), (SECOND, "drawn")]
    room.state.change_annotation(by_first["id"], {"result": [drawn_row("other", "star")]})
    assert summary(room.collect()) == [(FIRST, "drawn")]


def test_a_skip_closes_a_task_unless_somebody_answered(room: Room) -> None:
    first, second = room.submit()
    room.state.annotate(first, {"was_cancelled": True}, by=2)
    assert summary(room.collect()) == [(SECOND, "skipped")]
    room.state.annotate(first, {"result": []})
    assert summary(room.collect()) == [(FIRST, "rejected", "rejected")]
    room.state.annotate(second, {"result": []})
    room.state.annotate(second, {"was_cancelled": True}, by=2)
    assert summary(room.collect()) == [(FIRST,)]


def test_an_answer_that_became_a_skip_is_taken_back(room: Room) -> None:
    _, second = room.submit()
    room.state.annotate(second, {"result": []}, by=2)
    mine = room.state.annotate(second, {"result": [drawn_row()]})
    room.collect()
    room.state.change_annotation(mine["id"], {"was_cancelled": True})
    assert summary(room.collect()) == [(FIRST, "retracted"), (SECOND,)]


def test_a_deleted_answer_leaves_the_newest_other_else_nothing(room: Room) -> None:
    _, second = room.submit()
    older = room.state.annotate(second, {"result": []}, by=2)
    newer = room.state.annotate(second, {"result": [drawn_row()]})
    assert len(room.collect()) == 2
    room.state.delete_annotation(newer["id"])
    assert summary(room.collect()) == [(FIRST, "retracted"), (SECOND,)]
    room.state.delete_annotation(older["id"])
    assert summary(room.collect()) == [("label_studio", "withdrawn")]
    room.state.annotate(second, {"result": [drawn_row()]})
    assert summary(room.collect()) == [(FIRST, "drawn")]


def test_deleting_an_older_answer_takes_back_what_its_author_said(room: Room) -> None:
    _, second = room.submit()
    older = room.state.annotate(second, {"result": []}, by=2)
    room.state.annotate(second, {"result": [drawn_row()]})
    room.collect()
    room.state.delete_annotation(older["id"])
    assert summary(room.collect()) == [(SECOND, "retracted"), (FIRST, "drawn")]
    assert room.collect() == []


def test_an_answer_that_goes_while_another_comes_is_taken_back_all_the_same(room: Room) -> None:
    _, second = room.submit()
    mine = room.state.annotate(second, {"result": []})
    room.collect()
    room.state.delete_annotation(mine["id"])
    room.state.annotate(second, {"result": [drawn_row()]}, by=2)
    found = summary(room.collect())
    assert (FIRST, "retracted") in found
    assert found[-1] == (SECOND, "drawn")
    assert room.collect() == []


def test_who_deletes_one_of_two_answers_said_the_other(room: Room) -> None:
    _, second = room.submit()
    room.state.annotate(second, {"result": [drawn_row()]})
    again = room.state.annotate(second, {"result": []})
    room.state.annotate(second, {"result": []}, by=2)
    room.collect()
    room.state.delete_annotation(again["id"])
    newest = {row[0]: row[1:] for row in summary(room.collect())}
    assert newest[FIRST] == ("drawn",)


def test_a_deleted_task_will_not_be_answered(room: Room) -> None:
    first, second = room.submit()
    room.state.annotate(first, {"result": []})
    assert len(room.collect()) == 1
    room.state.delete_task(first)
    room.state.delete_task(second)
    (said,) = room.collect()
    assert (said.sample_id, said.reason) == (sample("b").id, "skipped")
    assert room.collect() == []


def test_a_row_that_a_listing_missed_is_no_deleted_task(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.submit()
    find = room.state.find

    def missing(project: int, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = find(project, filters)
        return found[1:] if len(found) == 2 else found

    monkeypatch.setattr(room.state, "find", missing)
    assert room.collect() == []


def test_an_account_that_is_gone_is_no_obstacle(room: Room) -> None:
    first, second = room.submit()
    room.state.annotate(first, {"result": []}, by=7)
    room.state.annotate(second, {"result": []})["completed_by"] = None
    assert summary(room.collect()) == [("user 7", "rejected", "rejected"), ("label_studio",)]


def test_what_cannot_be_read_is_told_and_the_task_stays_open(room: Room) -> None:
    first, second = room.submit()
    torn = drawn_row()
    torn["value"]["rle"] = torn["value"]["rle"][:9]
    made = room.state.annotate(first, {"result": [torn]})
    room.state.annotate(second, {"result": []})
    told, said = room.collect()
    assert isinstance(told, Unusable)
    assert told.what.endswith(f"/data?task={first}")
    assert "region 'drawn' cannot be read" in told.reason
    assert isinstance(said, Collected)
    room.state.change_annotation(made["id"], {"result": [drawn_row()]})
    assert summary(room.collect()) == [(FIRST, "rejected", "rejected", "drawn")]


def test_one_process_tells_of_it_once(room: Room) -> None:
    first, _ = room.submit()
    room.state.annotate(first, {"result": [{"id": "x"}]})
    annotator = room.annotator()
    assert len(list(annotator.collect(None))) == 1
    assert list(annotator.collect(None)) == []


def test_an_answer_deleted_between_list_and_read_waits_for_the_next_look(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = room.submit()
    made = room.state.annotate(first, {"result": []})
    del room.state.annotations[made["id"]]
    shown = room.state.shown
    stub = {"annotations": [{"id": made["id"], "updated_at": made["updated_at"]}]}
    monkeypatch.setattr(room.state, "shown", lambda row, include: shown(row, include) | stub)
    assert room.collect() == []


@pytest.mark.parametrize("turn", [timedelta(days=400), timedelta(days=-400)])
def test_a_clock_that_is_turned_loses_nothing(room: Room, turn: timedelta) -> None:
    first, second = room.submit()
    room.state.annotate(first, {"result": []})
    assert len(room.collect()) == 1
    room.state.clock += turn
    room.state.annotate(second, {"result": []})
    assert len(room.collect()) == 1
    room.state.clock -= turn
    room.state.annotate(second, {"result": [drawn_row()]}, by=2)
    assert summary(room.collect()) == [(SECOND, "drawn")]


def test_while_people_work_only_changes_are_listed(room: Room) -> None:
    first, second = room.submit()
    room.collect()
    room.state.clock += timedelta(hours=1)
    room.state.annotate(first, {"result": []})
    room.collect(later=timedelta(seconds=5))
    before = sum(room.fake.faults.seen.values())
    assert room.collect(later=timedelta(seconds=5)) == []
    assert sum(room.fake.faults.seen.values()) - before == 2  # the project, and one list
    room.state.annotate(second, {"result": []})
    assert len(room.collect(later=timedelta(seconds=5))) == 1


def test_two_tasks_with_one_key_are_one_task(room: Room) -> None:
    """A slow server has finished an import that nobody waited for any more."""
    first, _ = room.submit()
    project = room.state.tasks[first]["project"]
    (twin,) = room.state.import_tasks(project, [{"data": room.state.tasks[first]["data"]}])
    mine = room.state.annotate(first, {"result": []})
    room.state.annotate(twin, {"result": [drawn_row()]}, by=2)
    said = room.collect()
    assert summary(said) == [(FIRST, "rejected", "rejected"), (SECOND, "rejected", "rejected", "drawn")]
    assert len({one.task_id for one in said}) == 1
    room.state.clock += timedelta(hours=1)
    room.state.change_annotation(mine["id"], {"result": [drawn_row("other", "star")]})
    assert summary(room.collect(later=timedelta(seconds=5))) == [(FIRST, "rejected", "rejected", "drawn")]
    room.state.delete_annotation(mine["id"])
    # The twin has not changed and is not listed; what was said in it is left.
    left = [(FIRST, "retracted"), (SECOND, "rejected", "rejected", "drawn")]
    assert summary(room.collect(later=timedelta(seconds=5))) == left
    room.state.delete_task(first)
    assert room.collect() == []
    assert len(room.submit()) == 0


def test_other_tasks_of_the_project_are_nobodys(room: Room) -> None:
    first, _ = room.submit()
    project = room.state.tasks[first]["project"]
    key = (read_json(room.work / "workspace.json") or {})["key"]
    strange = [{"image": "/x"}, *({"image": "/x", "maskloop_key": f"{key}/{rest}"} for rest in ("", "x/y", "9/z"))]
    for number in room.state.import_tasks(project, [{"data": data} for data in strange]):
        room.state.annotate(number, {"result": []})
    assert room.collect() == []


@pytest.mark.parametrize("write", range(1, 7))
def test_after_a_crash_nothing_is_written_down_twice(
    room: Room, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    first, _ = room.submit()
    room.state.annotate(first, {"result": []})
    room.state.annotate(first, {"result": [drawn_row()]}, by=2)
    with monkeypatch.context() as patched:
        _die_at(patched, write)
        with pytest.raises(KeyboardInterrupt):
            room.collect()
    assert [one.annotation.origin.name for one in room.collect()] == [FIRST, SECOND]
    assert len(list((room.work / "answers").glob("*.json"))) == 2


def _die_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The process ends when it would write the file of this number."""
    from connectors import journal, work_folder
    from connectors.label_studio import collecting

    left = [number]

    def write(path: Path, data: bytes) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise KeyboardInterrupt
        work_folder.atomic_write(path, data)

    monkeypatch.setattr(journal, "atomic_write", write)
    monkeypatch.setattr(collecting, "atomic_write", write)


def test_before_anything_was_submitted_nobody_is_asked(room: Room) -> None:
    assert room.collect() == []
    assert not room.fake.faults.seen


def test_a_foreign_cursor_is_refused(room: Room) -> None:
    room.submit()
    with pytest.raises(DataError, match="is not a cursor of this annotator"):
        list(room.annotator().collect("yesterday"))


def test_a_deleted_project_is_told(room: Room) -> None:
    room.submit()
    room.state.projects.clear()
    with pytest.raises(BackendRejected, match="404"):
        room.collect()
