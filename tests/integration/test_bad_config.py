"""Bad configurations: each kind of mistake ends with its exit code and one message that names the key.

Every case is one line of a table: what is changed in a good configuration, and what must be said. A mistake in
the file or in the options is 2; what only shows when a peer or a workspace is opened is 1.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text

from tests.integration.commands import TINY, pipeline

GOOD: Mapping[str, Any] = yaml.safe_load(TINY.read_text(encoding="utf-8"))
YOLO = {"kind": "ultralytics_yolo", "weights": "absent.pt"}
GONE = object()


@dataclass(frozen=True)
class Case:
    """`changes`: dotted key -> value (GONE removes it). `content`: the whole file. `words`: must be said."""

    name: str
    words: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    options: tuple[str, ...] = ()
    prepare: Callable[[Path], object] | None = None
    code: int = 2


def changed(name: str, changes: Mapping[str, Any], *words: str, code: int = 2) -> Case:
    return Case(name, words, changes, code=code)


def content(name: str, data: bytes, *words: str) -> Case:
    return Case(name, words, content=data)


def options(name: str, given: str, *words: str) -> Case:
    return Case(name, words, options=("--set", given))


def prepared(name: str, prepare: Callable[[Path], object], *words: str, code: int = 1) -> Case:
    return Case(name, words, prepare=prepare, code=code)


def _marked(root: Path, marker: bytes) -> None:
    root.mkdir()
    (root / "workspace.json").write_bytes(marker)


def _newer_ledger(root: Path) -> None:
    assert pipeline("ingest", TINY, "--workspace", root).exit_code == 0
    engine = create_engine(f"sqlite:///{root / 'ledger.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE pointers SET value = '99' WHERE name = 'schema'"))
    engine.dispose()


def _foreign(root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").touch()


def _other_classes(root: Path) -> None:
    result = pipeline("ingest", TINY, "--workspace", root, "--set", "project.classes=[coin, leaf, ring, star]")
    assert result.exit_code == 0


def _torn_ledger(root: Path) -> None:
    _marked(root, b'{"format": 1}\n')
    (root / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"torn" * 99)


CASES = [
    # --- keys -------------------------------------------------------------------------------------------------
    changed("unknown section", {"detecter": {}}, "detecter: unknown key; did you mean 'detector'?"),
    changed("unknown key of a stage", {"select.budget.image": 3}, "select.budget.image: unknown key", "'images'?"),
    changed("unknown key of the project", {"project.class": []}, "project.class: unknown key", "'classes'?"),
    changed(
        "unknown key of a source", {"ingest.sources.0.pth": "x"}, "ingest.sources.0.pth: unknown key", "'path'?"
    ),
    changed("unknown key of a peer", {"detector.skil": 1}, "detector.skil: unknown key; did you mean 'skill'?"),
    changed("unknown key like no other", {"zzz": 1}, "zzz: unknown key"),
    changed("unknown key of a selector", {"select.wieghts": {}}, "select.wieghts: unknown key"),
    changed("missing section", {"trainer": GONE}, "trainer: is missing"),
    changed(
        "misspelt section",
        {"trainer": GONE, "trianer": {"kind": "dry_run"}},
        "2 problems:",
        "trainer: is missing; did you write 'trianer' for it?",
        "trianer: unknown key; did you mean 'trainer'?",
    ),
    changed("missing kind", {"detector": {"skill": 1}}, "detector.kind: is missing"),
    changed("missing key of a selector", {"select.kind": "weighted_sum"}, "select.weights: is missing"),
    # --- values -----------------------------------------------------------------------------------------------
    changed("wrong type", {"rounds": "three"}, "rounds: ", "valid integer", "(given: 'three')"),
    changed("no rounds", {"rounds": 0}, "rounds: ", "greater than or equal to 1"),
    changed("negative seed", {"seed": -1}, "seed: ", "greater than or equal to 0"),
    changed("text for a section", {"detector": "ground_truth"}, "detector: must be a section", "'ground_truth'"),
    changed("nothing for a section", {"ingest": None}, "ingest: must be a section", "None"),
    changed("wrong type in a peer", {"detector.skill": "much"}, "detector.skill: ", "valid number", "'much'"),
    changed("out of a peer's range", {"detector.skill": 2}, "detector.skill: ", "less than or equal to 1"),
    changed("no budget", {"select.budget": {}}, "select.budget: give either images or instances"),
    changed("both budgets", {"select.budget.instances": 3}, "select.budget: give either images or instances"),
    changed("budget of nothing", {"select.budget.images": 0}, "select.budget.images: "),
    changed("split beyond one", {"ingest.split.test": 0.5}, "ingest.split: train + val + test must be 1, not 1.5"),
    changed("negative split", {"ingest.split.train": -1}, "ingest.split.train: "),
    changed("no classes", {"project.classes": []}, "project.classes: ", "at least 1 item"),
    changed("a class twice", {"project.classes": ["a", "a"]}, "project.classes: two classes have the same name"),
    changed("a class with a tab", {"project.classes": ["a\tb"]}, "project.classes: a class name has a character"),
    changed("a class without a name", {"project.classes": [" "]}, "project.classes: a class name is empty"),
    changed(
        "a class that YAML read as a truth value", {"project.classes": [False]}, "project.classes.0: ", "string"
    ),
    changed("no sources", {"ingest.sources": []}, "ingest.sources: ", "at least 1 item"),
    changed("unknown kind of source", {"ingest.sources.0.kind": "voc"}, "ingest.sources.0.kind: ", "'coco'"),
    changed(
        "weight that is not finite", {"score.measures": {"entropy": float("inf")}}, "score.measures.entropy: "
    ),
    # --- peers ------------------------------------------------------------------------------------------------
    changed(
        "unknown detector", {"detector.kind": "ultralytics_yol"}, "detector.kind: ", "mean 'ultralytics_yolo'?"
    ),
    changed("unknown segmenter", {"segmenter.kind": "grabct"}, "segmenter.kind: ", "did you mean 'grabcut'?"),
    changed("unknown executor", {"executor": {"kind": "gpu"}}, "executor.kind: ", "known: serial, threads"),
    changed("peer by a path", {"trainer.kind": "../dry_run"}, "trainer.kind: no trainer peer is called"),
    changed("unknown measure", {"score.measures": {"entropi": 1}}, "score.measures: ", "did you mean 'entropy'?"),
    changed("unknown selector", {"select.kind": "topk"}, "select.kind: ", "did you mean 'top_k'?"),
    changed(
        "weight on a measure that nobody computes",
        {"select": {"kind": "weighted_sum", "weights": {"entropy": 1, "margin": 2}, "budget": {"images": 3}}},
        "select.weights.margin: score.measures does not compute it",
        "(only detector_segmenter_disagreement, entropy)",
    ),
    changed(
        "many mistakes at once",
        {"rounds": "x", "detector.skil": 1, "trainer.kind": "dryrun", "zzz": 1, "workspace": "${NO_SUCH_NAME}/x"},
        "5 problems:",
        "\n  rounds: ",
        "\n  detector.skil: ",
        "\n  trainer.kind: ",
        "\n  zzz: ",
        "\n  workspace: ",
    ),
    # --- paths ------------------------------------------------------------------------------------------------
    changed(
        "variable that is not set", {"workspace": "${NO_SUCH_NAME}/x"}, "workspace: ", "NO_SUCH_NAME is not set"
    ),
    changed(
        "variable of a source that is not set",
        {"ingest.sources": [{"kind": "images", "path": "${NO_SUCH_NAME}"}]},
        "ingest.sources.0.path: the environment variable NO_SUCH_NAME is not set",
    ),
    changed(
        "home of nobody", {"workspace": "~no_such_person/x"}, "workspace: nobody here is called ~no_such_person"
    ),
    changed("path with a null", {"workspace": "a\0b"}, "workspace: is no path"),
    changed("empty path", {"workspace": ""}, "workspace: is no path"),
    changed(
        "source that does not exist",
        {"ingest.sources": [{"kind": "images", "path": "nowhere"}]},
        "ingest.sources.0.path: ",
        "nowhere does not exist",
    ),
    changed(
        "source that is a file",
        {"ingest.sources": [{"kind": "images", "path": "c.yaml"}]},
        "ingest.sources.0.path: ",
        "c.yaml is not a folder",
    ),
    # --- the file ---------------------------------------------------------------------------------------------
    content("empty file", b"", "must be a mapping of sections; `pipeline init` writes an example"),
    content("a list", b"- a\n", "must be a mapping of sections"),
    content("not YAML", b"project: [coin\nseed: 0\n", "is not YAML: ", "line 2"),
    content("not UTF-8", b"project: {name: \xff}\n", "is not UTF-8 text"),
    content(
        "tag that runs code", b"!!python/object/apply:os.system ['touch EXECUTED']\n", "is not YAML: ", "python"
    ),
    content("tag inside", b"seed: !!python/name:os.system\n", "is not YAML: "),
    content("key twice", b"seed: 1\nrounds: 2\nseed: 3\n", "the key 'seed' is there twice"),
    content("nested without end", b"[" * 5000, "is not YAML"),
    content("number for a key", b"1: 2\n", "1: "),
    # --- options ----------------------------------------------------------------------------------------------
    options("--set without a value", "rounds", "--set: 'rounds' is not of the form dotted.key=value"),
    options("--set without a key", "=3", "--set: '=3' is not of the form"),
    options("--set into a value", "seed.x=1", "seed.x: --set leads into a value"),
    options(
        "--set past a list", "ingest.sources.7.path=x", "ingest.sources.7.path: --set leads into a value or past"
    ),
    options("--set of what is no YAML", "select.budget={", "select.budget: the value '{' is not YAML"),
    options("--set of an unknown key", "detector.skil=1", "detector.skil: unknown key; did you mean 'skill'?"),
    options("--set of a wrong value", "rounds=many", "rounds: ", "(given: 'many')"),
    Case("unknown option", ("No such option", "--workspce"), options=("--workspce", "x")),
    # --- weights and workspaces -------------------------------------------------------------------------------
    changed("missing weights", {"detector": YOLO}, "no such file; searched:", "\n  - {here}/absent.pt", code=1),
    changed("missing weights by path", {"trainer": YOLO | {"weights": "/no/x.pt"}}, "  - /no/x.pt\nput", code=1),
    changed(
        "weights of another digest",
        {"detector": YOLO | {"weights": "c.yaml", "sha256": "0" * 64}},
        f"where {'0' * 64} was wanted; nothing was loaded",
        code=1,
    ),
    prepared("newer workspace", lambda root: _marked(root, b'{"format": 99}'), "a newer version", "format 99"),
    prepared("newer ledger", _newer_ledger, "made by a newer version", "schema 99"),
    prepared("torn marker", lambda root: _marked(root, b"{"), "workspace.json is damaged"),
    prepared("torn ledger", _torn_ledger, "the ledger in {ws} is damaged"),
    prepared("foreign folder", _foreign, "{ws} is not a maskloop workspace, and not empty: choose another folder"),
    prepared("file for a workspace", lambda root: root.touch(), "{ws} is not a maskloop workspace"),
    prepared("other classes", _other_classes, "project.classes: the workspace was made for the classes", code=2),
]


def put(data: dict[str, Any], key: str, value: Any) -> None:
    here: Any = data
    *parents, last = key.split(".")
    for part in parents:
        here = here[int(part) if isinstance(here, list) else part]
    if value is GONE:
        del here[last]
    else:
        here[last] = value


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_bad_config(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_WEIGHTS", str(tmp_path / "lent"))
    monkeypatch.delenv("NO_SUCH_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    data = copy.deepcopy(dict(GOOD)) | {"workspace": "ws"}
    for key, value in case.changes.items():
        put(data, key, value)
    file, root = tmp_path / "c.yaml", tmp_path / "ws"
    # JSON is YAML, and says exactly what the table says.
    file.write_bytes(json.dumps(data).encode() if case.content is None else case.content)
    if case.prepare is not None:
        case.prepare(root)

    result = pipeline("run", file, *case.options)

    assert result.exit_code == case.code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    if case.name != "unknown option":
        assert "\nerror: " in f"\n{result.stderr}"
    for words in case.words:
        assert words.replace("{ws}", str(root)).replace("{here}", str(tmp_path)) in result.stderr
    if case.code == 2 and not case.options and case.prepare is None:
        assert str(file) in result.stderr or "ingest.sources" in result.stderr
    assert not (tmp_path / "EXECUTED").exists()


def test_missing_weights_name_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_WEIGHTS", str(tmp_path / "lent"))
    place = ("--workspace", tmp_path / "ws")
    result = pipeline("run", TINY, *place, "--set", "trainer={kind: ultralytics_yolo, weights: absent.pt}")
    assert result.exit_code == 1
    for folder in (TINY.parent, tmp_path / "ws", tmp_path / "lent"):
        assert f"\n  - {folder / 'absent.pt'}" in result.stderr
    assert "MASKLOOP_WEIGHTS" in result.stderr
    assert "ingest" not in result.stderr, "the trainer's weights are missed before people are asked"


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_configuration_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    result = pipeline("run", tmp_path / name)
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
