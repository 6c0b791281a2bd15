"""One byte is flipped in every file of a workspace in turn: each flip is found, or the file may be removed."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.services.proof import damages
from pipeline.stages.export import export_yolo
from pipeline.wiring import open_house
from tests.integration.commands import TINY, pipeline

REMOVABLE = ("lock", "work", "encodings", "report.html")
"""What `pipeline verify --help` says may be removed at any time; the lock file's text only serves a message."""


@pytest.fixture
def settled(finished: Path) -> Path:
    """A finished workspace whose ledger is one file: whatever SQLite had yet to write into it has been written."""
    connection = sqlite3.connect(finished / "ledger.sqlite")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert not (finished / "ledger.sqlite-wal").exists()
    return finished


@contextmanager
def flipped(path: Path, position: int) -> Iterator[None]:
    """One bit of a file is another one; its other names have it too."""
    data, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    yield
    path.write_bytes(data)
    path.chmod(mode)


def found(root: Path) -> set[Path]:
    """The damaged files; a workspace that cannot even be opened is told as such."""
    try:
        _, opened, _ = open_house(TINY, (), workspace=root, create=False)
    except PipelineError:
        return {root}
    try:
        return {row.path for row in damages(opened)}
    finally:
        opened.ledger.close()


def test_a_flipped_bit_is_found_in_whatever_file_it_is(settled: Path) -> None:
    assert found(settled) == set()
    files = sorted(path for path in settled.rglob("*") if path.is_file() and path.stat().st_size)
    looked_at = [path for path in files if path.relative_to(settled).parts[0] not in REMOVABLE]
    assert {path.relative_to(settled).parts[0] for path in looked_at} == {
        "blobs", "datasets", "ledger.sqlite", "models", "scenes", "shards", "workspace.json",
    }  # fmt: skip
    for path in looked_at:
        if path.name != "ledger.sqlite":
            with flipped(path, path.stat().st_size // 2):
                assert {path, settled} & found(settled), path
    assert found(settled) == set()


def test_what_may_be_removed(finished: Path) -> None:
    for name in REMOVABLE:
        if (finished / name).is_dir():
            shutil.rmtree(finished / name)
        else:
            (finished / name).unlink(missing_ok=True)
    assert found(finished) == set()
    assert "nothing to do" in pipeline("run", TINY, "--workspace", finished).stdout


def test_a_workspace_that_cannot_be_written_is_proved_elsewhere(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipeline("gc", TINY, "--workspace", finished, "--keep", "1").exit_code == 0
    made: list[str] = []

    def refusing(name: str) -> object:
        raise OSError(errno.EROFS, "Read-only file system")

    def exported(*arguments: Any) -> None:
        made.append(str(arguments[3]))
        export_yolo(*arguments)

    monkeypatch.setattr("pipeline.store.workspace.Workspace.work", lambda _, name: refusing(name))
    monkeypatch.setattr("pipeline.services.proof.export_yolo", exported)
    assert found(finished) == set()
    assert made
    assert not any(Path(name).is_relative_to(finished) or Path(name).exists() for name in made)


DAMAGE = {
    "an answer's mask": "UPDATE instances SET row = replace(row, '\"clicks\": 1', '\"clicks\": 0')",
    "an answer's column": "UPDATE instances SET label = 'leaf' WHERE label = 'coin'",
    "whose answer it is": "UPDATE revisions SET origin_name = 'somebody' WHERE origin_kind = 'human'",
    "an answer that is gone": "DELETE FROM instances WHERE position = 0",
    "a split": "UPDATE samples SET split = 'trbin' WHERE split = 'train'",
    "another split": "UPDATE samples SET split = 'train' WHERE split = 'val'",
    "counts": "UPDATE versions SET counts = '{}' WHERE round = 1",
    "a parent": "UPDATE versions SET parent = 'f' || substr(parent, 2) WHERE round = 2",
    "the head": "UPDATE pointers SET value = replace(value, 'a', 'b') WHERE name = 'head'",
    "a mark": "UPDATE marks SET facts = substr(facts, 2) WHERE stage = 'merge'",
    "a shard's digest": "UPDATE shards SET sha256 = replace(sha256, 'a', 'b')",
    "a shard's name": "UPDATE shards SET name = name || 'x'",
    "a model's digest": "UPDATE models SET sha256 = replace(sha256, 'a', 'b')",
    "a task": "UPDATE tasks SET state = 'bsked'",
    "a truth": "UPDATE truths SET instances = replace(instances, 'coin', 'coim')",
    "a truth's mask": 'UPDATE truths SET instances = replace(instances, \'"counts": "\', \'"counts": "0\')',
    "whose truth it is": "PRAGMA foreign_keys = OFF; UPDATE truths SET sample_id = 'f' || substr(sample_id, 2)",
    "a truth's digest": "UPDATE truths SET digest = NULL",
    "a perceptual hash": "UPDATE likenesses SET phash = replace(phash, 'a', 'b')",
    "a thumbnail": "UPDATE likenesses SET thumbnail = CAST(x'00' || substr(thumbnail, 2) AS BLOB)",
    "a group": "UPDATE samples SET group_key = group_key || 'x'",
    "a size": "UPDATE samples SET height = height + 1",
    "a mark's number": "UPDATE marks SET facts = replace(facts, '\"images\": ', '\"images\": 1')",
    "who was selected": "UPDATE selections SET body = replace(body, 'a', 'b')",
    "a round's figure": "UPDATE rounds SET body = replace(body, '0.', '1.')",
    "an evaluation's figure": "UPDATE evaluations SET body = replace(body, '0.', '1.')",
    "a number where text was": "UPDATE rounds SET body = CAST(x'ff' AS BLOB)",
    "a row without its image": "PRAGMA foreign_keys = OFF; DELETE FROM samples WHERE split = 'train'",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_rows_are_found(what: str, finished: Path) -> None:
    """As a failing disk would do it: past the triggers that keep annotations from being changed."""
    with sqlite3.connect(finished / "ledger.sqlite") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.executescript(DAMAGE[what])
    connection.close()
    assert found(finished), what


def test_the_database_itself_is_checked(settled: Path) -> None:
    """A torn page, as a crash of the machine may leave it."""
    path = settled / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    page = 4096
    told = 0
    for start in range(page, len(data), page * 7):
        torn = data.copy()
        torn[start : start + page // 2] = bytes(page // 2)
        if torn != data:
            path.write_bytes(torn)
            told += bool(found(settled))
    path.write_bytes(data)
    assert told >= 5
    assert found(settled) == set()
