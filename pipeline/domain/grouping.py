"""Where images that arrive together belong: their group, and its split, beside those that are there already.

Images are tied to each other by a common key (a folder, a video, what a pattern finds) or by being near-duplicates.
What is tied together goes into one split: that of the images it is tied to, if their split stands already (they are
in the pool, or their dataset says it), or else the one that the hash of the group's name gives. The order in which
images come does not matter, and those whose split stands are only looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.domain.likeness import ALIKE, Alike, Likeness, Looks
from pipeline.domain.records import Split
from pipeline.domain.twins import Numbers, near_duplicates, united

__all__ = ["Anchor", "Arrival", "Place", "Torn", "place"]


@dataclass(frozen=True)
class Anchor:
    """An image whose split stands; without a `likeness`, nothing is taken for its near-duplicate."""

    id: str
    split: Split
    group: str
    likeness: Likeness | None = None


@dataclass(frozen=True)
class Arrival:
    """A new image. `key` is "" where it is its own group; `given` is the split that its dataset says."""

    id: str
    key: str = ""
    given: Split | None = None
    likeness: Likeness | None = None


@dataclass(frozen=True)
class Place:
    """Where an image belongs, for good."""

    split: Split
    group: str


@dataclass(frozen=True)
class Torn:
    """Tied to groups of different splits, so that no split is right.

    `between` are images of these splits, one of each: near-duplicates of this image or of one tied to it, or members
    of the group that its key names. `together` are the ids of all images that the same ties tear.
    """

    between: tuple[Anchor, ...]
    together: tuple[str, ...]


def place(
    arrivals: Iterable[Arrival],
    anchors: Iterable[Anchor],
    assign: Callable[[str], Split],
    settings: Alike = ALIKE,
) -> dict[str, Place | Torn]:
    """The place of every arrival, by id; `assign` gives the split of a group that is new.

    A split that a dataset gives stands, whatever the image looks like. An image with a key is in that group. One
    without bears the name of what it is tied to: the first of those groups by name, or the smallest id among the tied.
    """
    new = sorted(arrivals, key=lambda one: one.id)
    free = [one for one in new if one.given is None]
    given = [Anchor(one.id, one.given, one.key or one.id, one.likeness) for one in new if one.given is not None]
    ties = _Ties(free, sorted([*anchors, *given], key=lambda one: one.id), settings)
    places: dict[str, Place | Torn] = {one.id: Place(one.split, one.group) for one in given}
    for members in ties.components():
        places.update(ties.placed(members, assign))
    return places


class _Ties:
    """What ties free images to each other, and to those whose split stands."""

    def __init__(self, free: Sequence[Arrival], fixed: Sequence[Anchor], settings: Alike) -> None:
        self._free = free
        self._settings = settings
        self._members = _by_group(fixed, {one.key for one in free})
        looks = _looks(free)
        self._twins = _twins(looks, fixed, settings)
        self._links = [*united(looks, settings), *_same_key(free)]

    def components(self) -> list[list[Arrival]]:
        """The free images, those that are tied together in one list."""
        above = {one.id: one.id for one in self._free}
        for one, other in self._links:
            first, second = sorted((_top(above, one), _top(above, other)))
            above[second] = first
        found: dict[str, list[Arrival]] = defaultdict(list)
        for member in self._free:
            found[_top(above, member.id)].append(member)
        return list(found.values())

    def placed(self, members: Sequence[Arrival], assign: Callable[[str], Split]) -> dict[str, Place | Torn]:
        """The place of each of these images, which are tied together and to nothing else that is free."""
        tied = [anchor for one in members for anchor in self._anchors(one)]
        between = {anchor.split: anchor for anchor in sorted(tied, key=lambda one: one.id, reverse=True)}
        if len(between) > 1:
            return self._parted(members, between, assign)
        names = {anchor.group for anchor in tied} | {one.key for one in members if one.key}
        name = min(names) if names else members[0].id
        split = tied[0].split if tied else assign(name)
        return {one.id: Place(split, one.key or name) for one in members}

    def _parted(
        self, members: Sequence[Arrival], between: dict[Split, Anchor], assign: Callable[[str], Split]
    ) -> dict[str, Place | Torn]:
        """Put aside what ties groups to each other across splits; the rest stays with its key's group."""
        crossing = self._crossing(members)
        doubtful = {one.key for one in members if len({anchor.split for anchor in self._members[one.key]}) > 1}
        torn = [one for one in members if one.id in crossing or one.key in doubtful]
        together = tuple(one.id for one in torn)
        places: dict[str, Place | Torn] = {}
        for one in torn:
            own = between | {anchor.split: anchor for anchor in self._anchors(one)}
            places[one.id] = Torn(tuple(own[split] for split in sorted(own)), together)
        for one in members:
            if one.id not in places:
                of_key = self._members[one.key]
                places[one.id] = Place(of_key[0].split if of_key else assign(one.key), one.key)
        return places

    def _crossing(self, members: Sequence[Arrival]) -> set[str]:
        """Those with a near-duplicate that is not of their own key's group."""
        keys = {one.id: one.key for one in members}
        found = {
            one.id for one in members for twin in self._twins.get(one.id, ()) if twin.group != (one.key or None)
        }
        looks = _looks(members)
        done = np.array([sample_id in found for sample_id in looks.ids], dtype=np.bool_)

        def unsure(rows: Numbers, columns: Numbers) -> npt.NDArray[np.bool_]:
            return np.logical_and(rows < columns, ~(done[rows] & done[columns]))

        for rows, columns in near_duplicates(looks, looks, self._settings, wanted=unsure):
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                one, other = looks.ids[row], looks.ids[column]
                if not keys[one] or keys[one] != keys[other]:
                    found |= {one, other}
                    done[[row, column]] = True
        return found

    def _anchors(self, one: Arrival) -> list[Anchor]:
        return [*self._twins.get(one.id, ()), *self._members[one.key]]


def _twins(looks: Looks, fixed: Sequence[Anchor], settings: Alike) -> dict[str, list[Anchor]]:
    """By free image: of each group that has near-duplicates of it, one of these."""
    by_id = {one.id: one for one in fixed}
    others = _looks(fixed)
    numbers: dict[tuple[str, Split], int] = {}
    groups = [by_id[sample_id] for sample_id in others.ids]
    group = np.array([numbers.setdefault((one.group, one.split), len(numbers)) for one in groups], dtype=np.int64)
    found: dict[int, tuple[int, int]] = {}

    def new(rows: Numbers, columns: Numbers) -> npt.NDArray[np.bool_]:
        known = np.fromiter(found, dtype=np.int64, count=len(found))
        return np.isin(rows * len(numbers) + group[columns], known, invert=True)

    for rows, columns in near_duplicates(looks, others, settings, wanted=new):
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            found.setdefault(row * len(numbers) + int(group[column]), (row, column))
    twins: dict[str, list[Anchor]] = defaultdict(list)
    for row, column in sorted(found.values()):
        twins[looks.ids[row]].append(groups[column])
    return twins


def _same_key(free: Sequence[Arrival]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    return [(first.setdefault(one.key, one.id), one.id) for one in free if one.key]


def _by_group(fixed: Sequence[Anchor], keys: set[str]) -> dict[str, list[Anchor]]:
    """The fixed members of the groups that keys name, one of each split."""
    found: dict[str, dict[Split, Anchor]] = {key: {} for key in keys}
    for one in fixed:
        if one.group in keys - {""}:
            found[one.group].setdefault(one.split, one)
    return {key: list(anchors.values()) for key, anchors in found.items()}


def _looks(rows: Sequence[Anchor] | Sequence[Arrival]) -> Looks:
    return Looks((one.id, one.likeness) for one in rows if one.likeness is not None)


def _top(above: dict[str, str], name: str) -> str:
    while above[name] != name:
        above[name] = above[above[name]]
        name = above[name]
    return name
