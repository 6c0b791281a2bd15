"""Clicks are counted across sessions, processes and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.label_studio.click_log import ClickLog
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask

SIZE = (40, 50)


def mask(right: float) -> Mask:
    return Mask.from_box(Box(2, 2, right, 30), SIZE)


def test_each_answer_has_the_clicks_that_led_to_it(tmp_path: Path) -> None:
    log = ClickLog(tmp_path / "clicks")
    for clicks in (1, 2, 3):
        log.write("7", "r1", mask(10 + clicks), clicks, None)
    log.write("7", "r2", mask(40), 2, None)
    assert [ClickLog(tmp_path / "clicks").clicks("7", "r1", mask(10 + clicks)) for clicks in (1, 2, 3)] == [
        1,
        2,
        3,
    ]
    assert log.clicks("7", "r2", mask(40)) == 2
    assert log.clicks("8", "r1", mask(11)) == 0, "another task's"
    assert log.clicks("7", "r3", mask(11)) == 0, "nobody clicked"


def test_a_later_session_counts_on_from_where_it_began(tmp_path: Path) -> None:
    log = ClickLog(tmp_path)
    log.write("7", "r1", mask(11), 3, mask(5))
    log.write("7", "r1", mask(20), 2, mask(11))
    assert log.clicks("7", "r1", mask(20)) == 5
    log.write("7", "r1", mask(11), 1, mask(20))
    assert log.clicks("7", "r1", mask(20)) == 3, "a circle ends"
    log.write("7", "r1", mask(30), 1, mask(33))
    assert log.clicks("7", "r1", mask(30)) == 1, "its base was made by brush"


def test_what_a_brush_changed_keeps_the_clicks_before_it(tmp_path: Path) -> None:
    log = ClickLog(tmp_path)
    log.write("7", "r1", mask(11), 1, None)
    log.write("7", "r1", mask(12), 2, None)
    assert log.clicks("7", "r1", mask(33)) == 2


@pytest.mark.parametrize("torn", [b'{"region": "r1", "ma', b"[]", b'{"region": "r1"}', b"\x00", b"\xff\xfe"])
def test_a_torn_line_costs_itself_alone(tmp_path: Path, torn: bytes) -> None:
    log = ClickLog(tmp_path)
    log.write("7", "r1", mask(11), 4, None)
    with (tmp_path / "7.jsonl").open("ab") as file:
        file.write(torn + b"\n")
    assert log.clicks("7", "r1", mask(11)) == 4


def test_a_log_that_cannot_be_read_costs_the_count_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "7.jsonl").mkdir()
    assert ClickLog(tmp_path).clicks("7", "r1", mask(11)) == 0
    assert "the clicks of task 7 cannot be read" in caplog.text


def test_a_tasks_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    log = ClickLog(tmp_path / "clicks")
    log.write("../../x", "r1", mask(11), 1, None)
    assert log.clicks("../../x", "r1", mask(11)) == 1
    assert [path.parent for path in tmp_path.rglob("*.jsonl")] == [tmp_path / "clicks"]


def test_a_log_that_cannot_be_written_is_told_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "clicks").write_text("a file lies where the folder should")
    ClickLog(tmp_path / "clicks").write("7", "r1", mask(11), 1, None)
    assert "could not be written down" in caplog.text
