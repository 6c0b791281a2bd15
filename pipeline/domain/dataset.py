"""Versioned datasets: an immutable manifest, named by the hash of its bytes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Before, Instance, Origin, OriginKind, Split, State
from pipeline.domain.uncollected import uncollected
from pipeline.errors import BadFormat

__all__ = [
    "MANIFEST_FORMAT",
    "DatasetEntry",
    "DatasetVersion",
    "counts_of",
    "instance_row",
    "manifest_bytes",
    "parse_instance",
    "parse_manifest",
    "version_of",
]

MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class DatasetEntry:
    """One image of a version: which file (by content), which split, and up to which revision it was listened to.

    `agreement`, in [0, 1], is that between several people; None where fewer than two have spoken. `round_trip` says
    of each instance, by its id, what is left of its mask as a YOLO row: the IoU of the mask before and after, in the
    image's own size.
    """

    sample_id: str
    size_hw: SizeHW
    split: Split
    group: str
    revision: int
    instances: tuple[Instance, ...]
    agreement: float | None = None
    round_trip: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetVersion:
    """`id` is the SHA-256 of the manifest; `counts` are keyed `split/…`, `class/…`, `state/…`."""

    id: str
    parent: str | None
    counts: Mapping[str, int]


def manifest_bytes(entries: Iterable[DatasetEntry], classes: Sequence[str]) -> bytes:
    """The canonical manifest: a header line, then one JSON line an image, sorted by sample id.

    The same entries give the same bytes on every machine: sorted keys, fixed float format, no time, no path.
    """
    lines = [_line({"format": MANIFEST_FORMAT, "classes": list(classes)})]
    lines += [_line(_entry(entry)) for entry in sorted(entries, key=lambda entry: entry.sample_id)]
    return "".join(lines).encode()


def parse_manifest(data: bytes) -> tuple[tuple[str, ...], list[DatasetEntry]]:
    """Class names and entries of a manifest. Raises BadFormat, with the line."""
    classes: tuple[str, ...] = ()
    entries: list[DatasetEntry] = []
    with uncollected():
        # Lines as bytes: in text, a name may hold a character that also ends a line, such as U+2028.
        for number, line in enumerate(BytesIO(data), start=1):
            try:
                row = json.loads(line)
                if number == 1:
                    classes = _classes(row)
                else:
                    entries.append(_parse_entry(row))
            except (KeyError, TypeError, ValueError) as exc:
                raise BadFormat(f"not a manifest row: {exc}", line=number) from exc
    return classes, entries


def _classes(header: Mapping[str, Any]) -> tuple[str, ...]:
    if header["format"] != MANIFEST_FORMAT:
        raise BadFormat(f"manifest format {header['format']}, this version reads {MANIFEST_FORMAT}", line=1)
    return tuple(header["classes"])


def version_of(data: bytes, parent: str | None) -> DatasetVersion:
    """The version that a manifest describes."""
    return DatasetVersion(hashlib.sha256(data).hexdigest(), parent, counts_of(parse_manifest(data)[1]))


def counts_of(entries: Iterable[DatasetEntry]) -> dict[str, int]:
    """How many images each split has (`split/…`), and how many instances each class and state (`class/…`, …)."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts[f"split/{entry.split}"] += 1
        for instance in entry.instances:
            counts[f"class/{instance.label}"] += 1
            counts[f"state/{instance.state.value}"] += 1
    return dict(sorted(counts.items()))


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _entry(entry: DatasetEntry) -> dict[str, object]:
    row: dict[str, object] = {
        "sample": entry.sample_id,
        "size_hw": list(entry.size_hw),
        "split": entry.split,
        "group": entry.group,
        "revision": entry.revision,
        "instances": [instance_row(instance) for instance in sorted(entry.instances, key=lambda item: item.id)],
    }
    if entry.agreement is not None:
        row["agreement"] = _rounded(entry.agreement)
    if entry.round_trip:
        row["round_trip"] = {key: _rounded(value) for key, value in entry.round_trip.items()}
    return row


def instance_row(instance: Instance) -> dict[str, object]:
    """An instance as plain JSON values; the inverse of `parse_instance`. What is not known of it is left out."""
    row: dict[str, object] = {
        "id": instance.id,
        "label": instance.label,
        "box": [round(float(value), 4) for value in instance.box],
        "counts": instance.mask.counts.decode() if instance.mask is not None else None,
        "size_hw": list(instance.mask.size_hw) if instance.mask is not None else None,
        "origin": _origin_row(instance.origin),
        "state": instance.state.value,
        "confidence": _rounded(instance.confidence),
        "predicted_iou": _rounded(instance.predicted_iou),
        "stability": _rounded(instance.stability),
        "clicks": instance.clicks,
    }
    if instance.before is not None:
        row["before"] = _before_row(instance.before, instance)
    return row


def _origin_row(origin: Origin) -> list[object]:
    row: list[object] = [origin.kind.value, origin.name]
    return [*row, origin.prompt, origin.round] if origin.prompt or origin.round is not None else row


def _before_row(before: Before, after: Instance) -> dict[str, object]:
    """The mask of an accepted object is not written twice."""
    row: dict[str, object] = {"origin": _origin_row(before.origin), "label": before.label}
    if before.mask is None or before.mask == after.mask:
        return row | {"same": before.mask is not None}
    return row | {"counts": before.mask.counts.decode(), "size_hw": list(before.mask.size_hw)}


def _rounded(score: float | None) -> float | None:
    """Six digits: what differs after them differs from one processor to the next."""
    return None if score is None else round(score, 6)


def parse_instance(row: Mapping[str, Any]) -> Instance:
    """Raises KeyError, TypeError or ValueError for a row that `instance_row` did not make."""
    fields = dict(row)
    mask = _mask(fields.pop("counts"), fields.pop("size_hw"))
    before = fields.get("before")
    return Instance(
        id=str(fields["id"]),
        label=str(fields["label"]),
        box=Box(*(float(value) for value in fields["box"])),
        mask=mask,
        origin=_origin(fields["origin"]),
        state=State(str(fields["state"])),
        confidence=_score(fields["confidence"]),
        predicted_iou=_score(fields["predicted_iou"]),
        stability=_score(fields["stability"]),
        clicks=int(fields["clicks"]),
        before=_before(before, mask) if before is not None else None,
    )


def _origin(row: Sequence[Any]) -> Origin:
    kind, name, *more = row
    prompt, round_ = more or ("", None)
    return Origin(OriginKind(kind), str(name), str(prompt), None if round_ is None else int(round_))


def _before(row: Mapping[str, Any], after: Mask | None) -> Before:
    mask = (after if row["same"] else None) if "same" in row else _mask(row["counts"], row["size_hw"])
    return Before(_origin(row["origin"]), str(row["label"]), mask)


def _mask(counts: Any, size_hw: Any) -> Mask | None:
    return Mask(str(counts).encode(), _size(size_hw)) if counts is not None else None


def _parse_entry(row: Mapping[str, Any]) -> DatasetEntry:
    return DatasetEntry(
        sample_id=str(row["sample"]),
        size_hw=_size(row["size_hw"]),
        split=row["split"],
        group=str(row["group"]),
        revision=int(row["revision"]),
        instances=tuple(parse_instance(item) for item in row["instances"]),
        agreement=_score(row.get("agreement")),
        round_trip={str(key): float(value) for key, value in row.get("round_trip", {}).items()},
    )


def _size(value: Any) -> SizeHW:
    height, width = value
    return int(height), int(width)


def _score(value: Any) -> float | None:
    return None if value is None else float(value)
