"""Whose pixels a task means: our own sample, a file, or an address; and their encodings, the last ones in memory.

The mask must lie on the picture as the browser shows it: every way ends in the canonical frame, upright.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from connectors.label_studio.backend.bodies import Task
from connectors.label_studio.backend.fetching import Fetcher, origin_of
from connectors.label_studio.backend.local_files import open_below, read_below
from connectors.label_studio.backend.services import Limits, Services
from connectors.serving.kept import KeptEncodings
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Encoding
from pipeline.domain.records import Sample
from pipeline.errors import ImageUnreadable

__all__ = ["Picture", "Pictures"]

_SAMPLE = re.compile(r"[0-9a-f]{64}")
_LOCAL = "/data/local-files/"
_STORED = {"s3", "gs", "azure-blob"}


@dataclass(frozen=True)
class Picture:
    """`key` changes when the pixels may; `load` gives the image's name, as `Services.propose` wants it, and the
    image."""

    key: str
    load: Callable[[], tuple[str, Image]]


class Pictures:
    """Finds, reads and encodes. Safe from many threads; raises ImageUnreadable, and BackendUnavailable where a server
    does not answer."""

    def __init__(self, services: Services, limits: Limits, fetcher: Fetcher) -> None:
        self._services = services
        self._limits = limits
        self._fetcher = fetcher
        self._kept = KeptEncodings(limits.kept_encodings_bytes)

    def sample(self, task: Task) -> Sample | None:
        """Our own sample, where the task names one that we know."""
        told = task.data.get("maskloop_sample")
        if isinstance(told, str) and _SAMPLE.fullmatch(told):
            return self._services.sample_of(told)
        return None

    def find(self, task: Task, key: str) -> Picture:
        """The picture of a task whose data have its address under `key`."""
        sample = self.sample(task)
        if sample is not None:
            return self.of_sample(sample)
        address = task.data.get(key)
        if not isinstance(address, str) or not 0 < len(address) <= 8192:
            raise ImageUnreadable(f"the task has no address of an image under {key!r:.60}")
        return self._at(address, task)

    def of_sample(self, sample: Sample) -> Picture:
        return Picture(f"sample:{sample.id}", lambda: (sample.id, self._services.read_image(sample)))

    def encoding(self, picture: Picture) -> Encoding:
        """Encoded once, as long as it is remembered here or in the segmenter's own store."""

        def make() -> Encoding:
            _, image = picture.load()
            [encoding] = self._services.segmenter.encode([image])
            return encoding

        return self._kept.get_or_make(picture.key, make)

    def _at(self, address: str, task: Task) -> Picture:
        try:
            parts = urlsplit(address)
        except ValueError as exc:
            raise ImageUnreadable("its address cannot be read") from exc
        if parts.scheme in _STORED:
            return self._fetched(self._of_studio(_presigned(address, task)), address)
        own = not parts.scheme and not parts.netloc and address.startswith("/") and "\\" not in address
        if own or self._is_studio(address):
            if parts.path == _LOCAL and self._services.local_files is not None:
                return self._file(parse_qs(parts.query).get("d", [""])[0])
            return self._fetched(self._of_studio(address) if own else address, address)
        return self._fetched(address, address)

    def _is_studio(self, address: str) -> bool:
        studio = self._services.studio
        try:
            return studio is not None and origin_of(address) == origin_of(studio.url)
        except ValueError:
            return False

    def _of_studio(self, path: str) -> str:
        """An address at Label Studio; what it is reached by may itself have a path."""
        studio = self._services.studio
        if studio is None:
            raise ImageUnreadable(
                "it lies at Label Studio, which this backend does not know: serve a configuration whose annotator is "
                "label_studio"
            )
        base = urlsplit(studio.url)
        prefix = base.path.rstrip("/")
        return (
            f"{base.scheme}://{base.netloc}{path if prefix and path.startswith(prefix + '/') else prefix + path}"
        )

    def _fetched(self, url: str, address: str) -> Picture:
        return Picture(f"address:{address}", lambda: self._decoded(self._fetcher.fetch(url)))

    def _file(self, path: str) -> Picture:
        root: Path = self._services.local_files  # type: ignore[assignment]  # the caller has looked
        descriptor = open_below(root, path)
        try:
            facts = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        key = f"file:{facts.st_dev}:{facts.st_ino}:{facts.st_mtime_ns}:{facts.st_size}"
        read = partial(read_below, root, path, most=self._limits.max_image_bytes)
        return Picture(key, lambda: self._decoded(read()))

    def _decoded(self, data: bytes) -> tuple[str, Image]:
        return hashlib.sha256(data).hexdigest(), self._services.decode_image(data)


def _presigned(address: str, task: Task) -> str:
    """Label Studio's way to an object of a storage, as its own clients ask for it."""
    if not str(task.id).isdecimal():
        raise ImageUnreadable("a task without an id has no stored images")
    encoded = base64.urlsafe_b64encode(address.encode()).decode()
    return f"/tasks/{task.id}/presign/?fileuri={encoded}"
