"""Images that go away while a round is under way cost themselves and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.domain.rounds import STAGES
from tests.integration.commands import TINY, json_of, pipeline


def train_files(workspace: Path, ids: Sequence[str] | None = None) -> list[Path]:
    """The files of train samples that nobody has labelled, or of the given ones."""
    with closing(sqlite3.connect(workspace / "ledger.sqlite")) as connection:
        rows = connection.execute(
            "SELECT id, path FROM samples WHERE split = 'train' AND id NOT IN (SELECT sample_id FROM revisions)"
        ).fetchall()
    return [workspace / path for sample_id, path in rows if ids is None or sample_id in ids]


def selected(workspace: Path) -> list[str]:
    with closing(sqlite3.connect(workspace / "ledger.sqlite")) as connection:
        ((body,),) = connection.execute("SELECT body FROM selections WHERE round = 1").fetchall()
    return [word for word in body.split('"') if len(word) == 64]


@pytest.mark.parametrize("after", ["ingest", "propose", "select"])
@pytest.mark.parametrize("how", ["removed", "torn"])
def test_the_run_goes_on_without_it(tmp_path: Path, after: str, how: str) -> None:
    # One round: the next one's ingest refuses a generated scene that is not what its seed draws.
    place = ("--workspace", tmp_path, "--set", "rounds=1")
    for stage in STAGES[: STAGES.index(after) + 1]:
        assert pipeline(stage, TINY, *place).exit_code == 0
    lost = train_files(tmp_path, selected(tmp_path) if after == "select" else None)[0]
    if how == "removed":
        lost.unlink()
    else:
        lost.write_bytes(lost.read_bytes()[:200])
    result = pipeline("run", TINY, *place)
    assert result.exit_code == 0, result.stderr
    assert lost.name in result.stderr
    report = json_of(pipeline("status", TINY, *place, "--json"))
    assert (report["state"], report["quarantined"]) == ("done", 1)
    asked = report["rounds"][0]["labelled"]
    assert asked == (2 if after == "select" else 3)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_labels_of_a_file_that_is_another_now_teach_nothing(tmp_path: Path, how: str) -> None:
    place = ("--workspace", tmp_path, "--set", "rounds=1")
    for stage in STAGES[: STAGES.index("merge")]:
        assert pipeline(stage, TINY, *place).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        (labelled, other), *_ = connection.execute(
            "SELECT a.path, b.path FROM samples a, samples b WHERE a.split = 'train' AND b.split = 'val' "
            "AND a.id IN (SELECT sample_id FROM revisions)"
        ).fetchall()
    before = sqlite_count(tmp_path, "SELECT count(DISTINCT sample_id) FROM revisions")
    if how == "removed":
        (tmp_path / labelled).unlink()
    else:
        (tmp_path / labelled).write_bytes((tmp_path / other).read_bytes())
    result = pipeline("run", TINY, *place)
    assert result.exit_code == 0, result.stderr
    assert "left out of the dataset" in result.stderr
    assert f"{before - 1} labelled images" in result.stderr


def sqlite_count(workspace: Path, query: str) -> int:
    with closing(sqlite3.connect(workspace / "ledger.sqlite")) as connection:
        return int(connection.execute(query).fetchone()[0])
