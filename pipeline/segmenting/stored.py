"""A segmenter that computes no encoding twice: in this process, in another, or in a later round."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.ports import Segmenter
from pipeline.segmenting.careful import enlarger_of, escalated_by
from pipeline.store.encodings import EncodingStore, content_of

__all__ = ["StoredSegmenter"]

_REMEMBERED_BYTES = 256 * 2**20


class StoredSegmenter:
    """`segmenter` with its encodings in `store`, and the last few in memory; itself a segmenter, safe from threads.

    Every encoding comes rounded as the store keeps it, also the one just computed: a first click and a later one give
    the same mask, byte for byte. Where encoding is cheap (`storable` is False) everything passes through.
    """

    def __init__(
        self, segmenter: Segmenter, store: EncodingStore, *, remembered_bytes: int = _REMEMBERED_BYTES
    ) -> None:
        self._segmenter = segmenter
        self.store = store
        self._limit = remembered_bytes
        self._recent: OrderedDict[str, Encoding] = OrderedDict()
        self._lock = threading.Lock()
        self.name = segmenter.name
        self.fingerprint = segmenter.fingerprint
        self.storable = segmenter.storable

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Raises what the segmenter raises."""
        if not self.storable:
            return self._segmenter.encode(images)
        return [self._encode(image) for image in images]

    def has(self, image: Image) -> bool:
        """Whether the image's encoding is kept already."""
        return self.storable and self.store.has(content_of(image), self.fingerprint)

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        return self._segmenter.decode(encoding, prompts, multimask=multimask, mask_threshold=mask_threshold)

    def enlarge(self, logits: Logits, size_hw: SizeHW) -> npt.NDArray[np.float32]:
        """As the segmenter does it. Raises BackendRejected if it cannot."""
        return enlarger_of(self._segmenter).enlarge(logits, size_hw)

    @property
    def escalated(self) -> int:
        """As the segmenter counts; 0 for one that never asks another."""
        return escalated_by(self._segmenter)

    def _encode(self, image: Image) -> Encoding:
        content = content_of(image)
        with self._lock:
            remembered = self._recent.get(content)
            if remembered is not None:
                self._recent.move_to_end(content)
        if remembered is not None:
            self.store.touch(content, self.fingerprint)
            return remembered
        made = self.store.get_or_make(content, self.fingerprint, lambda: self._segmenter.encode([image])[0])
        self._remember(content, made)
        return made

    def _remember(self, content: str, encoding: Encoding) -> None:
        with self._lock:
            self._recent[content] = encoding
            while sum(one.size_bytes for one in self._recent.values()) > self._limit:
                self._recent.popitem(last=False)
