"""What an unfinished ingest has read so far, so that the next one need not decode it again.

Samples are recorded only when all files of an ingest have been read. Until then each frame's facts are a line of a
file in the workspace, which goes when they are in the ledger. It is a convenience and nothing depends on it: a line
that is damaged, as the last one of a killed run may be, costs reading that one file again.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from pipeline.domain.ingested import Frame
from pipeline.domain.likeness import THUMBNAIL_BYTES, Likeness

__all__ = ["Readings"]

_Stamp = tuple[int, int]


class Readings:
    """The frames that are known, by file and stamp, in the file at `path`: written when there is something to keep,
    and gone after a context that ended well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _load(path)
        self._file: TextIO | None = None

    def __enter__(self) -> Readings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None:
            self._path.unlink(missing_ok=True)

    def recall(self, image: Path, stamp: _Stamp) -> Frame | None:
        """What was read of the file as it stands now; None if that is not known, or its copy has gone."""
        frame = self._known.get((str(image), stamp))
        return frame if frame is not None and frame.path.is_file() else None

    def remember(self, image: Path, stamp: _Stamp, frame: Frame) -> None:
        """Keep what was read of a file."""
        row: dict[str, Any] = {"image": str(image), "stamp": stamp, "id": frame.sample_id, "size": frame.size_hw}
        row["path"] = str(frame.path)
        if frame.likeness is not None:
            row |= {"phash": f"{frame.likeness.phash:016x}", "thumbnail": frame.likeness.thumbnail.hex()}
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        # The line's end comes first: after a torn line, this one still begins on its own.
        self._file.write("\n" + json.dumps(row))
        self._file.flush()


def _load(path: Path) -> dict[tuple[str, _Stamp], Frame]:
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, frame = _parse(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue  # torn: its file is read again
        found[key] = frame
    return found


def _parse(row: Any) -> tuple[tuple[str, _Stamp], Frame]:
    likeness = None
    if "phash" in row:
        likeness = Likeness(int(row["phash"], 16), bytes.fromhex(row["thumbnail"]))
        if len(likeness.thumbnail) != THUMBNAIL_BYTES:
            raise ValueError("a thumbnail of another size")
    (size, mtime_ns), (height, width) = row["stamp"], row["size"]
    return (row["image"], (size, mtime_ns)), Frame(row["id"], (height, width), Path(row["path"]), likeness)
