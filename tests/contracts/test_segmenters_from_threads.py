"""Eight threads, two hundred prompts each, on twenty images: byte for byte what one thread is told.

Networks that look at 1024 pixels take minutes for that on a small machine. They are asked less, unless
`MASKLOOP_LONG_TESTS` is set; their code is that of `segment_anything` and `sam3_interactive`, which are small here and
are asked in full.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.prompts import Prompt
from tests.contracts._segmenters import KINDS, built, image, said

THREADS = 8
PROMPTS = 200
TOGETHER = 10
"""Prompts in one call: a network answers them for less than ten calls."""
IMAGES = 20
LARGE = ("mobile_sam", "sam", "sam2", "sam3")
LARGE_PROMPTS, LARGE_IMAGES = 20, 3


def asked(which: int) -> list[Prompt]:
    """Boxes of every size, or points alone: what a network is asked in one go."""
    steps = np.linspace(0, 10, TOGETHER)
    if which == 0:
        return [Prompt(box=Box(2 + step, 3 + step, 60 - step, 44 - step)) for step in steps.tolist()]
    return [
        Prompt(points_xy=((20 + step, 24.0), (2.5, 3.5)), point_labels=(True, False)) for step in steps.tolist()
    ]


ASKED = [asked(0), asked(1)]


@pytest.fixture(autouse=True)
def _one_thread_each() -> Iterator[None]:
    """The test's own threads are enough for the machine."""
    torch = pytest.importorskip("torch", reason="torch is not installed: make setup")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_threads_are_told_what_one_thread_is_told(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    shortened = kind in LARGE and "MASKLOOP_LONG_TESTS" not in os.environ
    prompts, images = (LARGE_PROMPTS, LARGE_IMAGES) if shortened else (PROMPTS, IMAGES)
    segmenter = built(kind, tmp_path_factory.mktemp(kind))
    encodings = segmenter.encode([image(seed=number) for number in range(images)])
    alone = {
        (place, which): said(segmenter.decode(encodings[place], ASKED[which]))
        for place in range(images)
        for which in range(len(ASKED))
    }

    def ask(seed: int) -> int:
        rng = np.random.default_rng(seed)
        calls = prompts // TOGETHER
        drawn = zip(rng.integers(images, size=calls), rng.integers(len(ASKED), size=calls), strict=True)
        different = 0
        for place, which in drawn:
            answer = said(segmenter.decode(encodings[int(place)], ASKED[int(which)]))
            different += answer != alone[int(place), int(which)]
        return different

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(ask, range(THREADS))) == 0
