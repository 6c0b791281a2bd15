"""Rows for review as lines of JSON, to be read by the process that FiftyOne lives in; and what it answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.domain.dataset import instance_row, parse_instance
from pipeline.domain.records import Instance, Sample
from pipeline.domain.rounds import Uncertainty
from pipeline.ports import ReviewRow

__all__ = ["digest_of", "read_rows", "write_rows"]


def write_rows(rows: Iterable[ReviewRow], file: BinaryIO) -> None:
    """One line a row."""
    file.writelines(json.dumps(_plain(row), ensure_ascii=False).encode() + b"\n" for row in rows)


def read_rows(file: BinaryIO) -> Iterator[ReviewRow]:
    """The rows that `write_rows` wrote, one at a time."""
    return (_row(json.loads(line)) for line in file)


def digest_of(row: ReviewRow) -> str:
    """The SHA-256 of all that a row says: rows that say the same have the same."""
    return hashlib.sha256(json.dumps(_plain(row), sort_keys=True).encode()).hexdigest()


def _plain(row: ReviewRow) -> dict[str, Any]:
    sample, doubt = row.sample, row.uncertainty
    return {
        "sample": [sample.id, str(sample.path.absolute()), list(sample.size_hw), sample.split, sample.group],
        "machine": _instances(row.machine),
        "merged": _instances(row.merged),
        "truth": None if row.truth is None else _instances(row.truth),
        "uncertainty": None if doubt is None else [doubt.value, dict(doubt.parts), doubt.instances],
        "round": row.round,
        "agreement": row.agreement,
        "round_trip": dict(row.round_trip),
        "quarantined": row.quarantined,
        "held_out_by": list(row.held_out_by),
    }


def _instances(instances: Iterable[Instance]) -> list[dict[str, object]]:
    return [instance_row(instance) for instance in instances]


def _row(plain: dict[str, Any]) -> ReviewRow:
    name, path, (height, width), split, group = plain["sample"]
    doubt = plain["uncertainty"]
    return ReviewRow(
        sample=Sample(name, Path(path), (height, width), split, group),
        machine=_parsed(plain["machine"]),
        merged=_parsed(plain["merged"]),
        truth=None if plain["truth"] is None else _parsed(plain["truth"]),
        uncertainty=None if doubt is None else Uncertainty(name, *doubt),
        round=plain["round"],
        agreement=plain["agreement"],
        round_trip=plain["round_trip"],
        quarantined=plain["quarantined"],
        held_out_by=tuple(plain["held_out_by"]),
    )


def _parsed(rows: Iterable[dict[str, Any]]) -> tuple[Instance, ...]:
    return tuple(parse_instance(row) for row in rows)
