"""`manifest.jsonl`, which exports put beside labels: what no label format tells of an image.

Its split and group, and whether a model proposed some of its objects: then labels are no person's word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pipeline.domain.geometry import SizeHW
from pipeline.domain.records import Split
from pipeline.errors import BadFormat
from pipeline.formats.labels import PROPOSED, SPLIT_NAMES, Found, LabelProblem, Labels

__all__ = ["START", "Beside", "Place", "read_beside", "start_of", "with_beside"]

_PROPOSED = b'"state":"proposed"'
"""As a line of manifest.jsonl has it; in a name, the quotation marks would be escaped."""
_ID = re.compile(r"[0-9a-f]{16,64}")
START = 16
"""So much of a sample's id tells it apart in the name of an exported image."""


class Place(NamedTuple):
    """A split, if one is said, and a group, "" if none is."""

    split: Split | None = None
    group: str = ""


class Beside(NamedTuple):
    """What a `manifest.jsonl` says of samples, by id: where they belong, and which have a model's proposals."""

    places: Mapping[str, Place]
    proposed: frozenset[str]


def read_beside(path: Path) -> Beside:
    """Of the manifest that an export put beside the labels at `path`; of no samples where there is none.

    A format may not tell who made a mask: labels of samples with proposals are no person's word. Lines that are no
    manifest's say nothing, because others use the name too. Raises BadFormat for one with proposals that is damaged.
    """
    folder = path if path.is_dir() else path.parent
    manifest = (folder.parent if folder.name == "annotations" else folder) / "manifest.jsonl"
    places: dict[str, Place] = {}
    proposed: set[str] = set()
    for number, line in enumerate(manifest.read_bytes().splitlines() if manifest.is_file() else (), start=1):
        try:
            row = json.loads(line)
            sample = str(row["sample"])
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            if _PROPOSED in line:
                raise BadFormat(f"not a manifest row: {exc}", path=manifest, line=number) from exc
            continue
        places[sample] = Place(SPLIT_NAMES.get(str(row.get("split"))), str(row.get("group") or ""))
        if _PROPOSED in line:
            proposed.add(sample)
    return Beside(places, frozenset(proposed))


@dataclass(frozen=True)
class _Unheard:
    """Labels of the file `path` that are partly a model's."""

    path: Path

    def read(self, _size_hw: SizeHW, _key: str) -> Labels:
        return Labels((), (LabelProblem(self.path, None, PROPOSED),))


def with_beside(found: Iterable[Found | LabelProblem], path: Path) -> Iterator[Found | LabelProblem]:
    """What the labels at `path` say of images, with what the manifest beside them says of those called by an id.

    Labels with proposals are not read: each such image has a problem instead.
    """
    beside = read_beside(path)
    places = {sample[:START]: place for sample, place in beside.places.items()}
    proposed = {sample[:START] for sample in beside.proposed}
    for one in found:
        start = start_of(one.image) if isinstance(one, Found) else None
        if isinstance(one, LabelProblem) or start not in places:
            yield one
            continue
        labels = _Unheard(one.labels.path) if one.labels is not None and start in proposed else one.labels
        place = places[start]
        yield replace(one, split=one.split or place.split, group=one.group or place.group, labels=labels)


def start_of(image: Path) -> str | None:
    """The start of the sample's id that an exported image is called by; None for another name."""
    return image.stem[:START] if _ID.fullmatch(image.stem) else None
