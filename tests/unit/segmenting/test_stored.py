"""A segmenter with its encodings kept: warm and cold clicks are the same, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from connectors.executors import serial
from pipeline.domain.geometry import Box, Image
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.domain.records import Sample
from pipeline.errors import ImageUnreadable
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.segmenting.warming import Estimate, estimate, warm
from pipeline.store.encodings import EncodingStore
from tests.contracts._yolo import resources_for
from tests.fakes.brush import BrushSegmenter
from tests.fakes.people import sample

IMAGES = {name: np.full((64, 80, 3), number, dtype=np.uint8) for number, name in enumerate("abcd")}


class Dear(BrushSegmenter):
    """Its encodings are worth keeping."""

    storable = True

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        self.encoded += len(images)
        return [
            Encoding({"x": np.full(100, image.mean() / 3, dtype=np.float32)}, (64, 80), "brush")
            for image in images
        ]


def test_an_image_is_encoded_once_in_memory_in_another_process_and_after(tmp_path: Path) -> None:
    inner = Dear()
    segmenter = StoredSegmenter(inner, EncodingStore(tmp_path, 10**6))
    [cold] = segmenter.encode([IMAGES["b"]])
    assert cold.arrays["x"].dtype == np.float16, "as it will come back"
    [warm_one] = segmenter.encode([IMAGES["b"]])
    assert inner.encoded == 1
    another = StoredSegmenter(Dear(), EncodingStore(tmp_path, 10**6))
    assert another.has(IMAGES["b"])
    [kept] = another.encode([IMAGES["b"]])
    for one in (warm_one, kept):
        np.testing.assert_array_equal(one.arrays["x"], cold.arrays["x"])
    prompt = [Prompt(box=Box(1, 2, 30, 40))]
    assert another.decode(kept, prompt) == segmenter.decode(cold, prompt)


def test_memory_is_bounded_and_what_is_remembered_counts_as_used(tmp_path: Path) -> None:
    inner = Dear()
    store = EncodingStore(tmp_path, 10**6)
    segmenter = StoredSegmenter(inner, store, remembered_bytes=250)
    segmenter.encode([IMAGES["a"]])
    store.budget_bytes = 2 * store.size_bytes
    segmenter.encode([IMAGES["b"], IMAGES["a"], IMAGES["c"]])
    assert [segmenter.has(IMAGES[name]) for name in "abc"] == [True, False, True]
    assert inner.encoded == 3


def test_cheap_encodings_pass_through(tmp_path: Path) -> None:
    segmenter = StoredSegmenter(BrushSegmenter(), EncodingStore(tmp_path / "kept", 10**6))
    segmenter.encode([IMAGES["a"]])
    assert not (tmp_path / "kept").exists()
    assert not segmenter.has(IMAGES["a"])


def test_warming_tells_the_size_first_goes_on_past_a_bad_image_and_resumes(tmp_path: Path) -> None:
    samples = [sample(name) for name in "abcx"]
    by_id = {one.id: name for one, name in zip(samples, "abcx", strict=True)}

    def read(one: Sample) -> Image:
        if by_id[one.id] == "x":
            raise ImageUnreadable("it is gone", sample_id=one.id)
        return IMAGES[by_id[one.id]]

    inner = Dear()
    told: list[str] = []

    def hear(name: str, /, **_: object) -> None:
        told.append(name)

    segmenter = StoredSegmenter(inner, EncodingStore(tmp_path, 10**6))
    assert estimate([], segmenter, read) == Estimate(0, 0, 10**6)
    ahead = estimate([samples[3], *samples[:3]], segmenter, read)
    assert (ahead.images, ahead.bytes_each, ahead.bytes_all, ahead.fits) == (4, 200, 800, True)
    executor = serial.build(serial.Settings(), resources_for(tmp_path))
    done = warm(samples, segmenter, read, executor, emit=hear)
    assert (done.made, done.found, [name for name, _ in done.failed]) == (2, 1, [samples[3].id])
    assert told == ["warm.started"] + ["warm.batch"] * 4
    again = warm(samples[:3], StoredSegmenter(Dear(), segmenter.store), read, executor)
    assert (again.made, again.found, again.failed) == (0, 3, ())
    assert inner.encoded == 3
