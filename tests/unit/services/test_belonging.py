"""Where images belong that come in with labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.formats.beside import Place
from pipeline.formats.labels import Found
from pipeline.services.belonging import Belonging
from tests.fakes.store import sample, sample_id

HERE = Path("/nowhere")


def test_the_file_speaks_before_the_manifest_and_of_the_rest_the_manifest_does() -> None:
    image = HERE / "images/x.png"
    said = {sample_id(0): Place("train", "clip")}
    assert Belonging([], said, []).said(sample_id(0), image) == ("train", "clip")
    assert Belonging([Found(image)], said, []).said(sample_id(0), image) == ("train", "clip")
    assert Belonging([Found(image, "val")], said, []).said(sample_id(0), image) == ("val", "clip")
    assert Belonging([Found(image, "val", None, "g")], said, []).said(sample_id(0), image) == ("val", "g")
    assert Belonging([Found(image, "val")], said, []).said(sample_id(1), HERE / "y.png") == (None, "")


@pytest.mark.parametrize("name", [f"{sample_id(0)}.jpg", f"{sample_id(0)[:16]}.png"])
def test_an_id_tells_whatever_the_file_is_called(name: str) -> None:
    """A table has whole ids; exported files are called by the start of theirs, also where their bytes are others."""
    belonging = Belonging([Found(HERE / name, "test")], {}, [])
    assert belonging.said(sample_id(0), HERE / "holiday.jpg").split == "test"
    assert belonging.said(sample_id(7), HERE / "copies" / f"{sample_id(0)[:16]}.jpg").split == "test"
    assert belonging.said(sample_id(7), HERE / "holiday.jpg").split is None


def test_a_name_tells_only_where_it_can_be_that_image(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/x.png", "copy/x.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"b" if name.startswith("b") else b"others")
    absent = Belonging([Found(HERE / "x.png", "val")], {}, [])
    assert absent.said(sample_id(0), tmp_path / "a/x.png").split == "val"
    two = Belonging([Found(tmp_path / "a/x.png", "val"), Found(tmp_path / "b/x.png", "test")], {}, [])
    assert two.said(sample_id(0), tmp_path / "a/x.png").split == "val"
    assert two.said(sample_id(1), tmp_path / "b/x.png").split == "test"
    assert two.said(sample_id(2), tmp_path / "copy/x.png").split == "val", "of its size there is one"
    doubtful = Belonging([Found(HERE / "a/x.png", "val"), Found(HERE / "b/x.png", "test")], {}, [])
    assert doubtful.said(sample_id(0), tmp_path / "a/x.png").split is None


def test_new_images_of_a_group_go_where_it_is() -> None:
    """The file would have them judge what its other images teach."""
    said = {sample_id(1): Place("val", "clip"), sample_id(2): Place("val", "other")}
    belonging = Belonging([], said, [replace(sample(0, "train"), group="clip")])
    assert belonging.of_new(sample_id(1), HERE / "1.png") == (None, "clip")
    assert belonging.of_new(sample_id(2), HERE / "2.png") == ("val", "other")
    assert belonging.said(sample_id(1), HERE / "1.png") == ("val", "clip")
