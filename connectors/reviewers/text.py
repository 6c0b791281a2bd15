"""A table to fill in with any editor or spreadsheet: `review.tsv`, with a column `verdict`.

A verdict is `accept`, `fix` (ask about it again), `reject`, `relabel:NAME`, or `hold-out`; an empty cell is
no verdict. `author` says who gave it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from connectors.work_folder import atomic_write
from pipeline.domain.records import State
from pipeline.errors import BadFormat
from pipeline.ports import Resources, Reviewer, ReviewRow, Verdict

__all__ = ["DECISIONS", "REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}

DECISIONS = ("accept", "fix", "reject", "hold-out")
"""The verdicts without an argument."""

_COLUMNS = ("sample_id", "round", "uncertainty", "instances", "labels", "held_out_by", "path", "verdict", "author")


class Settings(BaseModel):
    """`author` is written into the rows, for whoever fills them in to keep or to change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: Annotated[str, Field(min_length=1)] = "reviewer"


def build(settings: Settings, resources: Resources) -> Reviewer:
    return _Text(settings, resources)


class _Text:
    name = "text"

    def __init__(self, settings: Settings, resources: Resources) -> None:
        self._author = settings.author
        self._classes = resources.classes
        self._path = resources.work / "review.tsv"

    def open(self, rows: Iterable[ReviewRow]) -> None:
        """Write the table anew, with no verdict in it."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows:
            writer.writerow([*_facts(row), "", self._author])
        atomic_write(self._path, text.getvalue().encode())

    def verdicts(self) -> Iterator[Verdict]:
        """The filled-in rows, in order; none before `open`. Raises BadFormat, with the line, for another word."""
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", strict=True)
            try:
                missing = {"sample_id", "verdict"} - set(reader.fieldnames or ())
                if missing:
                    raise self._bad(f"the header lacks {', '.join(sorted(missing))}", 1)
                for row in reader:
                    decision = (row["verdict"] or "").strip()
                    if decision:
                        if not row["sample_id"]:
                            raise self._bad("the row names no sample", reader.line_num)
                        author = (row.get("author") or "").strip() or self._author
                        yield Verdict(row["sample_id"], self._checked(decision, reader.line_num), author)
            except (csv.Error, UnicodeDecodeError) as exc:
                raise self._bad(f"not a table of tab-separated UTF-8 text: {exc}", reader.line_num + 1) from exc

    def _checked(self, decision: str, line: int) -> str:
        word, colon, label = decision.partition(":")
        if word == "relabel" and colon:
            if label.strip() not in self._classes:
                raise self._bad(f"{label.strip()!r} is no class (classes: {', '.join(self._classes)})", line)
            return f"relabel:{label.strip()}"
        if decision not in DECISIONS:
            raise self._bad(f"{decision!r} is no verdict: write {', '.join(DECISIONS)}, or relabel:NAME", line)
        return decision

    def _bad(self, message: str, line: int) -> BadFormat:
        return BadFormat(message, path=self._path, line=line)


def _facts(row: ReviewRow) -> list[object]:
    shown = [instance for instance in row.merged or row.machine if instance.state is not State.REJECTED]
    labels = Counter(instance.label for instance in shown)
    summary = ", ".join(f"{count} {label}" for label, count in sorted(labels.items()))
    doubt = f"{row.uncertainty.value:.4f}" if row.uncertainty is not None else ""
    asked = row.round if row.round is not None else ""
    held_out_by = ", ".join(row.held_out_by)
    return [row.sample.id, asked, doubt, len(shown), summary, held_out_by, str(row.sample.path)]
