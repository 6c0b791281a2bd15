"""What changed from one dataset version to another: images, objects, classes, states, masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.matching import match
from pipeline.domain.records import Instance

__all__ = ["Change", "Difference", "Tally", "difference"]

_SAME_FROM_IOU = 0.5
_Pair = tuple[Instance | None, Instance | None]


@dataclass(frozen=True)
class Change:
    """One object that is new ("added"), gone ("removed"), or has another label, state or mask ("changed").

    `iou` is that of the mask before and after, in [0, 1]; None where either is not there.
    """

    sample_id: str
    kind: Literal["added", "removed", "changed"]
    before: Instance | None
    after: Instance | None
    iou: float | None = None

    @property
    def extent(self) -> float:
        """How much of the mask changed, in [0, 1]: 1 for an object that came or went, or has another label."""
        if self.before is None or self.after is None or self.before.label != self.after.label:
            return 1.0
        return 0.0 if self.iou is None else 1.0 - self.iou

    @property
    def reshaped(self) -> bool:
        """Whether the mask is another one."""
        return self.before is not None and self.after is not None and self.before.mask != self.after.mask

    @property
    def either(self) -> Instance:
        """The object as it is now, or as it was before it went."""
        found = self.after if self.after is not None else self.before
        if found is None:
            raise ValueError("a change is of an object that is, or was")
        return found


@dataclass(frozen=True)
class Tally:
    """How many there were and are, and how many came, went and changed."""

    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0


@dataclass(frozen=True)
class Difference:
    """Tallies of images and objects, and every changed object: new labels and masks first, the most
    changed at the front, then what went, what came, and what has another state only.

    A changed object counts under the class and the state that it has now. `images_by_split` counts images, `moved`
    those that changed their split. `relabelled` and `restated` are keyed (before, after). `mean_iou` is that of the
    masks that changed, None if none did. `retold` objects differ in what is told of them alone: who made them, scores,
    clicks.
    """

    images: Tally
    instances: Tally
    images_by_split: Mapping[str, Tally]
    instances_by_class: Mapping[str, Tally]
    instances_by_state: Mapping[str, Tally]
    moved: int
    relabelled: Mapping[tuple[str, str], int]
    restated: Mapping[tuple[str, str], int]
    reshaped: int
    mean_iou: float | None
    retold: int
    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the two versions hold the same images in the same splits, with the same objects."""
        return not self.changes and not self.images.added and not self.images.removed and not self.moved


def difference(before: Iterable[DatasetEntry], after: Iterable[DatasetEntry]) -> Difference:
    """Objects are matched within their image: by id, else one to one from a mask IoU of 0.5 on."""
    old, new = ({entry.sample_id: entry for entry in entries} for entries in (before, after))
    pairs = {key: list(_pairs(_instances(old.get(key)), _instances(new.get(key)))) for key in {**old, **new}}
    changes = [
        change for key, found in pairs.items() for one, other in found for change in _change(key, one, other)
    ]
    everything = [pair for found in pairs.values() for pair in found]
    both = [(one, other) for one, other in everything if one is not None and other is not None]
    reshaped = [change.iou for change in changes if change.iou is not None and change.reshaped]
    touched = {change.sample_id for change in changes}
    splits = sorted({entry.split for entry in (*old.values(), *new.values())})
    return Difference(
        images=_images(old.keys(), new.keys(), touched),
        instances=_objects(everything, changes, lambda _: "").get("", Tally()),
        images_by_split={
            split: _images(_in_split(old, split), _in_split(new, split), touched) for split in splits
        },
        instances_by_class=_objects(everything, changes, lambda item: item.label),
        instances_by_state=_objects(everything, changes, lambda item: item.state.value),
        moved=sum(old[key].split != new[key].split for key in old.keys() & new.keys()),
        relabelled=_moves((one.label, other.label) for one, other in both),
        restated=_moves((one.state.value, other.state.value) for one, other in both),
        reshaped=len(reshaped),
        mean_iou=sum(reshaped) / len(reshaped) if reshaped else None,
        retold=sum(one != other and _seen(one) == _seen(other) for one, other in both),
        changes=tuple(sorted(changes, key=_order)),
    )


def _instances(entry: DatasetEntry | None) -> tuple[Instance, ...]:
    return () if entry is None else entry.instances


def _pairs(old: Sequence[Instance], new: Sequence[Instance]) -> Iterator[_Pair]:
    """Every object once: with what it has become, or alone."""
    by_id = {item.id: item for item in new}
    named = [(item, by_id[item.id]) for item in old if item.id in by_id]
    known = {one.id for one, _ in named}
    old_rest = sorted((item for item in old if item.id not in known), key=lambda item: item.id)
    new_rest = sorted((item for item in new if item.id not in known), key=lambda item: item.id)
    alike = match(old_rest, new_rest, _SAME_FROM_IOU) if old_rest and new_rest else {}
    yield from named
    yield from ((old_rest[shown], new_rest[index]) for index, shown in alike.items())
    yield from ((item, None) for index, item in enumerate(old_rest) if index not in alike.values())
    yield from ((None, item) for index, item in enumerate(new_rest) if index not in alike)


def _seen(item: Instance) -> tuple[object, ...]:
    """What a person who looks at an object knows of it; the box follows from the mask."""
    return item.label, item.state, item.mask, item.box if item.mask is None else None


def _change(sample_id: str, one: Instance | None, other: Instance | None) -> Iterator[Change]:
    if one is None or other is None:
        yield Change(sample_id, "added" if one is None else "removed", one, other)
    elif _seen(one) != _seen(other):
        masks = one.mask, other.mask
        iou = masks[0].iou(masks[1]) if masks[0] is not None and masks[1] is not None else None
        yield Change(sample_id, "changed", one, other, iou)


def _order(change: Change) -> tuple[int, float, str, str]:
    """New labels and masks first, then what went, what came, and what has another state only."""
    rank = {"changed": 0 if change.extent else 3, "removed": 1, "added": 2}[change.kind]
    return rank, -change.extent, change.sample_id, change.either.id


def _images(old: Collection[str], new: Collection[str], touched: Collection[str]) -> Tally:
    stay = set(old) & set(new)
    return Tally(len(old), len(new), len(new) - len(stay), len(old) - len(stay), len(stay & set(touched)))


def _in_split(entries: Mapping[str, DatasetEntry], split: str) -> set[str]:
    return {key for key, entry in entries.items() if entry.split == split}


def _objects(
    pairs: Sequence[_Pair], changes: Sequence[Change], group: Callable[[Instance], str]
) -> dict[str, Tally]:
    """Tallies of the objects of each group, by the group's name."""
    before = Counter(group(one) for one, _ in pairs if one is not None)
    after = Counter(group(other) for _, other in pairs if other is not None)
    kinds = Counter((group(change.either), change.kind) for change in changes)
    return {
        name: Tally(
            before[name], after[name], kinds[name, "added"], kinds[name, "removed"], kinds[name, "changed"]
        )
        for name in sorted(before.keys() | after.keys())
    }


def _moves(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How often one thing became another, the most frequent first."""
    counted = Counter(pair for pair in pairs if pair[0] != pair[1])
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
