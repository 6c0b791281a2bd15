"""What stands beside labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import BadFormat
from pipeline.formats.beside import Place, read_beside, with_beside
from pipeline.formats.labels import Found, LabelProblem
from pipeline.formats.yolo import YoloLabels
from tests.fakes.store import sample_id


def test_what_a_manifest_says(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    lines = [
        '{"format":1}',
        '{"sample":"a","split":"val","group":"clip","instances":[{"state":"proposed"}]}',
        '{"sample":"b"}',
        "of another program",
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    for path in (tmp_path, tmp_path / "x.json", tmp_path / "annotations" / "x.json"):
        beside = read_beside(path)
        assert beside.places == {"a": Place("val", "clip"), "b": Place()}
        assert beside.proposed == {"a"}
    assert read_beside(tmp_path / "annotations" / "deeper" / "x.json") == ({}, frozenset())
    (tmp_path / "manifest.jsonl").write_text('{"state":"proposed"')
    with pytest.raises(BadFormat, match="line 1: not a manifest row"):
        read_beside(tmp_path)


def test_labels_with_proposals_are_not_read_and_places_are_told(tmp_path: Path) -> None:
    rows = [
        {"sample": sample_id(0), "split": "val", "group": "clip", "instances": [{"state": "proposed"}]},
        {"sample": sample_id(1), "split": "val", "group": "clip", "instances": [{"state": "drawn"}]},
    ]
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    labels = YoloLabels(tmp_path / "x.txt", {})
    images = [Found(Path(f"{sample_id(number)[:16]}.png"), None, labels) for number in range(3)]
    note = LabelProblem(tmp_path, None, "a note")
    told, guessed, drawn, other = with_beside([note, *images], tmp_path)
    assert (told, other) == (note, images[2])
    assert isinstance(guessed, Found)
    assert guessed.labels is not None
    assert not guessed.labels.read((4, 4), "key").complete
    assert drawn == Found(images[1].image, "val", labels, "clip")
    assert (guessed.split, guessed.group) == ("val", "clip")
    (said,) = with_beside([Found(images[1].image, "test", labels, "g")], tmp_path)
    assert said == Found(images[1].image, "test", labels, "g"), "the labels' own word goes first"
