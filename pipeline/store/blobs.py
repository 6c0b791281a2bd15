"""Content-addressed files: a blob's name is the SHA-256 of its bytes, so it can never be out of date."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import LedgerCorrupt
from pipeline.events import Emit, silent
from pipeline.files import file_sha256, sync_folder
from pipeline.store.atomic import atomic_write

__all__ = ["BlobStore"]

_NAME = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """Blobs under `root/ab/abcdef…`."""

    def __init__(self, root: Path, *, emit: Emit = silent) -> None:
        self.root = root
        self._emit = emit

    def put(self, data: bytes) -> str:
        """Keep `data`; the same bytes are kept once. Raises DataError when the disk refuses."""
        name = hashlib.sha256(data).hexdigest()
        if self.has(name):
            sync_folder(self.path(name).parent)
        else:
            atomic_write(self.path(name), data, emit=self._emit)
        return name

    def path(self, name: str) -> Path:
        """Where the blob lies. Raises LedgerCorrupt for a name that no blob can have."""
        if not _NAME.fullmatch(name):
            raise LedgerCorrupt(f"{name!r} is no blob's name")
        return self.root / name[:2] / name

    def has(self, name: str) -> bool:
        return self.path(name).is_file()

    def is_whole(self, name: str) -> bool:
        """Whether the blob is there and its bytes are those of its name."""
        try:
            return file_sha256(self.path(name)) == name
        except OSError:
            return False

    def read(self, name: str) -> bytes:
        """The bytes, checked against their name. Raises LedgerCorrupt if they are gone or damaged."""
        try:
            data = self.path(name).read_bytes()
        except OSError as exc:
            raise LedgerCorrupt(f"blob {name} cannot be read: {exc.strerror}") from exc
        if hashlib.sha256(data).hexdigest() != name:
            raise LedgerCorrupt(f"blob {name} is damaged: its bytes have another hash")
        return data

    def paths(self) -> Iterator[Path]:
        """Every blob that is there, sorted."""
        yield from (path for path in sorted(self.root.glob("??/*")) if _NAME.fullmatch(path.name))

    def verify(self) -> Iterator[Path]:
        """Every damaged blob."""
        yield from (path for path in self.paths() if not self.is_whole(path.name))
