"""One writer at a time; Ctrl-C is safe; a finished run rests; new images are picked up. With the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import wiring
from pipeline.cli import main
from tests.integration import checker

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[1] / "configs" / "tiny.yaml"
LONG = ("--set", "trainer.epochs=100000")
"""A training that will not end by itself before the test is over: somebody holds the workspace."""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def pipeline(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(), timeout=120, check=False
    )


def run(workspace: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return pipeline("run", CONFIG, "--workspace", workspace, *more)


@contextmanager
def training(workspace: Path) -> Iterator[subprocess.Popen[str]]:
    """A `pipeline run` in the midst of a training that does not end."""
    process = subprocess.Popen(
        command("run", CONFIG, "--workspace", workspace, *LONG),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        patience = time.monotonic() + 90
        while not list(workspace.glob("work/train/*/checkpoint.json")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < patience
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose run is finished."""
    workspace = tmp_path_factory.mktemp("finished") / "tiny"
    done = run(workspace)
    assert done.returncode == 0, done.stderr
    return workspace


def test_a_second_run_is_refused_with_the_process_id_of_the_first(tmp_path: Path, finished: Path) -> None:
    workspace = tmp_path / "tiny"
    with training(workspace) as holder:
        for stop in (False, True):
            if stop:  # a stopped process still holds what it holds
                holder.send_signal(signal.SIGSTOP)
            refused = run(workspace, *LONG)
            assert refused.returncode == 1
            assert str(holder.pid) in refused.stderr
            assert "Traceback" not in refused.stderr
        assert pipeline("status", CONFIG, "--workspace", workspace).returncode in (0, 3), "looking needs no lock"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        resumed = run(workspace)
    assert resumed.returncode == 0, resumed.stderr
    assert checker.damage(workspace) == []
    assert checker.take(workspace).trees == checker.take(finished).trees


def test_ctrl_c_leaves_a_resumable_workspace(tmp_path: Path, finished: Path) -> None:
    workspace = tmp_path / "tiny"
    with training(workspace) as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the workspace is whole: run the same command again to go on" in told
    assert "Traceback" not in told
    assert checker.damage(workspace) == []
    resumed = run(workspace)
    assert resumed.returncode == 0, resumed.stderr
    assert checker.leftovers(workspace) == []
    assert checker.take(workspace).trees == checker.take(finished).trees


def everything(workspace: Path) -> dict[str, tuple[int, int, bytes]]:
    """Relative path -> (mtime in ns, inode, contents) of every file but the lock."""
    return {
        str(path.relative_to(workspace)): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes())
        for path in workspace.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def folders(workspace: Path) -> set[Path]:
    return {path for path in workspace.rglob("*") if path.is_dir()}


def test_a_finished_run_writes_nothing_when_it_is_run_again(finished: Path) -> None:
    files, before = everything(finished), folders(finished)
    again = run(finished)
    assert again.returncode == 0, again.stderr
    assert everything(finished) == files
    assert folders(finished) == before


def test_a_finished_run_builds_no_peer_when_it_is_run_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = []

    def build(_house: wiring.House, family: str, **_: object) -> Any:
        built.append(family)
        raise AssertionError(f"{family} was built")

    monkeypatch.setattr(wiring.House, "_build", build)
    arguments = ["run", str(CONFIG), "--workspace", str(finished)]
    main(arguments, standalone_mode=False)
    assert built == []
    # The same trap springs when there is work to do.
    with pytest.raises(AssertionError, match="was built"):
        main([*arguments, "--set", "rounds=3"], standalone_mode=False)
    assert built


def write_images(folder: Path, numbers: Sequence[int]) -> None:
    """Pictures of one bright square each, with its box and class in a COCO file beside them."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        picture = np.random.default_rng(number).integers(0, 90, (48, 48, 3), dtype=np.uint8)
        cv2.rectangle(picture, (10, 12), (30, 34), (200, 220, 240), -1)
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture)


def describe(root: Path, count: int) -> None:
    """The COCO file about the first `count` pictures."""
    ring = [10, 12, 31, 12, 31, 35, 10, 35]
    images = [{"id": n, "file_name": f"{n:03d}.png", "width": 48, "height": 48} for n in range(count)]
    rows = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 12, 21, 23], "segmentation": [ring]}
        for n in range(count)
    ]
    body = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "square"}]}
    (root / "annotations.json").write_text(json.dumps(body))


GROWING = """
project: {name: growing, classes: [square]}
workspace: run
rounds: 1
detector: {kind: ground_truth, skill: 0.6}
segmenter: {kind: grabcut}
annotator: {kind: simulated, max_clicks: 1}
trainer: {kind: dry_run}
ingest:
  sources: [{kind: coco, path: data, labels_are: truth, seed_images: 2}]
  # Squares on noise are all alike.
  split: {train: 0.6, val: 0.4, test: 0.0, near_duplicates: "off"}
propose: {batch: 4}
score: {measures: {entropy: 1.0}}
select: {kind: top_k, budget: {images: 2}}
"""


def test_new_images_are_in_the_next_round_and_old_ones_keep_their_split(tmp_path: Path) -> None:
    config, data, workspace = tmp_path / "growing.yaml", tmp_path / "data", tmp_path / "run"
    config.write_text(GROWING)
    data.mkdir()
    write_images(data / "images", range(10))
    describe(data, 10)

    def went_on(rounds: int) -> dict[str, str]:
        done = pipeline("run", config, "--set", f"rounds={rounds}")
        assert done.returncode == 0, done.stderr
        return dict(checker.query(workspace, "SELECT id, split FROM samples"))

    first = went_on(1)
    write_images(data / "images", range(10, 18))
    describe(data, 18)
    assert went_on(1) == first, "all rounds are finished: nothing is looked for"
    second = went_on(2)
    assert (len(first), len(second)) == (10, 18)
    assert first.items() <= second.items()
    assert {"train", "val"} <= {split for name, split in second.items() if name not in first}
    (pool,) = checker.query(workspace, "SELECT facts FROM marks WHERE round = 2 AND stage = 'propose'")
    unlabelled = set(second) - {
        row[0] for row in checker.query(workspace, "SELECT sample_id FROM revisions WHERE round < 2")
    }
    assert json.loads(pool[0])["pool"] == sum(second[name] == "train" for name in unlabelled)
    assert checker.leftovers(workspace) == []
