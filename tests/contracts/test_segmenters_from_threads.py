"""Eight threads, two hundred prompts each, on twenty images: byte for byte what one thread is told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.prompts import Prompt
from tests.contracts._segmenters import KINDS, built, image, said

THREADS = 8
PROMPTS = 200
IMAGES = 20
ASKED = [
    Prompt(box=Box(12, 8, 52, 40)),
    Prompt(points_xy=((32.0, 24.0),), point_labels=(True,)),
    Prompt(points_xy=((32.0, 24.0), (2.5, 3.5)), point_labels=(True, False)),
]


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
    segmenter = built(kind, tmp_path_factory.mktemp(kind))
    encodings = segmenter.encode([image(seed=number) for number in range(IMAGES)])
    alone = {
        (place, which): said(segmenter.decode(encodings[place], [ASKED[which]]))
        for place in range(IMAGES)
        for which in range(len(ASKED))
    }

    def ask(seed: int) -> int:
        rng = np.random.default_rng(seed)
        drawn = zip(rng.integers(IMAGES, size=PROMPTS), rng.integers(len(ASKED), size=PROMPTS), strict=True)
        different = 0
        for place, which in drawn:
            answer = said(segmenter.decode(encodings[int(place)], [ASKED[int(which)]]))
            different += answer != alone[int(place), int(which)]
        return different

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(ask, range(THREADS))) == 0
