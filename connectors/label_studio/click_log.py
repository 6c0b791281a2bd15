"""How many clicks an object took: written by the backend, which sees the clicks, and read where answers are collected.

One file a task, one line an answer. Label Studio itself keeps no record of prompts once their answer is accepted. A
line that is lost, or a file, costs a count and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.domain.mask import Mask

__all__ = ["ClickLog"]

_log = logging.getLogger(__name__)


class ClickLog:
    """Appended to by one server, from many threads; read by another process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, task: str, region: str, mask: Mask, clicks: int, base: Mask | None) -> None:
        """`mask` was answered for a region of Label Studio's task after `clicks` clicks that began on `base`.

        A log that cannot be written must not cost the answer: it is told to the server's own log.
        """
        row = {"region": region, "mask": _digest(mask), "clicks": clicks}
        line = json.dumps(row | {"base": _digest(base) if base is not None else None}) + "\n"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / f"{_file(task)}.jsonl").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as exc:
            _log.warning("the clicks of task %s could not be written down: %s", task, exc)

    def counts(self, task: str) -> Mapping[str, Mapping[str, int]]:
        """Region -> digest of each mask that was answered for it -> the clicks behind it, the newest last."""
        rows: dict[str, dict[str, tuple[int, str | None]]] = {}
        for row in self._rows(task):
            answers = rows.setdefault(row["region"], {})
            answers.pop(row["mask"], None)
            answers[row["mask"]] = row["clicks"], row["base"]
        return {region: {mask: _total(answers, mask) for mask in answers} for region, answers in rows.items()}

    def clicks(self, task: str, region: str, mask: Mask) -> int:
        """The clicks behind a region's mask; behind its last answer if it was changed by brush since; 0 for none."""
        answers = self.counts(task).get(region, {})
        last = list(answers.values())[-1] if answers else 0
        return answers.get(_digest(mask), last)

    def _rows(self, task: str) -> list[dict[str, Any]]:
        try:
            lines = (self._folder / f"{_file(task)}.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as exc:
            _log.warning("the clicks of task %s cannot be read: %s", task, exc)
            return []
        rows = []
        for line in lines:
            try:
                row = json.loads(line)
                rows.append({"region": str(row["region"]), "mask": str(row["mask"])} | _more(row))
            except (ValueError, KeyError, TypeError):
                continue  # a line that a crash cut short
        return rows


def _more(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"clicks": int(row["clicks"]), "base": None if row["base"] is None else str(row["base"])}


def _total(answers: Mapping[str, tuple[int, str | None]], mask: str) -> int:
    """Clicks of the session that led to a mask, and of those that led to where it began."""
    total, here, seen = 0, mask, set[str]()
    while here in answers and here not in seen:
        seen.add(here)
        clicks, base = answers[here]
        total += clicks
        here = base or ""
    return total


def _digest(mask: Mask) -> str:
    return hashlib.sha256(f"{mask.size_hw} ".encode() + mask.counts).hexdigest()[:24]


def _file(task: str) -> str:
    """A name that is safe for a file, whatever a request calls its task."""
    return task if task.isdecimal() and len(task) <= 20 else hashlib.sha256(task.encode()).hexdigest()[:24]
