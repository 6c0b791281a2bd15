"""Somebody who answers the annotator `folder`: keeps the first object, throws out the others, draws a new one."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["answer"]


def answer(work: Path) -> None:
    """Answer every task of the outbox, always in the same way."""
    for task in (work / "outbox").iterdir():
        content = json.loads((task / "instances.json").read_text(encoding="utf-8"))
        triangle = [[50, 5, 60, 5, 55, 20]]
        drawn = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": triangle}
        content["annotations"] = [*content["annotations"][:1], drawn]
        (work / "inbox" / f"{task.name}.json").write_text(json.dumps(content), encoding="utf-8")
