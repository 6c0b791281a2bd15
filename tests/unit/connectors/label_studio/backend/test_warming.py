"""The next tasks are made ready while nobody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from connectors.label_studio.backend.fetching import Fetcher
from connectors.label_studio.backend.metrics import Metrics
from connectors.label_studio.backend.pictures import Pictures
from connectors.label_studio.backend.services import Limits, Services
from connectors.label_studio.backend.warming import Warmer
from pipeline.domain.geometry import Image
from pipeline.domain.records import Sample
from tests.fakes.brush import BrushSegmenter
from tests.unit.connectors.label_studio.backend._tools import name_of, sample, services


class Kept(BrushSegmenter):
    storable = True


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def warmer(lent: Services, ahead: int, busy: Callable[[], bool] = lambda: False) -> Warmer:
    pictures = Pictures(lent, Limits(), Fetcher(None, most=1, timeout_s=1))
    return Warmer(lent, pictures, Metrics(), ahead=ahead, busy=busy)


def test_the_head_of_the_queue_first_then_what_follows_the_task_at_hand() -> None:
    segmenter = Kept()
    read: list[str] = []
    honest = services(9).read_image

    def read_image(one: Sample) -> Image:
        read.append(one.id)
        return honest(one)

    warm = warmer(services(9, segmenter=segmenter, read_image=read_image), 2)
    warm.start()
    until(lambda: len(read) == 2)
    warm.after(name_of(4))
    until(lambda: len(read) == 4)
    warm.after(name_of(4))
    warm.after("unknown")
    time.sleep(0.05)
    warm.stop()
    assert read == [name_of(number) for number in (0, 1, 5, 6)]
    assert not any(thread.name == "warming" for thread in threading.enumerate())


def test_people_go_first() -> None:
    segmenter = Kept()
    busy = threading.Event()
    busy.set()
    warm = warmer(services(3, segmenter=segmenter), 3, busy.is_set)
    warm.start()
    time.sleep(0.1)
    assert segmenter.encoded == 0
    busy.clear()
    until(lambda: segmenter.encoded == 3)
    warm.stop()


def test_it_stops_also_while_people_are_busy() -> None:
    segmenter = Kept()
    warm = warmer(services(3, segmenter=segmenter), 3, lambda: True)
    warm.start()
    warm.stop()
    assert segmenter.encoded == 0


def test_a_picture_that_cannot_be_read_is_left_for_the_click_to_tell() -> None:
    segmenter = Kept()
    warm = warmer(services(3, segmenter=segmenter, broken=[0]), 3)
    warm.start()
    until(lambda: segmenter.encoded == 2)
    warm.stop()


def test_a_segmenter_whose_encodings_cost_nothing_is_left_alone() -> None:
    warm = warmer(services(3, segmenter=BrushSegmenter(), queue=lambda: [sample(0)]), 3)
    warm.start()
    warm.after(None)
    warm.stop()
