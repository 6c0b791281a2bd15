"""What a finished stage says."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.cli.words import told

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
