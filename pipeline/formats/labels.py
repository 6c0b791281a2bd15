"""What label files are read into, whatever their format."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, Split, State
from pipeline.errors import BadFormat, DataError

__all__ = [
    "PROPOSED",
    "SPLIT_NAMES",
    "Found",
    "LabelProblem",
    "LabelSource",
    "LabelledImage",
    "Labels",
    "check_proposal",
    "exists",
    "imported",
    "one_spelling",
    "read_text",
    "spelled",
    "told_apart",
]


SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""What datasets call the three splits."""

PROPOSED = (
    "a model's proposal is no label; `pipeline import --accept-proposals` takes those of a file that somebody has "
    "looked over"
)


@dataclass(frozen=True)
class LabelProblem:
    """Something in the file `path` that could not be used as it stands; `line` is 1-based where lines exist.

    `lost` says whether an object was lost to it, so that the image's labels are no longer complete.
    """

    path: Path
    line: int | None
    reason: str
    lost: bool = True

    def __str__(self) -> str:
        where = self.path.name if self.line is None else f"{self.path.name} line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class LabelledImage:
    """One image of a labelled dataset, by the name its label file uses."""

    file_name: str
    size_hw: SizeHW | None
    split: Split | None
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Labels:
    """What was read about one image. No instances means: looked at, nothing there."""

    instances: tuple[Instance, ...]
    problems: tuple[LabelProblem, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every object that the file describes is among the instances."""
        return not any(problem.lost for problem in self.problems)


class LabelSource(Protocol):
    """One image's labels, not yet read: small, and it can be sent to another process."""

    @property
    def path(self) -> Path:
        """The file that the labels come from."""
        ...

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        """The labels in the canonical frame of `size_hw`; `key`, the image's id, makes the instances' ids."""
        ...


@dataclass(frozen=True)
class Found:
    """An image file that a source names, its split and its group if the source gives them, and where its labels are."""

    image: Path
    split: Split | None = None
    labels: LabelSource | None = None
    group: str = ""


def imported(
    label: str, box: Box | None, mask: Mask | None, *, key: str, source: Path, index: int = 0
) -> Instance:
    """An instance that a label file describes: accepted, as people's work is taken for.

    With a mask, the box is the mask's own, whatever `box` says. The id comes from the image's id, the file's name and
    what the object is, and not from its row: rows that come, go or change places leave the others their ids. `index`
    tells apart what is equal in all that (see `told_apart`). Raises DataError if nothing of it lies in the image.
    """
    box = mask.box if mask is not None else box
    if box is None:
        raise DataError("the outline covers no pixel of the image")
    shape = mask.counts.decode() if mask is not None else " ".join(repr(float(side)) for side in box)
    digest = hashlib.sha256(f"{key}:{source.name}:{label}:{shape}:{index}".encode())
    return Instance(
        id=digest.hexdigest()[:32],
        label=label,
        box=box,
        mask=mask,
        origin=Origin(OriginKind.IMPORTED, source.name),
        state=State.ACCEPTED,
    )


def told_apart(instances: Iterable[Instance], *, key: str, source: Path) -> tuple[Instance, ...]:
    """What `imported` made of one image's rows, in order; those that are equal get ids of their own."""
    uses: Counter[str] = Counter()
    found = []
    for item in instances:
        index = uses[item.id]
        uses[item.id] += 1
        found.append(
            imported(item.label, item.box, item.mask, key=key, source=source, index=index) if index else item
        )
    return tuple(found)


def check_proposal(state: object, *, accepted: bool) -> None:
    """Raise DataError for an object that is only proposed, unless somebody answers for the file."""
    if state == State.PROPOSED.value and not accepted:
        raise DataError(PROPOSED)


def exists(place: Path) -> bool:
    """Whether there is a file or folder; False for a name that no file can have, such as one that is too long."""
    try:
        return place.exists()
    except (OSError, ValueError):
        return False


def one_spelling(name: str) -> str:
    """Of a name that file systems may have in two: an accent apart from its letter, or on it."""
    return unicodedata.normalize("NFC", name)


def spelled(path: Path) -> Path:
    """The path, or the one whose name is the same in Unicode's other normal form, if only that is there.

    macOS and some archives take letters and their accents apart; what names the file may have them in one.
    """
    if path.name.isascii() or exists(path):
        return path
    forms = (path.with_name(unicodedata.normalize(form, path.name)) for form in ("NFC", "NFD"))
    return next((form for form in forms if exists(form)), path)


def read_text(path: Path) -> str:
    """A label file's text, UTF-8 with or without a byte order mark. Raises BadFormat."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BadFormat(f"not UTF-8 text: {exc.reason} at byte {exc.start}", path=path) from exc
    except OSError as exc:
        raise BadFormat(f"cannot be read: {exc.strerror or exc}", path=path) from exc
