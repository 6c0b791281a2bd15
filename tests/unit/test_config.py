"""The configuration file: paths, overrides, and what a good one becomes. Mistakes have a table of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, load, parse
from pipeline.errors import ConfigError

TEXT = """\
project: {name: cells, classes: [round, long]}
workspace: ../runs/cells
detector: {kind: some_detector, weights: a.pt}
segmenter: {kind: some_segmenter}
annotator: {kind: some_annotator}
trainer: {kind: some_trainer}
ingest:
  sources:
    - {kind: images, path: "${POOL}/a"}
    - {kind: coco, path: b, labels: ~/labels.json}
select: {budget: {images: 4}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POOL", str(tmp_path / "pool"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "configs" / "c.yaml"
    path.parent.mkdir()
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file_and_absolute_afterwards(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = load(file)
    assert config.workspace == tmp_path / "runs" / "cells"
    first, second = config.ingest.sources
    assert first.path == tmp_path / "pool" / "a"
    assert second.path == tmp_path / "configs" / "b"
    assert second.labels == tmp_path / "home" / "labels.json"


def test_the_annotators_images_are_relative_to_the_file_too(file: Path, tmp_path: Path) -> None:
    told = load(
        file, ["annotator.kind=some_annotator", "annotator.images.kind=local_files", "annotator.images.root=../b"]
    )
    assert told.annotator.settings["images"] == {"kind": "local_files", "root": str(tmp_path / "b")}


def test_a_file_named_from_where_one_stands(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load(Path("c.yaml")).workspace == tmp_path / "runs" / "cells"


def test_a_peer_keeps_its_own_settings(file: Path) -> None:
    detector = load(file).detector
    assert detector.kind == "some_detector"
    assert detector.settings == {"weights": "a.pt"}


def test_what_is_left_out_has_a_default(file: Path) -> None:
    config = load(file)
    assert (config.seed, config.rounds, config.executor.kind, config.select.kind) == (0, 3, "serial", "top_k")


def test_the_tree_is_frozen(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(file).seed = 3


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("seed=7", lambda config: config.seed == 7),
        ("project.classes=[a, b]", lambda config: config.project.classes == ("a", "b")),
        ("detector.imgsz=320", lambda config: config.detector.settings["imgsz"] == 320),
        ("detector.weights=x=y.pt", lambda config: config.detector.settings["weights"] == "x=y.pt"),
        ("executor.kind=threads", lambda config: config.executor.kind == "threads"),
        ("evaluate.split=test", lambda config: config.evaluate.split == "test"),
        ("evaluate.tolerance=0.2", lambda config: config.evaluate.tolerance == {"*": 0.2}),
        ("train.sampling={accepted: 2}", lambda config: config.train.sampling == {"accepted": 2}),
        ("ingest.sources.0.max_pixels=9", lambda config: config.ingest.sources[0].max_pixels == 9),
        ("workspace=elsewhere", lambda config: config.workspace.name == "elsewhere"),
        ("detector.cost.click=2", lambda config: config.detector.settings["cost"] == {"click": 2}),
    ],
)
def test_overrides(override: str, found: Any, file: Path) -> None:
    assert found(load(file, [override]))


def test_the_last_override_wins(file: Path) -> None:
    assert load(file, ["seed=1", "seed=2"]).seed == 2


def test_a_workspace_of_the_command_line_is_relative_to_where_one_stands(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(file, ["workspace=other"], workspace=Path("mine")).workspace == tmp_path / "mine"


def test_a_byte_order_mark_does_no_harm(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load(file).project.name == "cells"


def test_anchors_may_repeat_a_section(file: Path) -> None:
    file.write_text(TEXT.replace("{kind: some_trainer}", "&peer {kind: some_trainer}") + "executor: *peer\n")
    assert load(file).executor.kind == "some_trainer"


def test_more_checks_are_told_together_with_the_schema(file: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file, ["seed=x"], more=lambda data: [("detector.weights", f"no {data['detector']['weights']}")])
    assert "2 problems:\n  seed: " in str(raised.value)
    assert "\n  detector.weights: no a.pt" in str(raised.value)
    assert raised.value.path == file


def test_one_problem_carries_its_key(file: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file, ["select.budget.images=0"])
    assert raised.value.key == "select.budget.images"


def test_tolerances_name_classes_of_the_project(file: Path) -> None:
    with pytest.raises(ConfigError, match="is none of the classes") as raised:
        load(file, ["evaluate.tolerance={nobody: 0.1}"])
    assert raised.value.key == "evaluate.tolerance.nobody"


def test_parse_leaves_the_mapping_as_it_was(tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "project": {"name": "x", "classes": ["a"]},
        "workspace": "w",
        **{family: {"kind": "k"} for family in ("detector", "segmenter", "annotator", "trainer")},
        "ingest": {"sources": [{"kind": "images", "path": "p"}]},
        "select": {"budget": {"images": 1}},
    }
    before = repr(data)
    config = parse(data, tmp_path / "c.yaml")
    assert isinstance(config, Config)
    assert config.ingest.sources[0].path == tmp_path / "p"
    assert repr(data) == before
