"""Encodings of images, kept on the disk: what one process has computed no other computes again.

An entry is one safetensors file, named by the image's content and by the segmenter's fingerprint (its kind, the digest
of its weights, its preprocessing). `float32` arrays are kept as `float16`, all others as they are; so is an array that
`float16` cannot hold. The header tells fingerprint, key, image size and a checksum of the arrays, and all are checked:
the folder may be shared, and safetensors itself notices no flipped bit.

A file's modification time is its last use. Over the budget those go first that were used least recently; who is
reading one keeps its open file. One of many lock files is held while an entry is made, and the kernel releases it
when its holder dies: two processes that ask for the same image compute it once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Encoding
from pipeline.errors import DataError
from pipeline.events import Emit, silent
from pipeline.files import is_unfinished
from pipeline.store.atomic import atomic_write

__all__ = ["EncodingStore", "content_of", "rounded"]

_FORMAT = "maskloop-encoding-1"
_SUFFIX = ".safetensors"
_LOCKS = 1024
Arrays = Mapping[str, npt.NDArray[np.generic]]


def content_of(image: Image) -> str:
    """SHA-256 of the canonical pixels and their shape, in hexadecimal: the same picture, however its file is called."""
    digest = hashlib.sha256(f"{image.dtype} {image.shape} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def rounded(encoding: Encoding) -> Encoding:
    """The encoding as it comes back from the store: a click on a fresh one and a click on a kept one are the same."""
    arrays = {name: _rounded(array) for name, array in encoding.arrays.items()}
    return Encoding(arrays, encoding.size_hw, encoding.fingerprint)


class EncodingStore:
    """The entries in `folder`, together at most `budget_bytes`. Safe for several threads and processes.

    Tells `encodings.found`, `encodings.made`, `encodings.evicted` (with `bytes`), `encodings.damaged` for an entry that
    is not what its name says and is made anew, and with a `reason` `not_kept`, `not_removed`, `not_locked`.
    """

    def __init__(
        self, folder: Path, budget_bytes: int, *, emit: Emit = silent, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self._emit = emit
        self._now_ns = now_ns
        self._sweeping = threading.Lock()

    def get_or_make(self, content: str, fingerprint: str, make: Callable[[], Encoding]) -> Encoding:
        """The entry of the image `content`, or what `make` returns, rounded, which is kept. Raises what `make` raises.

        A disk that refuses costs the entry and not the answer: that is told, and the encoding is returned.
        """
        path = self._path(content, fingerprint)
        found = self._read(path, fingerprint)
        if found is None:
            with self._alone(path):
                found = self._read(path, fingerprint)
                if found is None:
                    return self._make(path, make)
        self._emit("encodings.found", entry=path.stem)
        return found

    def has(self, content: str, fingerprint: str) -> bool:
        """Whether there is an entry; it is not read."""
        return self._path(content, fingerprint).is_file()

    def touch(self, content: str, fingerprint: str) -> None:
        """Count a use of an entry that was remembered elsewhere. One that is gone meanwhile stays gone."""
        self._use(self._path(content, fingerprint))

    @property
    def size_bytes(self) -> int:
        """Of all entries together, and of what is half-written."""
        return sum(size for _, size, _ in self._entries())

    @property
    def count(self) -> int:
        return sum(path.endswith(_SUFFIX) for *_, path in self._entries())

    def _use(self, path: Path) -> bool:
        """Mark a file as used now; False if there is none. The kernel's own clock is too coarse: it ticks in
        milliseconds. Of a file that belongs to somebody else, the owner's uses alone count."""
        now = self._now_ns()
        try:
            os.utime(path, ns=(now, now))
        except FileNotFoundError:
            return False
        except OSError:  # somebody else's file, or a file system that is only read
            return path.is_file()
        return True

    def _path(self, content: str, fingerprint: str) -> Path:
        key = hashlib.sha256(f"{content} {fingerprint}".encode()).hexdigest()
        return self.folder / f"{key[:48]}{_SUFFIX}"

    def _make(self, path: Path, make: Callable[[], Encoding]) -> Encoding:
        made = rounded(make())
        data = _packed(made, path.stem)
        if len(data) > self.budget_bytes:
            self._emit("encodings.not_kept", reason=f"{len(data)} bytes are more than the budget")
            return made
        try:
            atomic_write(path, data)
        except DataError as exc:
            self._emit("encodings.not_kept", reason=str(exc))
            return made
        self._use(path)
        self._emit("encodings.made", entry=path.stem, bytes=len(data))
        self._sweep(path)
        return made

    def _read(self, path: Path, fingerprint: str) -> Encoding | None:
        """None if there is none, or none that can be used: then it is removed, and told."""
        from safetensors import SafetensorError, safe_open

        if not self._use(path):
            return None
        try:
            with safe_open(path, framework="numpy") as opened:
                header = opened.metadata() or {}
                size_hw = _checked_header(header, path.stem, fingerprint)
                arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a mapping
            if header.get("checksum") != _checksum(arrays):
                raise ValueError("its arrays are not those that were written")
        except FileNotFoundError:  # evicted this very moment
            return None
        except (
            SafetensorError,
            OSError,
            TypeError,
            ValueError,
        ) as exc:  # TypeError: numbers that numpy does not know
            self._emit("encodings.damaged", path=str(path), reason=" ".join(str(exc).split()))
            self._remove(path)
            return None
        return Encoding(arrays, size_hw, fingerprint)

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Nobody else makes this entry meanwhile. A folder that may only be read locks nothing, and keeps nothing."""
        number = int(path.stem[:8], 16) % _LOCKS
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            descriptor = os.open(
                self.folder / "locks" / f"{number:04}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as exc:
            self._emit("encodings.not_kept", reason=f"no lock: {exc.strerror}")
            yield
            return
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        """Where the file system has no locks the work may be done twice; entries are whole all the same."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as exc:
            self._emit("encodings.not_locked", reason=exc.strerror)

    def _remove(self, path: Path) -> bool:
        """Whether it is gone. A file that may not be removed costs nobody the answer; that is told."""
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            self._emit("encodings.not_removed", reason=f"{path}: {exc.strerror}")
            return False
        return True

    def _entries(self) -> Iterator[tuple[int, int, str]]:
        """Last use in nanoseconds, size and path of every entry, and of what a killed process left half-written: it
        takes room until it goes as the others do. What goes while we look is left out."""
        try:
            with os.scandir(self.folder) as found:
                for entry in found:
                    if entry.name.endswith(_SUFFIX) or is_unfinished(Path(entry.name)):
                        try:
                            facts = entry.stat()
                        except FileNotFoundError:
                            continue
                        yield facts.st_mtime_ns, facts.st_size, entry.path
        except FileNotFoundError:
            return

    def _sweep(self, newest: Path) -> None:
        """Remove what was used least recently until all fits the budget; the entry just made stays."""
        with self._sweeping:
            entries = sorted(self._entries())
            total = sum(size for _, size, _ in entries)
            for _, size, path in entries:
                if total <= self.budget_bytes:
                    return
                if path != str(newest) and self._remove(Path(path)):
                    total -= size
                    self._emit("encodings.evicted", entry=Path(path).stem, bytes=size)


def _rounded(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.isfinite(half).all() else array


def _packed(encoding: Encoding, key: str) -> bytes:
    from safetensors.numpy import save

    height, width = encoding.size_hw
    arrays = {name: np.ascontiguousarray(array) for name, array in encoding.arrays.items()}
    header = {"format": _FORMAT, "key": key, "fingerprint": encoding.fingerprint, "size_hw": f"{height}x{width}"}
    return save(arrays, metadata={**header, "checksum": _checksum(arrays)})


def _checksum(arrays: Arrays) -> str:
    """CRC-32 of all names, types, shapes and numbers: it finds damage, and is no guard against malice."""
    value = 0
    for name, array in sorted(arrays.items()):
        value = zlib.crc32(f"{name} {array.dtype} {array.shape} ".encode(), value)
        value = zlib.crc32(np.ascontiguousarray(array).tobytes(), value)
    return f"{value:08x}"


def _checked_header(header: Mapping[str, str], key: str, fingerprint: str) -> tuple[int, int]:
    """The image's size. Raises ValueError for an entry of another kind, key or segmenter, or without a size."""
    wanted = {"format": _FORMAT, "key": key, "fingerprint": fingerprint}
    for name, value in wanted.items():
        if header.get(name) != value:
            raise ValueError(f"its {name} is {header.get(name)!r} and not {value!r}")
    height, width = (int(part) for part in header.get("size_hw", "").split("x"))
    return height, width
