"""What each format cannot hold, in a sentence: told by `pipeline export --help`, and measured by the tests.

Nothing heavy is imported here, so that the command line may.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FLOOR", "LOSSES"]

FLOOR = 0.95
"""A mask whose IoU is lower after the round trip as a YOLO row is worth a look."""

LOSSES: Mapping[str, str] = {
    "yolo": (
        "one row an instance, holes and parts by seams; readers that draw a polygon's border, as Ultralytics does, "
        "see a line of pixels between parts; who made a mask, scores and clicks stay in manifest.jsonl"
    ),
    "coco": (
        "masks are exact, as run lengths or as polygons; who made a mask, scores and clicks stay in manifest.jsonl"
    ),
    "label_studio": (
        "masks are exact, as brush regions; what models proposed is a prediction, with its confidence; clicks, states "
        "and who made a mask stay in manifest.jsonl"
    ),
    "masks": (
        "masks are exact, overlapping ones on further planes; state, maker, scores and clicks are beside them; what a "
        "person started from stays in manifest.jsonl"
    ),
    "table": "one row an instance with its mask, exact; without the images, and without what a person started from",
}
"""A format's name, as `--format` takes it, and what is lost in it."""
