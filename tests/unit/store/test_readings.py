"""What an interrupted ingest remembers: whole lines, of files that are still the same."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.domain.ingested import Frame
from pipeline.domain.likeness import Likeness
from pipeline.store.readings import Readings

STAMP = (10, 20)
LOOK = Likeness((1 << 62) + 3, bytes(range(256)) * 3)


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    found = [Frame("a" * 64, (3, 4), tmp_path / "a.png", LOOK), Frame("b" * 64, (5, 6), tmp_path / "b.png", None)]
    for frame in found:
        frame.path.touch()
    return found


def interrupted(path: Path, frames: list[Frame]) -> None:
    with suppress(KeyboardInterrupt), Readings(path) as readings:
        for frame in frames:
            readings.remember(frame.path, STAMP, frame)
        raise KeyboardInterrupt


def test_an_interrupted_ingest_is_remembered_and_a_finished_one_is_not(
    tmp_path: Path, frames: list[Frame]
) -> None:
    path = tmp_path / "readings.jsonl"
    interrupted(path, frames)
    with Readings(path) as readings:
        assert [readings.recall(frame.path, STAMP) for frame in frames] == frames
    assert not path.exists()


def test_where_nothing_is_read_nothing_is_written(tmp_path: Path) -> None:
    with Readings(tmp_path / "readings.jsonl") as readings:
        assert readings.recall(tmp_path / "a.png", STAMP) is None
        assert list(tmp_path.iterdir()) == []


def test_a_changed_file_and_a_copy_that_has_gone_are_not_known(tmp_path: Path, frames: list[Frame]) -> None:
    interrupted(tmp_path / "r", frames)
    frames[1].path.unlink()
    with Readings(tmp_path / "r") as readings:
        assert readings.recall(frames[0].path, (10, 21)) is None
        assert readings.recall(frames[1].path, STAMP) is None


@pytest.mark.parametrize("cut", [1, 30, 200, 1000])
def test_a_torn_line_costs_one_file(tmp_path: Path, frames: list[Frame], cut: int) -> None:
    """And what is written after it is whole."""
    path = tmp_path / "r"
    interrupted(path, frames[:1])
    path.write_bytes(path.read_bytes()[:-cut])
    interrupted(path, frames[1:])
    with Readings(path) as readings:
        assert [readings.recall(frame.path, STAMP) for frame in frames] == [None, frames[1]]


@pytest.mark.parametrize("line", ["[]", "{}", "null", '{"image": 1}', "\ufffd", '{"stamp": [1]}'])
def test_strange_lines_are_passed_over(tmp_path: Path, frames: list[Frame], line: str) -> None:
    (tmp_path / "r").write_text(line, encoding="utf-8")
    interrupted(tmp_path / "r", frames[:1])
    with Readings(tmp_path / "r") as readings:
        assert readings.recall(frames[0].path, STAMP) == frames[0]
