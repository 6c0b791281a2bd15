"""A run on a dataset whose own splits leak, and on a workspace whose settings or version have changed since."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from pipeline.domain.likeness import likeness_of
from pipeline.formats.image import read_frame
from pipeline.scenes import DEMO, scene_at
from tests.integration.commands import TINY, pipeline


def draw(path: Path, number: int, *, quality: int | None = None, side: int = 160) -> Path:
    """A scene as PNG, or a copy of it as JPEG, with a label of one object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Pillow.fromarray(scene_at(DEMO, 5, number)[0]).resize((side, side))
    if quality is None:
        picture.save(path)
    else:
        picture.save(path, quality=quality)
    label = Path(str(path.with_suffix(".txt")).replace("images", "labels"))
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text("0 0.2 0.2 0.7 0.2 0.7 0.8 0.2 0.8\n")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The tiny loop for one round, on four train and two val images that are all different."""
    data = tmp_path / "data"
    for number in range(6):
        draw(data / "images" / ("val" if number > 3 else "train") / f"{number}.png", number)
    (data / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [coin]\n")
    settings = yaml.safe_load(TINY.read_text())
    settings |= {"workspace": str(tmp_path / "run"), "rounds": 1}
    settings["ingest"] = {
        "sources": [{"kind": "yolo", "path": str(data), "labels_are": "truth", "seed_images": 9}]
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def plant(config: Path) -> tuple[Path, Path]:
    """A smaller JPEG of a val image among the train images."""
    images = config.parent / "data" / "images"
    return draw(images / "train" / "planted.jpg", 4, quality=85, side=120), images / "val" / "4.png"


def test_splits_that_do_not_leak_train(config: Path) -> None:
    result = pipeline("run", config)
    assert result.exit_code == 0, result.output
    assert not (config.parent / "run" / "work" / "leaks").exists()


def test_a_leak_stops_the_run_shows_the_pair_and_can_be_mended(config: Path) -> None:
    planted, held_out = plant(config)
    for _ in range(2):  # nothing is marked as done: it is found again
        result = pipeline("run", config)
        assert result.exit_code == 1
        told = " ".join(result.stderr.split())
        assert f"{planted}: (train) looks like {held_out} (val)" in told
        assert "of 64 bits" in told
        assert "Take one of the two files away" in told
    (picture,) = (config.parent / "run" / "work" / "leaks").iterdir()
    assert str(picture) in told
    shown = read_frame(picture)
    left, right = shown[:, :360], shown[:, -360:]
    assert shown.shape == (360, 732, 3)
    assert np.abs(left.astype(int) - right).mean() < 10, "two views of one scene"
    assert left.std() > 10
    planted.unlink()
    result = pipeline("run", config)
    assert result.exit_code == 0, result.output


def test_a_leak_can_be_let_through(config: Path) -> None:
    plant(config)
    result = pipeline("run", config, "--set", "ingest.leaks=warn")
    assert result.exit_code == 0, result.output
    assert "training goes on with held-out images in it" in " ".join(result.output.split())


def test_a_group_in_two_splits_is_a_leak(config: Path) -> None:
    """The dataset divides what the configuration wants to keep together."""
    by_pattern = ("run", config, "--set", "ingest.split.group_by=pattern", "--set")
    assert pipeline(*by_pattern, r"ingest.split.pattern=\d").exit_code == 0
    result = pipeline(*by_pattern, "ingest.split.pattern=png", "--workspace", config.parent / "other")
    assert result.exit_code == 1
    assert "is of the same group as" in " ".join(result.stderr.split())


def test_changed_settings_are_told_once(config: Path) -> None:
    assert pipeline("ingest", config).exit_code == 0
    settings = yaml.safe_load(config.read_text())
    assert pipeline("run", config).exit_code == 0
    settings |= {"rounds": 2, "seed": 5}
    settings["ingest"]["split"] = {"train": 0.5, "val": 0.5}
    config.write_text(yaml.safe_dump(settings))
    told = " ".join(pipeline("run", config).output.split())
    assert "ingest.split.train (0.8 -> 0.5)" in told
    assert "seed (0 -> 5)" in told
    assert "6 images keep their split" in told
    settings["rounds"] = 3
    config.write_text(yaml.safe_dump(settings))
    assert "keep their split" not in pipeline("run", config).output


def test_an_older_workspace_learns_what_its_images_look_like(config: Path) -> None:
    """It has no likenesses: they are made when new images come, which then find their near-duplicates."""
    assert pipeline("ingest", config).exit_code == 0
    ledger = sqlite3.connect(config.parent / "run" / "ledger.sqlite")
    with ledger:
        ledger.execute("DELETE FROM likenesses")
    settings = yaml.safe_load(config.read_text())
    copy = draw(config.parent / "more" / "images" / "copy.jpg", 4, quality=80)
    settings["ingest"]["sources"].append({"kind": "images", "path": str(copy.parent)})
    settings["ingest"]["split"] = {"train": 1.0, "val": 0.0}
    settings["rounds"] = 2
    config.write_text(yaml.safe_dump(settings))
    result = pipeline("run", config)
    assert result.exit_code == 0, result.output
    result = pipeline("run", config)
    rows = dict(ledger.execute("SELECT path, split FROM samples").fetchall())
    looks = dict(ledger.execute("SELECT sample_id, phash FROM likenesses").fetchall())
    ledger.close()
    assert rows[str(copy)] == "val"
    assert len(looks) == 7
    assert f"{likeness_of(read_frame(copy)).phash:016x}" in looks.values()
