"""Every command as a person meets it: on dry peers, with exit codes and both streams."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

from pipeline.domain.rounds import STAGES
from pipeline.stages.export import tree_hash
from pipeline.wiring import load_config
from tests.integration.commands import TINY, json_of, pipeline

METRICS = {"box_map50", "box_map50_95", "mask_map50", "mask_map50_95"}
ROUND = {"round", "labelled", "instances", "clicks", "human_seconds", "promoted", "metrics"}


def here(path: Path) -> str:
    return os.path.relpath(path)


# --- run, status ----------------------------------------------------------------------------------------------


def test_run_tells_progress_on_stderr_and_the_table_on_stdout(tmp_path: Path) -> None:
    result = pipeline("run", TINY, "--workspace", tmp_path / "ws")
    assert result.exit_code == 0
    for stage in STAGES:
        assert result.stderr.count(f"  {stage} ") == 2
        assert f"  {stage} " not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[1].split() == [
        *("round", "labelled", "touched", "clicks", "seconds"),
        *("mAP50", "mAP50-95", "mAP50", "mAP50-95"),
    ]
    assert "simulated" in lines[0], "a simulated person's seconds must not pass for a human's"
    assert [line.split()[0] for line in lines[3:6]] == ["start", "1", "2"]
    assert lines[4].endswith("promoted")
    for word in ("workspace", "ledger", "dataset", "model"):
        assert any(line.startswith(word) for line in lines)
    places = [Path(line.split()[-1]) for line in lines[7:]]
    assert all(place.exists() for place in places)


def test_a_second_run_does_nothing_and_says_so(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name not in _SQLITE}
    result = pipeline("run", TINY, "--workspace", finished)
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing to do: all 2 rounds are finished; no model was called")
    assert result.stderr == ""
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name not in _SQLITE}
    assert {path for path in after if after[path] != before.get(path)} <= {finished, finished / "lock"}


_SQLITE = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm")


def test_run_prints_one_json_object(tmp_path: Path) -> None:
    result = pipeline("run", TINY, "--workspace", tmp_path / "ws", "--json")
    told = json_of(result)
    assert told["state"] == "done"
    assert [set(row) for row in told["rounds"]] == [ROUND, ROUND]
    assert [row["round"] for row in told["rounds"]] == [1, 2]
    assert all(set(row["metrics"]) == METRICS for row in told["rounds"])
    assert set(told["start"]) == METRICS
    assert told == json_of(pipeline("status", TINY, "--workspace", tmp_path / "ws", "--json"))


def test_status_before_anything_exists(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    result = pipeline("status", TINY, "--workspace", root)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"not started yet: `pipeline run {TINY}` makes the workspace")
    told = json_of(pipeline("status", TINY, "--workspace", root, "--json"))
    assert (told["state"], told["rounds"]) == ("new", [])
    assert not root.exists(), "to ask must not make anything"


def test_status_after_some_stages(tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "ws")
    pipeline("ingest", TINY, *place)
    assert "no round is finished yet" in pipeline("status", TINY, *place).stdout
    assert json_of(pipeline("status", TINY, *place, "--json"))["state"] == "running"


def test_more_rounds_go_on_where_the_run_ended(finished: Path) -> None:
    result = pipeline("run", TINY, "--workspace", finished, "--set", "rounds=3", "--json")
    assert [row["round"] for row in json_of(result)["rounds"]] == [1, 2, 3]
    assert "round 3 of 3" in result.stderr
    assert "round 1 of 3" not in result.stderr


def test_paths_below_the_current_folder_are_told_relative_to_it(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    result = pipeline("status", TINY, "--workspace", "workspace")
    assert "\nledger      workspace/ledger.sqlite\n" in result.stdout


# --- stages by name -------------------------------------------------------------------------------------------


def test_stages_by_name_in_order(tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "ws")
    for stage, following in zip(STAGES, [*STAGES[1:], "ingest"], strict=True):
        result = pipeline(stage, TINY, *place)
        assert result.exit_code == 0, result.output
        assert result.stderr.splitlines()[-1].startswith(f"  {stage} ")
        assert f"next: pipeline {following} {TINY}" in result.stdout
    assert [row["round"] for row in json_of(pipeline("status", TINY, *place, "--json"))["rounds"]] == [1]


def test_stages_by_name_come_to_the_same_dataset_as_a_run(tmp_path: Path, run_once: Path) -> None:
    root = tmp_path / "ws"
    for _round in (1, 2):
        for stage in STAGES:
            pipeline(stage, TINY, "--workspace", root)
    trees = [{tree_hash(folder) for folder in (one / "datasets").iterdir()} for one in (root, run_once)]
    assert trees[0] == trees[1]
    assert pipeline("evaluate", TINY, "--workspace", root).exit_code == 2
    assert "all 2 rounds are finished" in pipeline("ingest", TINY, "--workspace", root).stderr


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_out_of_turn_names_the_command_to_run_first(stage: str, tmp_path: Path) -> None:
    result = pipeline(stage, TINY, "--workspace", tmp_path / "ws")
    assert result.exit_code == 2
    assert "round 1 has not finished 'ingest' yet: run `pipeline ingest" in result.stderr
    assert "Traceback" not in result.output


def test_a_stage_that_is_done_says_so(tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "ws")
    pipeline("ingest", TINY, *place)
    result = pipeline("ingest", TINY, *place)
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing to do: round 1 has finished 'ingest' already\nnext: pipeline propose")


def test_training_on_nothing_is_refused(tmp_path: Path) -> None:
    split = "ingest.split={train: 0.0, val: 1.0}"
    result = pipeline("run", TINY, "--workspace", tmp_path, "--set", split)
    assert result.exit_code == 2
    assert "no train image has labels" in result.stderr


# --- list -----------------------------------------------------------------------------------------------------

FAMILIES = (
    *("detectors", "segmenters", "annotators", "trainers", "executors", "reviewers"),
    *("measures", "selectors"),
)


def test_list_knows_every_family() -> None:
    told = json_of(pipeline("list", "--json"))
    assert tuple(told) == FAMILIES
    assert all(row["caption"].endswith((".", ":")) for rows in told.values() for row in rows)
    text = pipeline("list").stdout
    for family, rows in told.items():
        assert f"\n{family}\n" in f"\n{text}"
        assert all(f"  {row['kind']} " in text for row in rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_list_one_family(family: str) -> None:
    assert list(json_of(pipeline("list", family, "--json"))) == [family]


def test_list_says_what_a_peer_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    monkeypatch.delenv("MASKLOOP_WEIGHTS", raising=False)
    rows = {row["kind"]: row["lacks"] for row in json_of(pipeline("list", "detectors", "--json"))["detectors"]}
    assert rows["ground_truth"] == ""
    lacks = "pip install 'maskloop[ultralytics]'; weights yolo11n-seg.pt, here or in $MASKLOOP_WEIGHTS"
    assert rows["ultralytics_yolo"] == lacks
    assert f"(lacks: {lacks})" in pipeline("list", "detectors").stdout


def test_list_asks_for_no_weights_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_WEIGHTS", str(tmp_path))
    (tmp_path / "mobile_sam.pt").touch()
    rows = {row["kind"]: row["lacks"] for row in json_of(pipeline("list", "segmenters", "--json"))["segmenters"]}
    assert "weights" not in rows["mobile_sam"]
    assert "weights sam2.1_t.pt" in rows["sam2"]
    assert rows["nano_sam"] == rows["grabcut"] == ""


def test_list_models(finished: Path) -> None:
    place = ("--workspace", finished)
    rows = json_of(pipeline("list", "models", TINY, *place, "--json"))["models"]
    assert len(rows) == 2
    assert all(Path(row["weights"]).is_file() and len(row["sha256"]) == 64 for row in rows)
    assert all(row["id"] in pipeline("list", "models", TINY, *place).stdout for row in rows)


def test_list_versions(finished: Path) -> None:
    place = ("--workspace", finished)
    first, second = json_of(pipeline("list", "versions", TINY, *place, "--json"))["versions"]
    assert (first["round"], second["round"]) == (1, 2)
    assert (first["parent"], second["parent"]) == (None, first["id"])
    assert (first["head"], second["head"]) == (False, True)
    assert first["config"] == second["config"] != ""
    assert first["code"].startswith("maskloop ")
    assert second["counts"]["split/train"] > first["counts"]["split/train"]
    assert pipeline("gc", TINY, *place, "--keep", "1").exit_code == 0
    lines = pipeline("list", "versions", TINY, *place).stdout.splitlines()
    assert lines[0].startswith(f"  @1  {first['id'][:12]}  ")
    assert lines[0].endswith("folder freed")
    assert lines[1].startswith(f"* @2  {second['id'][:12]}  ")


def test_list_quarantine(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    Pillow.new("RGB", (64, 64), (9, 90, 200)).save(pool / "good.png")
    (pool / "empty.jpg").touch()
    place = ("--workspace", tmp_path / "ws")
    override = f"ingest.sources=[{{kind: images, path: {pool}}}]"
    told = pipeline("ingest", TINY, *place, "--set", override)
    assert "set aside" in told.stderr
    assert "1 image, 1 set aside" in told.stderr
    (row,) = json_of(pipeline("list", "quarantine", TINY, *place, "--json"))["quarantine"]
    assert row["path"].endswith("empty.jpg")
    assert row["reason"]
    assert row["reason"] in pipeline("list", "quarantine", TINY, *place).stdout
    assert f"pipeline list quarantine {TINY}" in pipeline("status", TINY, *place).stdout


def test_list_needs_a_config_for_what_lies_in_a_workspace(tmp_path: Path) -> None:
    result = pipeline("list", "models")
    assert result.exit_code == 2
    assert "needs a CONFIG" in result.stderr
    assert pipeline("list", "models", TINY, "--workspace", tmp_path / "no").exit_code == 2


# --- people to wait for ---------------------------------------------------------------------------------------

PEOPLE = ("--set", "annotator={kind: folder, settle_s: 0}", "--set", "rounds=1")


def _answer(root: Path) -> Iterator[Path]:
    """Say of every task that the machine was right."""
    work = root / "work" / "annotators-folder"
    for task in sorted((work / "outbox").iterdir()):
        yield Path(shutil.copy(task / "instances.json", work / "inbox" / f"{task.name}.json"))


def test_run_ends_with_3_where_people_must_answer(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    result = pipeline("run", TINY, "--workspace", root, *PEOPLE)
    assert result.exit_code == 3
    assert "waiting for people: 3 of round 1's 3 tasks are unanswered (folder)" in result.stderr
    assert str(root / "work" / "annotators-folder" / "README.txt") in result.stderr
    assert f"pipeline run {TINY} --watch" in result.stderr
    assert json_of(pipeline("status", TINY, "--workspace", root, *PEOPLE, "--json"))["state"] == "waiting"
    told = pipeline("status", TINY, "--workspace", root, *PEOPLE)
    assert "waiting     for people: 3 tasks of round 1 are unanswered" in told.stdout
    waiting = pipeline("collect", TINY, "--workspace", root, *PEOPLE, "--json")
    assert waiting.exit_code == 3
    assert json_of(waiting)["state"] == "waiting"

    answers = list(_answer(root))
    answers[0].unlink()
    again = pipeline("run", TINY, "--workspace", root, *PEOPLE)
    assert again.exit_code == 3
    assert "2 answers, 1 to come" in again.stderr
    assert "waiting for people: 1 of round 1's 3" in again.stderr

    list(_answer(root))
    done = pipeline("run", TINY, "--workspace", root, *PEOPLE, "--json")
    assert done.exit_code == 0
    assert json_of(done)["rounds"][0]["labelled"] == 3

    further = pipeline("run", TINY, "--workspace", root, *PEOPLE, "--set", "rounds=2")
    assert "of round 2's" in further.stderr
    list(_answer(root))
    last = pipeline("run", TINY, "--workspace", root, *PEOPLE, "--set", "rounds=3")
    assert re.search(r"waiting for people: ([1-9]) of round 3's \1 tasks", last.stderr), "of the round that waits"


def test_run_watch_picks_answers_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "ws"
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        assert len(looks) < 5, "an answer was never picked up"
        if len(looks) == 2:
            list(_answer(root))

    monkeypatch.setattr("pipeline.cli.run.time.sleep", sleep)
    result = pipeline("run", TINY, "--workspace", root, *PEOPLE, "--watch", "--every", "7", "--json")
    assert result.exit_code == 0, result.output
    assert looks == [7.0, 7.0]
    assert json_of(result)["state"] == "done"
    assert result.stderr.count("round 1 of 1") == 1
    assert result.stderr.count("waiting for people: 3 of round 1's 3") == 1, "said once, and not at every look"
    assert str(root / "work" / "annotators-folder" / "README.txt") in result.stderr


def test_watching_needs_a_time_between_looks() -> None:
    assert pipeline("run", TINY, "--watch", "--every", "0").exit_code == 2


# --- init -----------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "my images, all"
    folder.mkdir()
    Pillow.new("RGB", (64, 64)).save(folder / "a.png")
    return folder


def test_init_writes_a_configuration_that_can_be_used(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "project" / "loop.yaml"
    file.parent.mkdir()
    classes = "cat, dog: big,no,[x,'q\",Größe"
    result = pipeline("init", file, "--images", images, "--classes", classes, "--name", "../My: project")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"wrote {file}; next: pipeline run {file}\n"
    config = load_config(file)
    assert config.project.classes == ("cat", "dog: big", "no", "[x", "'q\"", "Größe")
    assert config.project.name == "../My: project"
    assert config.workspace == file.parent / "runs" / "My-project"
    assert config.ingest.sources[0].path == images
    assert config.detector.settings["class_map"] == {}, "which is which only the person can say"


def test_init_takes_every_object_for_the_only_class(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    assert pipeline("init", file, "--images", images, "--classes", "no").exit_code == 0
    assert load_config(file).detector.settings["class_map"] == {"*": "no"}


def test_init_overwrites_nothing(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text("mine")
    result = pipeline("init", file, "--images", images, "--classes", "cat")
    assert result.exit_code == 2
    assert f"{file}: exists already; nothing is overwritten" in result.stderr
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--classes": " , "}, "--classes: name at least one class"),
        ({"--classes": "cat,cat"}, "none of them twice"),
        ({"--images": "nowhere"}, "--images: nowhere is not a folder"),
    ],
)
def test_init_needs(changes: dict[str, str], words: str, images: Path, tmp_path: Path) -> None:
    options = {"--images": str(images), "--classes": "cat"} | changes
    result = pipeline("init", tmp_path / "x.yaml", *(part for pair in options.items() for part in pair))
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "x.yaml").exists()


def test_init_where_nothing_can_be_written(images: Path, tmp_path: Path) -> None:
    result = pipeline("init", tmp_path / "no" / "x.yaml", "--images", images, "--classes", "cat")
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


# --- all of them ----------------------------------------------------------------------------------------------


def test_ctrl_c_is_told_and_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.loop.score", interrupted)
    place = ("--workspace", tmp_path / "ws")
    result = pipeline("run", TINY, *place)
    assert result.exit_code == 130
    assert "the workspace is whole: run the same command again" in result.stderr
    monkeypatch.undo()
    assert pipeline("run", TINY, *place).exit_code == 0


def test_a_refusal_of_the_system_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = pipeline("run", TINY, "--workspace", tmp_path / "file" / "ws")
    assert result.exit_code == 1
    assert "could not be written" in result.stderr
    assert "Traceback" not in result.output


def test_colours_can_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from pipeline.cli import main

    assert "\x1b[" in CliRunner().invoke(main, ["list", "executors"], color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(main, ["list", "executors"], color=True).stdout
