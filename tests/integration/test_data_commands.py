"""`pipeline export` and `pipeline verify`, as a person meets them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.stages.export import export_coco, tree_hash
from tests.integration.checker import query
from tests.integration.commands import TINY, json_of, pipeline

# --- export ---------------------------------------------------------------------------------------------------


def test_export_yolo(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "yolo"
    told = json_of(pipeline("export", TINY, "--workspace", finished, "--out", out, "--json"))
    assert (told["format"], told["folder"]) == ("yolo", str(out))
    classes = yaml.safe_load((out / "data.yaml").read_text())["names"]
    assert list(classes.values() if isinstance(classes, dict) else classes) == ["coin", "ring", "leaf", "star"]
    assert len([path for path in (out / "images").rglob("*") if path.is_file()]) == told["images"]
    names = (out / "names.csv").read_text().splitlines()
    assert names[0] == "file,sample,original_name"
    assert {row.rpartition(",")[2] for row in names[1:]} <= {path.name for path in (finished / "scenes").iterdir()}
    assert [row.partition(",")[0] for row in names[1:]] == sorted(
        path.relative_to(out).as_posix() for path in (out / "images").glob("*/*")
    )
    (out / "names.csv").unlink()
    assert tree_hash(out) == tree_hash(finished / "datasets" / told["version"][:16])
    assert all(path.stat().st_nlink == 1 for path in (out / "images").rglob("*.*")), (
        "other tools may write into it"
    )


def test_export_coco(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "coco"
    result = pipeline("export", TINY, "--workspace", finished, "--out", out, "--format", "coco")
    assert result.exit_code == 0
    assert "images of version" in result.stdout
    assert (out / "annotations" / "instances_train.json").is_file()


def test_export_overwrites_nothing(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    result = pipeline("export", TINY, "--workspace", finished, "--out", tmp_path / "taken")
    assert result.exit_code == 2
    assert "--out: " in result.stderr
    assert "nothing is overwritten" in result.stderr
    assert list((tmp_path / "taken").iterdir()) == []


def test_export_of_a_version(finished: Path, tmp_path: Path) -> None:
    def out(name: str, version: str) -> tuple[str | Path, ...]:
        return ("export", TINY, "--workspace", finished, "--out", tmp_path / name, "--version", version)

    versions = [folder.name for folder in (finished / "datasets").iterdir()]
    told = json_of(pipeline(*out("one", versions[0][:9]), "--json"))
    assert told["version"].startswith(versions[0])
    unknown = pipeline(*out("two", "zz"))
    assert unknown.exit_code == 2
    assert "no dataset version starts with 'zz'" in unknown.stderr
    assert all(version[:12] in unknown.stderr for version in versions)
    assert pipeline(*out("three", "")).exit_code == 2


@pytest.mark.parametrize("format_", ["yolo", "coco", "label_studio", "masks"])
def test_export_ships_no_image_that_was_replaced(format_: str, finished: Path, tmp_path: Path) -> None:
    manifest = _one(finished, "datasets/*/manifest.jsonl").read_text().splitlines()
    sample = json.loads(manifest[1])["sample"]
    [(path,)] = query(finished, f"SELECT path FROM samples WHERE id = '{sample}'")
    other = next(image for image in sorted((finished / "scenes").glob("*.png")) if image != finished / path)
    (finished / path).write_bytes(other.read_bytes())
    out = tmp_path / "out"
    result = pipeline("export", TINY, "--workspace", finished, "--out", out, "--format", format_)
    assert result.exit_code == 1
    assert sample in result.stderr
    assert "another image lies in its file's place" in result.stderr
    assert not out.exists()
    assert pipeline("export", TINY, "--workspace", finished, "--out", out, "--format", "table").exit_code == 0


def test_export_into_the_folder_one_is_in(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (".", "..", "/"):
        result = pipeline("export", TINY, "--workspace", finished, "--out", place)
        assert result.exit_code == 2
        assert f"--out: {place} exists already" in result.stderr


def test_a_round_trip_sheet_that_is_there_stands_in_the_way_of_yolo_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "out-round-trip.html").write_text("an earlier one")
    place = ("--workspace", finished, "--out", tmp_path / "out")
    result = pipeline("export", TINY, *place)
    assert result.exit_code == 2
    assert "out-round-trip.html exists already" in result.stderr
    assert pipeline("export", TINY, *place, "--format", "coco").exit_code == 0


def test_two_exports_to_one_folder_do_not_harm_each_other(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--workspace", finished, "--out", tmp_path / "out")
    told = []

    def meanwhile(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        told.append(pipeline("export", TINY, *place))
        export_coco(*arguments, **options)

    monkeypatch.setattr("pipeline.stages.export.export_coco", meanwhile)
    assert pipeline("export", TINY, *place, "--format", "coco").exit_code == 0
    assert told[0].exit_code == 1
    assert "another process writes there" in told[0].stderr
    assert (tmp_path / "out" / "annotations" / "instances_val.json").is_file()
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
    # It was not there yet when it was looked for, and is now.
    monkeypatch.setattr("pipeline.cli.export._check_free", lambda _: None)
    late = pipeline("export", TINY, *place)
    assert late.exit_code == 2
    assert "out exists already" in late.stderr


def test_export_before_there_is_a_version(tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "ws")
    assert "is no workspace yet" in pipeline("export", TINY, *place, "--out", tmp_path / "x").stderr
    pipeline("ingest", TINY, *place)
    result = pipeline("export", TINY, *place, "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert "there is no dataset version yet" in result.stderr


# --- verify ---------------------------------------------------------------------------------------------------


def _one(folder: Path, pattern: str) -> Path:
    """The first file with anything in it."""
    return min(path for path in folder.glob(pattern) if path.is_file() and path.stat().st_size)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)


def test_verify_of_a_whole_workspace(finished: Path) -> None:
    result = pipeline("verify", TINY, "--workspace", finished)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("everything is whole\n")
    assert json_of(pipeline("verify", TINY, "--workspace", finished, "--json"))["damaged"] == []
    assert sorted((finished / "work").glob("verify-*")) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "blobs/*/*",
        "shards/**/*.parquet",
        "models/*",
        "scenes/*.png",
        "datasets/*/manifest.jsonl",
        "datasets/*/data.yaml",
        "datasets/*/labels/train/*.txt",
        "datasets/*/images/val/*.png",
    ],
)
def test_verify_names_the_file_of_a_flipped_byte(pattern: str, finished: Path) -> None:
    damaged = _one(finished, pattern)
    _flip(damaged)
    result = pipeline("verify", TINY, "--workspace", finished)
    assert result.exit_code == 1
    told = [line.split()[1].rstrip(":") for line in result.stdout.splitlines() if line.startswith("damaged")]
    assert os.path.relpath(damaged) in [os.path.relpath(path) for path in told]
    assert result.stdout.count(f"{damaged}:") <= 1


def test_verify_names_what_is_gone_and_what_does_not_belong(finished: Path) -> None:
    version = min((finished / "datasets").iterdir())
    gone, stranger = _one(version, "labels/train/*.txt"), version / "labels" / "train.cache"
    gone.unlink()
    stranger.write_text("x")
    rows = json_of(pipeline("verify", TINY, "--workspace", finished, "--json"))["damaged"]
    assert {row["path"]: row["reason"] for row in rows} == {
        str(gone): "is gone from the training folder",
        str(stranger): "does not belong into the training folder",
    }


def test_verify_names_a_folder_that_is_gone(finished: Path) -> None:
    version = min((finished / "datasets").iterdir())
    shutil.rmtree(version)
    result = pipeline("verify", TINY, "--workspace", finished)
    assert result.exit_code == 1
    assert f"{version}: the training folder of a dataset version is gone" in result.stdout
