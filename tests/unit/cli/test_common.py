"""How errors are told, and what every command shares."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.common import ERROR, INTERRUPTED, USAGE, HouseGroup, as_json, short
from pipeline.errors import ConfigError, DataError


def raising(error: BaseException) -> Result:
    @click.group(cls=HouseGroup)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        raise error

    return CliRunner().invoke(group, ["work"])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("is wrong", path="a.yaml", key="seed"), USAGE, "error: a.yaml: seed: is wrong\n"),
        (DataError("is torn", path="a.png"), ERROR, "error: a.png: is torn\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/ws/x"),
            ERROR,
            "error: /ws/x: No space left on device\n",
        ),
        (OSError("odd"), ERROR, "error: odd\n"),
        (
            KeyboardInterrupt(),
            INTERRUPTED,
            "\nstopped; the workspace is whole: run the same command again to go on\n",
        ),
    ],
)
def test_errors_are_one_message_and_an_exit_code(error: BaseException, code: int, words: str) -> None:
    result = raising(error)
    assert (result.exit_code, result.stderr, result.stdout) == (code, words, "")


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    assert isinstance(raising(ZeroDivisionError()).exception, ZeroDivisionError)


def test_a_reader_that_has_read_enough_ends_the_command_quietly() -> None:
    result = raising(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert (result.exit_code, result.stderr) == (1, "")


def test_json_of_our_values() -> None:
    @dataclass(frozen=True)
    class Place:
        path: Path
        names: tuple[str, ...]

    assert json.loads(as_json({"place": Place(Path("a/b"), ("ü",))})) == {"place": {"path": "a/b", "names": ["ü"]}}
    assert "ü" in as_json("ü")


def test_paths_are_short_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short(tmp_path / "runs" / "demo") == "runs/demo"
    assert short(tmp_path) == str(tmp_path)
    assert short(tmp_path.parent / "x") == str(tmp_path.parent / "x")
    assert short("a.png") == "a.png"
