"""Likeness: copies of a picture are alike, different pictures are not, and pairs are found without a miss."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipeline.domain.geometry import Image
from pipeline.domain.likeness import ALIKE, Alike, Likeness, Looks, alike, correlation, hash_distance, likeness_of
from pipeline.domain.neighbours import near_pairs
from pipeline.domain.twins import near_duplicates, united
from pipeline.scenes import DEMO, scene_at


def scene(number: int) -> Image:
    return scene_at(DEMO, 11, number)[0]


def jpeg(image: Image, quality: int) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def scaled(image: Image, factor: float) -> Image:
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)


COPIES: dict[str, Callable[[Image], Image]] = {
    "quality 50": lambda image: jpeg(image, 50),
    "half the size": lambda image: scaled(image, 0.5),
    "1.3 times the size": lambda image: scaled(image, 1.3),
    "brighter": lambda image: np.minimum(image, 245) + np.uint8(10),
    "darker": lambda image: (image * 0.85).astype(np.uint8),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_alike(name: str) -> None:
    found = [alike(likeness_of(image), likeness_of(COPIES[name](image))) for image in map(scene, range(40))]
    assert sum(found) >= 38


def test_different_scenes_are_not() -> None:
    looks = Looks((str(number), likeness_of(scene(number))) for number in range(200))
    assert sum(len(rows) for rows, _ in near_duplicates(looks, looks)) == 200, "each is like itself alone"


def test_flat_pictures_are_like_nothing() -> None:
    """Their hashes are equal, and nothing in them could be recognised."""
    grey, black = np.full((40, 60, 3), 128, dtype=np.uint8), np.zeros((40, 60, 3), dtype=np.uint8)
    assert hash_distance(likeness_of(grey), likeness_of(black)) == 0
    assert not alike(likeness_of(grey), likeness_of(black))
    assert not alike(likeness_of(grey), likeness_of(grey))


def test_an_equal_hash_is_not_enough() -> None:
    """The hash sees grey alone: the same shape in another colour is another picture."""
    one = np.full((64, 64, 3), 255, dtype=np.uint8)
    other = one.copy()
    cv2.circle(one, (20, 24), 14, (200, 40, 40), -1)
    cv2.circle(other, (20, 24), 14, (40, 60, 255), -1)
    first, second = likeness_of(one), likeness_of(other)
    assert hash_distance(first, second) <= ALIKE.bits
    assert correlation(first, second) < ALIKE.correlation
    assert not alike(first, second)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 900), (3000, 8), (7, 5), (1024, 513)])
def test_any_size_can_be_described(size_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    likeness = likeness_of(image)
    assert 0 <= likeness.phash < 1 << 63, "the first bit would be the brightness"
    assert len(likeness.thumbnail) == 16 * 16 * 3


@pytest.mark.parametrize("bits", [0, 3, 4, 10, 17])
def test_no_pair_within_the_radius_is_missed_or_told_twice(bits: int) -> None:
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 1 << 63, 600, dtype=np.uint64)
    for number in range(300):
        flips = sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 20), replace=False))
        hashes[number + 300] = hashes[number] ^ np.uint64(flips)
    for queries in (hashes[100:110], hashes[100:500]):  # few enough to look at every pair, and not
        parts = near_pairs(queries, hashes, bits)
        found = [pair for rows, columns in parts for pair in zip(rows.tolist(), columns.tolist(), strict=True)]
        apart = np.bitwise_count(queries[:, None] ^ hashes[None])
        assert len(found) == len(set(found))
        assert set(found) == set(zip(*(side.tolist() for side in np.nonzero(apart <= bits)), strict=True))
        assert len(found) >= len(queries), "each is near itself"


def test_no_hashes_have_no_pairs() -> None:
    none = np.zeros(0, dtype=np.uint64)
    some = np.zeros(3, dtype=np.uint64)
    for queries, known in ((none, some), (some, none), (none, none)):
        assert sum(len(rows) for rows, _ in near_pairs(queries, known, 10)) == 0


def test_a_thousand_frames_of_one_scene_are_one_cluster_without_every_pair() -> None:
    likeness = likeness_of(scene(0))
    looks = Looks((f"{number:04d}", likeness) for number in range(1000))
    links = list(united(looks))
    assert len(links) == 999
    reached = {"0000"}
    while more := {name for link in links if reached & set(link) for name in link} - reached:
        reached |= more
    assert len(reached) == 1000


def test_settings_decide() -> None:
    one = likeness_of(scene(3))
    other = Likeness(one.phash ^ 0b111, one.thumbnail)
    assert alike(one, other, Alike(bits=3))
    assert not alike(one, other, Alike(bits=2))
