"""`pipeline gc`, as a person meets it: afterwards everything works as before."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from pipeline.stages.export import tree_hash
from pipeline.wiring import open_house
from tests.integration.checker import query
from tests.integration.commands import TINY, json_of, pipeline


def _versions(root: Path) -> list[str]:
    return [name for (name,) in query(root, "SELECT id FROM versions ORDER BY round")]


def _exports(root: Path, out: Path) -> dict[str, str]:
    """Version -> tree hash of what `pipeline export` makes of it."""
    trees = {}
    for version in _versions(root):
        assert pipeline("export", TINY, "--workspace", root, "--version", version, "--out", out).exit_code == 0
        trees[version] = tree_hash(out)
        shutil.rmtree(out)
    return trees


def test_afterwards_everything_is_whole_and_the_same(finished: Path, tmp_path: Path) -> None:
    before = _exports(finished, tmp_path / "out")
    stray = finished / "models" / "stray.pt"
    stray.write_bytes(bytes(5000))
    told = json_of(pipeline("gc", TINY, "--workspace", finished, "--keep", "1", "--json"))
    assert sorted({row["kind"] for row in told["freed"]}) == ["dataset", "model", "training"]
    assert told["bytes"] >= sum(row["bytes"] for row in told["freed"]) > 5000
    assert not any(Path(row["path"]).exists() for row in told["freed"])
    assert [path.name for path in (finished / "datasets").iterdir()] == [_versions(finished)[-1][:16]]
    assert pipeline("verify", TINY, "--workspace", finished).exit_code == 0
    assert _exports(finished, tmp_path / "out") == before
    assert "nothing to do" in pipeline("run", TINY, "--workspace", finished).stdout
    again = pipeline("gc", TINY, "--workspace", finished, "--keep", "1")
    assert again.stdout == "nothing to free: everything is referred to\n"


def test_a_dry_run_removes_nothing(finished: Path) -> None:
    def files() -> list[Path]:
        """SQLite's helper files come and go."""
        return sorted(path for path in finished.rglob("*") if path.is_file() and "-" not in path.suffix)

    before = files()
    told = json_of(pipeline("gc", TINY, "--workspace", finished, "--keep", "1", "--dry-run", "--json"))
    assert told["dry_run"]
    assert told["freed"]
    text = pipeline("gc", TINY, "--workspace", finished, "--keep", "1", "--dry-run").stdout
    assert text.splitlines()[-1].endswith("would be freed")
    assert files() == before


def test_a_run_goes_on_as_if_nothing_had_been_freed(run_once: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    place = ("--workspace", root)
    assert pipeline("run", TINY, *place, "--set", "rounds=1").exit_code == 0
    for stage in ("ingest", "propose", "segment", "score", "select", "submit", "collect", "merge"):
        assert pipeline("gc", TINY, *place, "--keep", "1").exit_code == 0
        assert pipeline(stage, TINY, *place).exit_code == 0
    assert len(json_of(pipeline("gc", TINY, *place, "--keep", "1", "--json"))["freed"]) == 1
    shutil.rmtree(root / "datasets" / _versions(root)[-1][:16])
    assert pipeline("run", TINY, *place).exit_code == 0, "a folder that is needed is made again"
    for what in ("SELECT round, id FROM versions", "SELECT id, sha256 FROM models", "SELECT * FROM rounds"):
        assert query(root, what) == query(run_once, what)
    assert pipeline("verify", TINY, *place).exit_code == 0


def test_a_folder_that_would_not_be_made_again_as_it_was_stays(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade that writes labels in another way."""
    first, last = (finished / "datasets" / version[:16] for version in _versions(finished))
    before = tree_hash(first)
    gc = ("gc", TINY, "--workspace", finished, "--keep", "1")
    monkeypatch.setattr("pipeline.stages.export.label_rows", lambda *_: "0 0.5 0.5 0.25 0.25\n")
    for arguments in ((*gc, "--dry-run"), gc):
        told = json_of(pipeline(*arguments, "--json"))
        assert told["kept"] == [{"path": str(first), "reason": "it would not be made again as it was"}]
        assert {row["kind"] for row in told["freed"]} <= {"training"}
    assert "nothing to free\n" in pipeline(*gc).stdout
    _written_by("maskloop 0.0.9, manifest 1", finished)
    assert (
        f"{first}: it would not be made again as it was: it was made by other code (maskloop 0.0.9, manifest 1)"
        in (pipeline(*gc).stdout)
    )
    assert tree_hash(first) == before
    monkeypatch.undo()
    assert [row["path"] for row in json_of(pipeline(*gc, "--json"))["freed"]] == [str(first)]
    assert last.is_dir()


def test_a_folder_that_only_other_code_makes_is_no_damage(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pipeline("gc", TINY, "--workspace", finished, "--keep", "1").exit_code == 0
    first = finished / "datasets" / _versions(finished)[0][:16]
    monkeypatch.setattr("pipeline.stages.export.label_rows", lambda *_: "0 0.5 0.5 0.25 0.25\n")
    verify = ("verify", TINY, "--workspace", finished)
    assert f"damaged {first}: it was dropped" in pipeline(*verify).stdout, "the same code must make the same"
    _written_by("maskloop 0.0.9, manifest 1", finished)
    result = pipeline(*verify)
    assert result.exit_code == 0
    assert (
        f"unproven {first}: it was dropped; it was made by other code (maskloop 0.0.9, manifest 1)"
        in result.stdout
    )
    assert result.stdout.endswith("nothing is damaged\n")
    told = json_of(pipeline(*verify, "--json"))
    assert told["damaged"] == []
    assert [row["path"] for row in told["unproven"]] == [str(first)]


def _written_by(code: str, root: Path) -> None:
    with sqlite3.connect(root / "ledger.sqlite") as connection:
        connection.execute("UPDATE versions SET code = ?", (code,))
    connection.close()


def test_beside_another_writer_nothing_is_freed(finished: Path) -> None:
    _, opened, _ = open_house(TINY, (), workspace=finished, create=False)
    with opened.write_lock():
        result = pipeline("gc", TINY, "--workspace", finished)
    opened.ledger.close()
    assert result.exit_code == 1
    assert "pid" in result.stderr or "process" in result.stderr
    assert list((finished / "work" / "train").iterdir())
