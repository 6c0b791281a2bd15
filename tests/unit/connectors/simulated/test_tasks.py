from __future__ import annotations

from pathlib import Path

import pytest

from connectors.simulated.tasks import Inbox
from pipeline.errors import BadFormat, DataError
from tests.fakes.people import proposed, sample, task


def test_a_task_comes_back_as_it_was_asked(tmp_path: Path) -> None:
    item = task([proposed("m", (5, 5, 25, 25.5), "star"), proposed("n", (1, 1, 4, 4), mask=False)], number=3)
    tasks = Inbox(tmp_path).submit([item])
    (read,) = Inbox(tmp_path).after(None)
    assert read.sample == item.sample
    assert read.instances == item.instances
    assert (read.round, read.id) == (3, tasks[item.sample.id])


def test_the_same_sample_in_another_round_is_another_task(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    assert inbox.submit([task(number=1)]) != inbox.submit([task(number=2)])
    assert [read.round for read in inbox.after(None)] == [1, 2]


def test_an_interrupted_submission_is_completed_in_the_same_order(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    whole, torn = Inbox(tmp_path / "whole"), Inbox(tmp_path / "torn")
    whole.submit([task(name=name) for name in names])
    torn.submit([task(name=name) for name in names[:2]])
    (tmp_path / "torn" / ".00000003-half.json.x1").write_text('{"sample": {')
    torn.submit([task(name=name) for name in names])
    assert list(torn.after(None)) == list(whole.after(None))
    assert [read.sample for read in torn.after(None)] == [sample(name) for name in names]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"round": 1}', '{"sample": 3, "round": 1, "instances": []}'])
def test_a_damaged_task_is_named(tmp_path: Path, text: str) -> None:
    inbox = Inbox(tmp_path)
    inbox.submit([task()])
    (file,) = tmp_path.glob("*.json")
    file.write_text(text)
    with pytest.raises(BadFormat, match="submit again") as caught:
        list(inbox.after(None))
    assert caught.value.path == file


@pytest.mark.parametrize("cursor", ["", "abc", "-1", "1.5", "٣"])
def test_a_foreign_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(DataError, match="cursor"):
        list(Inbox(tmp_path).after(cursor))
