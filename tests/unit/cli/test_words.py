"""What a finished stage says."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.cli.words import noted, told

CASES: list[tuple[str, dict[str, Any], dict[str, int], str]] = [
    ("ingest", {"samples": 1200, "quarantined": 0}, {}, "1,200 images"),
    ("ingest", {"samples": 1, "quarantined": 2}, {}, "1 image, 2 set aside"),
    (
        "propose",
        {"champion": None, "pool": 9},
        {"propose.done": 9, "proposals": 1},
        "1 object in 9 images, by the starting weights",
    ),
    ("propose", {"champion": "m"}, {}, "nothing new"),
    ("segment", {}, {"segment.done": 4, "proposals": 1, "masks": 0}, "0 masks for 1 box"),
    ("segment", {}, {}, "nothing new"),
    (
        "segment",
        {"escalated": 3},
        {"segment.done": 4, "proposals": 9, "masks": 9},
        "9 masks for 9 boxes, 3 by the better segmenter",
    ),
    ("segment", {"escalated": 0}, {"segment.done": 4, "proposals": 9, "masks": 9}, "9 masks for 9 boxes"),
    ("score", {}, {"score.done": 7}, "7 images"),
    ("select", {"selected": 3, "candidates": 40}, {}, "3 of 40 images to ask about"),
    ("submit", {"tasks": 3, "annotator": "folder"}, {}, "3 tasks for folder"),
    ("collect", {"answers": 1}, {}, "1 answer"),
    ("merge", {"images": 22, "version": "ab" * 32}, {}, "22 labelled images, version abababababab"),
    ("train", {"model": "m2"}, {}, "model m2"),
    ("evaluate", {"model": "m2", "champion": "m1", "promoted": True}, {}, "m2 replaces m1"),
    (
        "evaluate",
        {"model": "m1", "champion": "start", "promoted": False, "reason": "no gain"},
        {},
        "m1 does not replace the starting weights: no gain",
    ),
    (
        "evaluate",
        {"model": "m1", "champion": "start", "promoted": True, "truth": 0},
        {},
        "m1 takes over unjudged: no held-out image has labels to judge it by",
    ),
    ("another", {}, {}, ""),
]


@pytest.mark.parametrize(("stage", "facts", "tally", "words"), CASES)
def test_told(stage: str, facts: dict[str, Any], tally: dict[str, int], words: str) -> None:
    assert told(stage, facts, tally) == words


ALIKE = {"images": 37, "of": 400, "groups": 5, "largest": 20, "split": "train"}
NOTES: list[tuple[str, dict[str, Any], str]] = [
    (
        "ingest.alike",
        ALIKE,
        "of 400 new images, 37 look like others and share their split: 5 groups, the largest of 20 in train",
    ),
    (
        "ingest.alike",
        ALIKE | {"images": 1, "of": 1, "groups": 1, "largest": 1},
        "of 1 new image, 1 looks like others and shares their split: 1 group",
    ),
    (
        "ingest.settings_changed",
        {"changed": {"seed": (0, 3)}, "samples": 9},
        "changed since this workspace was made: seed (0 -> 3); 9 images keep their split",
    ),
    (
        "leaks.warned",
        {"reason": "a looks like b", "train_images": 1},
        "training goes on with held-out images in it (ingest.leaks: warn): a looks like b",
    ),
]


@pytest.mark.parametrize(("event", "data", "words"), NOTES)
def test_noted(event: str, data: dict[str, Any], words: str) -> None:
    assert noted(event, data) == words
