"""Encodings that are made when they are first needed, and kept while there is room."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Encoding
from pipeline.ports import Segmenter

__all__ = ["Later"]


class Later:
    """The last `room` encodings of a segmenter by the images' content. What it answers does not depend on what it
    keeps; safe from many threads, of which one encodes at a time."""

    def __init__(self, segmenter: Segmenter, room: int) -> None:
        self._segmenter = segmenter
        self._room = room
        self._kept: OrderedDict[bytes, Encoding] = OrderedDict()
        self._lock = threading.Lock()
        self._made = 0

    @property
    def made(self) -> int:
        """How many encodings were computed."""
        return self._made

    def encoding(self, image: Image) -> Encoding:
        """Raises whatever the segmenter's `encode` raises."""
        key = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        with self._lock:
            if key not in self._kept:
                [self._kept[key]] = self._segmenter.encode([image])
                self._made += 1
            self._kept.move_to_end(key)
            found = self._kept[key]
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
            return found
