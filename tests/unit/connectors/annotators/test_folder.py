from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from connectors.annotators import folder
from connectors.folder.answers import parse_answer
from connectors.work_folder import atomic_write
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, State
from pipeline.errors import BackendUnavailable, BadFormat, DataError
from pipeline.ports import Annotator, Collected, Unusable
from tests.fakes.people import NOW, SIZE_HW, answers_of, proposed, resources, task

RING = proposed("m1", (5, 5, 25, 25))
STAR = proposed("m2", (40, 10, 60, 40), "star")


def with_hole() -> Instance:
    bitmap = np.zeros(SIZE_HW, dtype=np.bool_)
    bitmap[10:40, 30:70] = True
    bitmap[20:30, 40:60] = False
    return replace(proposed("m3", (30, 10, 70, 40)), mask=Mask.from_bitmap(bitmap), confidence=0.75)


class Desk:
    """A work folder, an annotator that keeps its things there, and whoever answers."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.inbox = work / "inbox"

    @property
    def annotator(self) -> Annotator:
        """A new one each time: nothing may hang on what a process remembers."""
        return folder.build(folder.Settings(max_megabytes=0.1), resources(self.work))

    def ask(self, instances: Sequence[Instance] = (RING, STAR), name: str = "a") -> str:
        (task_id,) = self.annotator.submit([task(instances, name)]).values()
        return task_id

    def shown(self, task_id: str) -> dict[str, Any]:
        content = json.loads((self.work / "outbox" / task_id / "instances.json").read_text(encoding="utf-8"))
        assert isinstance(content, dict)
        return content

    def put(self, task_id: str, content: object) -> Path:
        self.inbox.mkdir(exist_ok=True)
        path = self.inbox / f"{task_id}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def said(self, since: str | None = None) -> list[Collected]:
        return list(answers_of(self.annotator, since))

    def states(self) -> dict[str, State]:
        (answer,) = self.said()
        return {instance.id: instance.state for instance in answer.annotation.instances}

    def reasons(self) -> dict[str, str]:
        return {path.stem: path.read_text(encoding="utf-8") for path in (self.inbox / "refused").glob("*.txt")}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- tasks --------------------------------------------------------------------------------------------------


def test_a_task_is_an_image_a_coco_file_and_a_preview(desk: Desk) -> None:
    task_id = desk.ask()
    files = {path.name for path in (desk.work / "outbox" / task_id).iterdir()}
    assert files == {f"{task_id}.png", "instances.json", "preview.png"}
    assert "inbox/<task id>.json" in (desk.work / "README.txt").read_text(encoding="utf-8")
    content = desk.shown(task_id)
    image = {"id": 1, "file_name": f"{task_id}.png", "width": SIZE_HW[1], "height": SIZE_HW[0]}
    assert content["images"] == [image]
    assert [entry["name"] for entry in content["categories"]] == ["ring", "star"]
    assert [row["attributes"]["maskloop_id"] for row in content["annotations"]] == ["m1", "m2"]


def test_a_jpeg_is_copied_under_its_right_suffix_and_is_not_the_original(desk: Desk, tmp_path: Path) -> None:
    source = tmp_path / "blob-without-suffix"
    source.write_bytes(cv2.imencode(".jpg", np.full((*SIZE_HW, 3), 90, dtype=np.uint8))[1].tobytes())
    item = task()
    item = replace(item, sample=replace(item.sample, path=source))
    (task_id,) = desk.annotator.submit([item]).values()
    copied = desk.work / "outbox" / task_id / f"{task_id}.jpg"
    assert copied.read_bytes() == source.read_bytes()
    assert not copied.samefile(source)


def test_a_hole_is_written_as_run_lengths_and_the_rest_as_polygons(desk: Desk) -> None:
    rows = desk.shown(desk.ask([RING, with_hole()]))["annotations"]
    assert rows[0]["segmentation"] == [[5, 5, 25, 5, 25, 25, 5, 25]]
    assert rows[1]["segmentation"]["size"] == list(SIZE_HW)
    assert rows[1]["attributes"]["score"] == 0.75


def test_the_preview_shows_each_object_in_the_colour_of_its_class(desk: Desk) -> None:
    task_id = desk.ask([RING, STAR, proposed("m4", (2, 45, 20, 60), mask=False)])
    preview = cv2.imread(str(desk.work / "outbox" / task_id / "preview.png"))
    assert preview is not None
    assert preview.shape == (640, 800, 3), "enlarged ten times, to be readable"
    inside = [preview[y * 10, x * 10].tolist() for x, y in ((15, 15), (50, 25), (10, 52))]
    assert inside[0] == inside[2] != inside[1]
    assert preview[300, 300].tolist() == [0, 0, 0], "what nobody found is left alone"


def test_submitting_again_changes_no_file(desk: Desk) -> None:
    task_id = desk.ask()
    edited = desk.work / "outbox" / task_id / "instances.json"
    edited.write_text("somebody works in here", encoding="utf-8")
    assert desk.ask() == task_id
    assert edited.read_text(encoding="utf-8") == "somebody works in here"


def test_what_a_crash_left_of_a_task_is_made_whole(desk: Desk) -> None:
    task_id = desk.ask()
    outbox = desk.work / "outbox"
    (outbox / task_id).rename(outbox / f".{task_id}")
    (outbox / f".{task_id}" / "preview.png").unlink()
    shutil.rmtree(desk.work / "tasks")
    assert desk.ask() == task_id
    assert [path.name for path in outbox.iterdir()] == [task_id]
    assert (outbox / task_id / "preview.png").exists()


def test_a_label_that_is_no_class_is_not_asked(desk: Desk) -> None:
    with pytest.raises(DataError, match="'moon' is not among"):
        desk.ask([replace(RING, label="moon")])
    assert list((desk.work / "outbox").iterdir()) == []


def test_a_disk_that_refuses_is_told(desk: Desk) -> None:
    (desk.work / "tasks").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="submit tasks"):
        desk.ask()


# --- verdicts -----------------------------------------------------------------------------------------------


def test_an_answer_accepts_edits_rejects_and_draws(desk: Desk) -> None:
    task_id = desk.ask([RING, STAR, with_hole()])
    content = desk.shown(task_id)
    ring, star, _ = content["annotations"]
    star["segmentation"] = [[41, 11, 61, 11, 61, 41, 41, 41]]
    drawn = {"image_id": 1, "category_id": 2, "segmentation": [[10, 50, 20, 50, 20, 60, 10, 60]]}
    desk.put(task_id, content | {"annotations": [ring, star, drawn], "annotator": "Ada", "seconds": 12.5})
    (answer,) = desk.said()
    annotation = answer.annotation
    assert (annotation.origin.name, annotation.seconds, annotation.created_at) == ("Ada", 12.5, NOW)
    states = [instance.state for instance in annotation.instances]
    assert states == [State.ACCEPTED, State.EDITED, State.REJECTED, State.DRAWN]
    assert {instance.origin for instance in annotation.instances} == {annotation.origin}
    assert annotation.instances[0].mask == RING.mask
    assert tuple(annotation.instances[1].box) == (41, 11, 61, 41)
    assert (annotation.instances[3].label, tuple(annotation.instances[3].box)) == ("star", (10, 50, 20, 60))


def test_an_untouched_copy_accepts_everything_holes_too(desk: Desk) -> None:
    task_id = desk.ask([RING, with_hole()])
    desk.put(task_id, desk.shown(task_id))
    assert set(desk.states().values()) == {State.ACCEPTED}
    assert desk.said()[0].annotation.instances[1].mask == with_hole().mask


def test_no_annotations_means_that_nothing_is_there(desk: Desk) -> None:
    task_id = desk.ask([RING])
    desk.put(task_id, desk.shown(task_id) | {"annotations": []})
    assert desk.states() == {"m1": State.REJECTED}


def test_another_class_is_an_edit_that_keeps_the_mask(desk: Desk) -> None:
    task_id = desk.ask([replace(RING, predicted_iou=0.9)])
    content = desk.shown(task_id)
    content["annotations"][0]["category_id"] = 2
    desk.put(task_id, content)
    (instance,) = desk.said()[0].annotation.instances
    assert (instance.state, instance.label, instance.mask) == (State.EDITED, "star", RING.mask)
    assert instance.predicted_iou == 0.9, "it still describes the mask"


def strip_attributes(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        del row["attributes"]


def number_anew(rows: list[dict[str, Any]]) -> None:
    strip_attributes(rows)
    for number, row in enumerate(rows, start=1):
        row["id"] = number


@pytest.mark.parametrize("tool", [strip_attributes, number_anew])
def test_tools_that_drop_ids_keep_what_is_unchanged(desk: Desk, tool: Callable[..., None]) -> None:
    task_id = desk.ask()
    content = desk.shown(task_id)
    del content["annotations"][0]
    tool(content["annotations"])
    desk.put(task_id, content)
    assert desk.states() == {"m1": State.REJECTED, "m2": State.ACCEPTED}


def test_a_copied_object_is_a_new_one_wherever_it_stands(desk: Desk) -> None:
    """Copies keep the attributes of their original."""
    task_id = desk.ask([RING])
    content = desk.shown(task_id)
    moved = content["annotations"][0] | {"segmentation": [[30, 30, 50, 30, 50, 50, 30, 50]]}
    content["annotations"].insert(0, moved)
    desk.put(task_id, content)
    assert sorted(state.value for state in desk.states().values()) == ["accepted", "drawn"]
    assert desk.states()["m1"] is State.ACCEPTED


def test_an_exact_repetition_counts_once(desk: Desk) -> None:
    task_id = desk.ask([RING])
    content = desk.shown(task_id)
    drawn = {"image_id": 1, "category_id": 2, "segmentation": [[10, 50, 20, 50, 20, 60]]}
    content["annotations"] = [content["annotations"][0], content["annotations"][0], drawn, drawn]
    desk.put(task_id, content)
    assert sorted(state.value for state in desk.states().values()) == ["accepted", "drawn"]


@pytest.mark.parametrize("iscrowd", [0, 1])
def test_run_lengths_of_any_form_are_the_mask(desk: Desk, iscrowd: int) -> None:
    """Tools mark masks in run lengths as crowds, and write runs of length zero."""
    task_id = desk.ask([RING])
    content = desk.shown(task_id)
    before, after = 5 * SIZE_HW[0] + 5, SIZE_HW[0] - 20
    runs = [before, *([20, after] * 19), 10, 0, 10]
    runs.append(SIZE_HW[0] * SIZE_HW[1] - sum(runs))
    content["annotations"][0] |= {"segmentation": {"size": list(SIZE_HW), "counts": runs}, "iscrowd": iscrowd}
    desk.put(task_id, content)
    assert desk.states() == {"m1": State.ACCEPTED}


# --- order, revisions, crashes ------------------------------------------------------------------------------


def test_late_files_come_after_the_cursor_whatever_their_names(desk: Desk) -> None:
    first, second = desk.ask(name="a"), desk.ask(name="b")
    desk.put(second, desk.shown(second))
    (early,) = desk.said()
    desk.put(first, desk.shown(first))
    (late,) = desk.said(early.cursor)
    assert (early.task_id, late.task_id) == (second, first)
    assert [answer.task_id for answer in desk.said()] == [second, first]
    assert desk.said(late.cursor) == []


def test_a_changed_file_is_a_revision_and_a_touched_one_is_not(desk: Desk) -> None:
    task_id = desk.ask()
    content = desk.shown(task_id)
    path = desk.put(task_id, content)
    (first,) = desk.said()
    os.utime(path, (1, 1))
    assert desk.said(first.cursor) == []
    desk.put(task_id, content | {"annotations": []})
    (second,) = desk.said(first.cursor)
    desk.put(task_id, content)
    (third,) = desk.said(second.cursor)
    assert first.annotation == third.annotation != second.annotation
    assert desk.said() == [first, second, third]


def test_answers_outlive_their_files(desk: Desk) -> None:
    task_id = desk.ask()
    path = desk.put(task_id, desk.shown(task_id))
    told = desk.said()
    path.unlink()
    shutil.rmtree(desk.work / "outbox")
    assert desk.said() == told


def test_a_lost_journal_loses_no_answer(desk: Desk) -> None:
    """The ledger's cursor is ahead of the new journal; what is found again must come after it."""
    task_id = desk.ask()
    desk.put(task_id, desk.shown(task_id))
    (before,) = desk.said()
    shutil.rmtree(desk.work / "answers")
    (again,) = desk.said(before.cursor)
    assert again.annotation == before.annotation
    assert again.cursor > before.cursor


def test_a_crash_while_answers_are_written_down_repeats_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        task_id = desk.ask(name=name)
        desk.put(task_id, desk.shown(task_id))
    written: list[Path] = []

    def dying(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        atomic_write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr("connectors.journal.atomic_write", dying)
        with pytest.raises(KeyboardInterrupt):
            desk.said()
    assert len(written) == 2
    assert [answer.cursor for answer in desk.said()] == ["00000001", "00000002", "00000003"]
    assert len({answer.task_id for answer in desk.said()}) == 3


def test_a_foreign_cursor_and_damaged_records_are_told(desk: Desk) -> None:
    task_id = desk.ask()
    with pytest.raises(DataError, match="not a cursor"):
        desk.said("label-studio:7")
    path = desk.put(task_id, desk.shown(task_id))
    (record,) = (desk.work / "tasks").iterdir()
    kept = record.read_bytes()
    record.write_text("{}", encoding="utf-8")
    with pytest.raises(BadFormat, match="not a task"):
        desk.said()
    assert path.exists(), "the person's answer is not to blame"
    record.write_bytes(kept)
    desk.said()
    next((desk.work / "answers").iterdir()).write_text("[]", encoding="utf-8")
    with pytest.raises(BadFormat, match="not an answer"):
        desk.said()


# --- answers that cannot be used ----------------------------------------------------------------------------


def test_a_file_that_is_still_being_copied_is_left_until_it_is_whole_or_stale(desk: Desk) -> None:
    task_id = desk.ask()
    whole = json.dumps(desk.shown(task_id))
    for lately in (NOW, NOW - timedelta(seconds=9), NOW + timedelta(seconds=9)):
        path = desk.put(task_id, whole[:100])
        os.utime(path, (lately.timestamp(), lately.timestamp()))
        assert desk.said() == []
        assert path.exists()
    stale = (NOW - timedelta(seconds=11)).timestamp()
    os.utime(path, (stale, stale))
    assert desk.said() == []
    assert not path.exists()
    assert "not JSON" in desk.reasons()[task_id]
    desk.put(task_id, whole)
    assert len(desk.said()) == 1


def broken(**change: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content | change


def row(**change: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content | {"annotations": [content["annotations"][0] | change]}


SIZE = list(SIZE_HW)
UNUSABLE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a list": (lambda content: [content], "an object, not list"),
    "no annotations": (broken(annotations=None), "missing, or are not lists of objects: annotations"),
    "rows that are no objects": (broken(annotations=[1]), "lists of objects: annotations"),
    "no image": (broken(images=[]), "lists 0"),
    "two images": (broken(images=[{"id": 1}, {"id": 2}]), "lists 2"),
    "another size": (broken(images=[{"id": 1, "width": 64, "height": 80}]), "the image has (64, 80)"),
    "a category without a name": (broken(categories=[{"id": 1}]), "a category needs"),
    "a category twice": (broken(categories=[{"id": 1, "name": "ring"}] * 2), "there twice"),
    "another image's row": (row(image_id=2), "not the image of this file"),
    "an unknown category": (row(category_id=9), "unknown category id 9"),
    "a category that is true": (row(category_id=True), "unknown category id True"),
    "a foreign class": (broken(categories=[{"id": 1, "name": "moon"}]), "'moon' is no class"),
    "a box only": (row(segmentation=[]), "a box only"),
    "a polygon of words": (row(segmentation=[["a", "b"]]), "x, y pairs of numbers"),
    "a polygon of odd length": (row(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "x, y pairs of numbers"),
    "a polygon of two corners": (row(segmentation=[[1, 2, 3, 4]]), "three vertices"),
    "a polygon out of sight": (row(segmentation=[[100, 1, 120, 1, 120, 9]]), "no pixel"),
    "an infinite polygon": (row(segmentation=[[1e9, 1, 120, 1, 120, 9]]), "x, y pairs of numbers"),
    "a segmentation in words": (row(segmentation="all of it"), "a list of polygons"),
    "runs of another size": (row(segmentation={"size": [80, 64], "counts": [5120]}), "run lengths are for"),
    "runs too long": (row(segmentation={"size": SIZE, "counts": [10**30]}), "runs cover"),
    "runs below zero": (row(segmentation={"size": SIZE, "counts": [5121, -1]}), "runs cover"),
    "runs that are no numbers": (row(segmentation={"size": SIZE, "counts": [5120.0]}), "counts must be"),
    "a compressed string too long": (
        row(segmentation={"size": SIZE, "counts": "oooooooooo"}),
        "in the middle of a number",
    ),
    "a compressed string cut off": (row(segmentation={"size": SIZE, "counts": "o"}), "middle of a number"),
    "an empty mask": (row(segmentation={"size": SIZE, "counts": [5120]}), "no pixel"),
    "a nameless annotator": (broken(annotator=["Ada"]), "'annotator' must be a name"),
    "an endless annotator": (broken(annotator="a" * 101), "at most 100"),
    "time below zero": (broken(seconds=-1), "'seconds'"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_answer_is_set_aside_with_its_reason_and_the_others_go_on(desk: Desk, name: str) -> None:
    damage, reason = UNUSABLE[name]
    bad, good = desk.ask([RING], "a"), desk.ask([RING], "b")
    desk.put(bad, damage(desk.shown(bad)))
    desk.put(good, desk.shown(good))
    assert [answer.task_id for answer in desk.said()] == [good]
    assert reason in desk.reasons()[bad]
    assert (desk.inbox / "refused" / f"{bad}.json").exists()
    desk.put(bad, desk.shown(bad))
    assert [answer.task_id for answer in desk.said()] == [good, bad], "the task stayed open"


UNREADABLE = {
    "constants": ('{"seconds": NaN}', "NaN is not JSON"),
    "depth": ("[" * 50_000, "nested too deeply"),
    "digits": ("1" * 5_000, "not JSON"),
    "size": (" " * 100_001, "more than 100,000 bytes"),
    "nothing": ("", "not JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_hostile_files_are_refused(desk: Desk, name: str) -> None:
    text, reason = UNREADABLE[name]
    task_id = desk.ask()
    os.utime(desk.put(task_id, text), (1, 1))
    assert desk.said() == []
    assert reason in desk.reasons()[task_id]


@pytest.mark.parametrize("name", ["stranger.json", "ROUND1.JSON", "ä" * 100 + ".json"])
def test_a_file_named_after_no_task_is_told(desk: Desk, name: str) -> None:
    content = desk.shown(desk.ask())
    (desk.inbox / name).write_text(json.dumps(content), encoding="utf-8")
    assert desk.said() == []
    (reason,) = desk.reasons().values()
    assert "call it <task id>.json" in reason


def test_what_is_no_answer_is_left_alone(desk: Desk) -> None:
    task_id = desk.ask()
    (desk.inbox / f".{task_id}.json").write_text("an editor's draft", encoding="utf-8")
    (desk.inbox / f"{task_id}.json.part").write_text("a browser's download", encoding="utf-8")
    (desk.inbox / f"{task_id}.json").mkdir()
    os.mkfifo(desk.inbox / "pipe.json")
    assert desk.said() == []
    assert len(list(desk.inbox.iterdir())) == 4


def test_a_refused_answer_is_told_once_with_its_reason(desk: Desk) -> None:
    desk.put("nobody", {})
    (told,) = desk.annotator.collect(None)
    assert isinstance(told, Unusable)
    assert (told.what, told.reason) == ("nobody.json", desk.reasons()["nobody"].splitlines()[0].partition(": ")[2])
    assert list(desk.annotator.collect(None)) == []


def test_refused_answers_do_not_replace_each_other(desk: Desk) -> None:
    task_id = desk.ask()
    for text in ("[]", "[1]"):
        desk.put(task_id, text)
        desk.said()
    kept = {path.name: path.read_text(encoding="utf-8") for path in (desk.inbox / "refused").glob("*.json")}
    assert kept == {f"{task_id}.json": "[]", f"{task_id}-2.json": "[1]"}


def test_a_file_that_changed_since_it_was_read_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading a bad file and moving it, somebody may have put a good one in its place."""
    task_id = desk.ask()
    desk.put(task_id, "[]")
    good = desk.shown(task_id)

    def replaced_meanwhile(*args: Any) -> Any:
        monkeypatch.undo()
        desk.put(task_id, good)
        return parse_answer(*args)

    monkeypatch.setattr("connectors.annotators.folder.parse_answer", replaced_meanwhile)
    assert desk.said() == []
    assert desk.reasons() == {}
    assert len(desk.said()) == 1
