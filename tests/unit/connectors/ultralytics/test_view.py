from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from connectors.ultralytics.view import make_view
from pipeline.errors import BackendRejected, BadFormat
from tests.contracts._yolo import tree_of, write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset", images=4)


def test_only_the_training_split_is_shown(dataset: Path, tmp_path: Path) -> None:
    (dataset / "images" / "val" / "held.jpg").write_bytes(b"held out")
    path, names = make_view(dataset, tmp_path / "view")
    assert names == ("disc", "square")
    shown = {file.relative_to(tmp_path / "view").as_posix() for file in (tmp_path / "view").rglob("*.*")}
    assert shown == {
        "data.yaml",
        *(f"images/train/{number}.jpg" for number in range(4)),
        *(f"labels/train/{number}.txt" for number in range(4)),
    }
    described = yaml.safe_load(path.read_text())
    assert described == {"train": "images/train", "val": "images/train", "names": ["disc", "square"]}


def test_images_appear_as_often_as_is_asked_for(dataset: Path, tmp_path: Path) -> None:
    make_view(dataset, tmp_path / "view", {"1": 3, "2": 0, "nobody": 5})
    shown = {file.relative_to(tmp_path / "view").as_posix() for file in (tmp_path / "view").rglob("*.*")}
    stems = ("0", "1", "1--2", "1--3", "3")
    assert shown == {
        "data.yaml",
        *(f"images/train/{stem}.jpg" for stem in stems),
        *(f"labels/train/{stem}.txt" for stem in stems),
    }
    for kind, suffix in (("images", "jpg"), ("labels", "txt")):
        copy = tmp_path / "view" / kind / "train" / f"1--3.{suffix}"
        assert copy.read_bytes() == (dataset / kind / "train" / f"1.{suffix}").read_bytes()


def test_what_is_written_there_stays_there(dataset: Path, tmp_path: Path) -> None:
    before = tree_of(dataset)
    make_view(dataset, tmp_path / "view")
    image = tmp_path / "view" / "images" / "train" / "1.jpg"
    replacement = image.with_name("restored.jpg")
    replacement.write_bytes(b"another picture")
    replacement.replace(image)
    (tmp_path / "view" / "labels" / "train.cache").write_bytes(b"cache")
    assert tree_of(dataset) == before
    make_view(dataset, tmp_path / "view")
    assert tree_of(dataset) == before
    assert image.read_bytes() == (dataset / "images" / "train" / "1.jpg").read_bytes(), "a view is made anew"


def test_nothing_else_of_the_description_is_passed_on(dataset: Path, tmp_path: Path) -> None:
    with (dataset / "data.yaml").open("a") as opened:
        opened.write("download: |\n  import os; os.system('true')\npath: /elsewhere\n")
    path, _ = make_view(dataset, tmp_path / "view")
    assert set(yaml.safe_load(path.read_text())) == {"train", "val", "names"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "train: images/train",
        "names: [a]",
        "train: 3\nnames: [a]",
        "train: images/train\nnames: {1: a}",
        ": : :",
    ],
)
def test_a_description_that_says_too_little(dataset: Path, tmp_path: Path, text: str) -> None:
    (dataset / "data.yaml").write_text(text)
    with pytest.raises(BadFormat) as caught:
        make_view(dataset, tmp_path / "view")
    assert caught.value.path == dataset / "data.yaml"


def test_nothing_to_train_on(dataset: Path, tmp_path: Path) -> None:
    for label in (dataset / "labels" / "train").iterdir():
        label.write_text("")
    with pytest.raises(BackendRejected, match="no labelled object"):
        make_view(dataset, tmp_path / "view")
    for image in (dataset / "images" / "train").iterdir():
        image.unlink()
    with pytest.raises(BackendRejected, match="no image"):
        make_view(dataset, tmp_path / "view")
