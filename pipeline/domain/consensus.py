"""What several people together say of one image: objects matched, classes and pixels put to the vote.

Nothing here depends on the order in which people answered, and nothing is lost: every answer stays in the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Bitmap, Mask
from pipeline.domain.matching import agreement, has_mask, match
from pipeline.domain.records import Instance, Origin, OriginKind, State

__all__ = ["Consensus", "Method", "consensus", "majority", "staple"]

Method = Literal["majority", "staple"]
Group = Mapping[str, Instance]
"""One object, as each person who spoke of it sees it: author -> instance."""

_EDGE = 1e-6
"""How near to 0 and 1 STAPLE lets a person's quality come: nobody is ever wholly right, or weightless."""


@dataclass(frozen=True)
class Consensus:
    """What people say together. Rejected instances are among `instances`.

    `agreement` in [0, 1] is the mean over all objects and all pairs of people: the IoU of their masks where both say
    the object is there and of one class, 0 where they differ in that. 1 where there is nothing to differ about.
    `by_author` is the same mean over the pairs that a person belongs to.
    """

    instances: tuple[Instance, ...]
    agreement: float
    by_author: Mapping[str, float]


def consensus(opinions: Mapping[str, Sequence[Instance]], *, method: Method, match_iou: float) -> Consensus:
    """One account from one word on the whole image by each author.

    An object is there if at least half of the people say so; its class is what most of them say, the first by name if
    several are said as often; its mask is made by `method`. Raises ShapeMismatch for masks of several sizes.
    """
    people = sorted(opinions)
    groups = _groups({name: _replaced(opinions[name], match_iou) for name in people}, match_iou)
    made = (_together(group, len(people), method) for group in groups)
    instances = tuple(sorted((item for item in made if item is not None), key=lambda item: item.id))
    terms = [(pair, term) for group in groups for pair, term in _terms(group, people)]
    by_author = {name: _mean(term for pair, term in terms if name in pair) for name in people}
    return Consensus(instances, _mean(term for _, term in terms), by_author)


def majority(votes: Sequence[Bitmap]) -> Bitmap:
    """The pixels that at least half of the votes, each `bool (h, w)`, hold."""
    counted: npt.NDArray[np.int64] = np.sum(np.stack(votes), axis=0, dtype=np.int64)
    return np.greater_equal(2 * counted, len(votes))


def staple(votes: Sequence[Bitmap], *, steps: int = 100) -> Bitmap:
    """The most probable truth behind the votes, each `bool (h, w)`, when each voter errs in a way of their own.

    Expectation and maximisation find each voter's sensitivity and specificity along with the truth: STAPLE (Warfield,
    Zou & Wells 2004, https://doi.org/10.1109/TMI.2004.828354), with the votes' mean as prior.
    """
    held = np.stack(votes).reshape(len(votes), -1)
    prior = float(np.clip(held.mean(), _EDGE, 1 - _EDGE))
    sensitivity = specificity = np.full((len(votes), 1), 0.99)
    weight: npt.NDArray[np.float64] = np.zeros(held.shape[1])
    for _ in range(steps):
        there = prior * np.where(held, sensitivity, 1 - sensitivity).prod(axis=0)
        absent = (1 - prior) * np.where(held, 1 - specificity, specificity).prod(axis=0)
        before, weight = weight, there / (there + absent)
        sensitivity = _share(held, weight)
        specificity = _share(~held, 1 - weight)
        if np.abs(weight - before).max() < _EDGE:
            break
    likely: Bitmap = (weight >= 0.5).reshape(votes[0].shape)
    return likely


def _share(held: Bitmap, weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How much of the weight each voter holds, `float64 (k, 1)`."""
    share = (held @ weight) / max(float(weight.sum()), _EDGE)
    return np.clip(share, _EDGE, 1 - _EDGE)[:, None]


# --- which of their instances are one object ---------------------------------------------------------------


def _replaced(said: Sequence[Instance], match_iou: float) -> list[Instance]:
    """What one person said, less the rejected objects that they drew anew in the same place."""
    present = [item for item in said if item.state is not State.REJECTED]
    rejected = [item for item in said if item.state is State.REJECTED]
    anew = set(match(present, rejected, match_iou)) if present and rejected else set()
    return present + [item for index, item in enumerate(rejected) if index not in anew]


def _groups(opinions: Mapping[str, Sequence[Instance]], match_iou: float) -> list[Group]:
    """Instances of one id are one object; then the best agreeing are joined, as long as nobody is in it twice."""
    named: dict[str, dict[str, Instance]] = {}
    for author, said in opinions.items():
        for item in said:
            named.setdefault(item.id, {})[author] = item
    groups = [named[key] for key in sorted(named)]
    for _, one, other in sorted(_likely(opinions, match_iou)):
        first, second = _holding(groups, *one), _holding(groups, *other)
        if first is not second and not first.keys() & second.keys():
            first.update(second)
            groups.remove(second)
    return list(groups)


def _likely(
    opinions: Mapping[str, Sequence[Instance]], match_iou: float
) -> Iterator[tuple[float, tuple[str, str], tuple[str, str]]]:
    """Pairs of (author, id) whose shapes agree at least so well, with minus their agreement."""
    for one, other in combinations(sorted(opinions), 2):
        table = agreement(opinions[one], opinions[other])
        for row, column in np.argwhere(table >= match_iou).tolist():
            first, second = opinions[one][row], opinions[other][column]
            yield -float(table[row, column]), (one, first.id), (other, second.id)


def _holding(groups: Sequence[dict[str, Instance]], author: str, key: str) -> dict[str, Instance]:
    return next(group for group in groups if author in group and group[author].id == key)


# --- one object --------------------------------------------------------------------------------------------


def _together(group: Group, people: int, method: Method) -> Instance | None:
    """The object as most people see it: rejected if one of those who are against it was shown it; else None."""
    present = {name: item for name, item in group.items() if item.state is not State.REJECTED}
    rejected = [group[name] for name in sorted(group) if name not in present]
    origin = Origin(OriginKind.HUMAN, " + ".join(sorted(group)))
    if 2 * len(present) < people:
        return replace(rejected[0], origin=origin) if rejected else None
    items = [present[name] for name in sorted(present)]
    if len(items) == 1:
        return items[0]
    mask = _mask([item.mask for item in items if item.mask is not None and has_mask(item)], method)
    votes = Counter(item.label for item in items)
    first = min(items, key=lambda item: (item.before is None, item.id))
    alike = all(item.mask == mask and item.label == first.label for item in items)
    return replace(
        first,
        label=min(votes, key=lambda label: (-votes[label], label)),
        box=(mask.box if mask is not None else None) or _middle([item.box for item in items]),
        mask=mask,
        origin=origin,
        state=_state({item.state for item in items}, alike=alike),
        predicted_iou=first.predicted_iou if alike else None,
        stability=first.stability if alike else None,
        clicks=sum(item.clicks for item in items),
    )


def _state(states: set[State], *, alike: bool) -> State:
    """Accepted only if everybody accepted the same; drawn if nobody was shown it; what nobody judged stays proposed."""
    if states == {State.PROPOSED}:
        return State.PROPOSED
    if states == {State.ACCEPTED} and alike:
        return State.ACCEPTED
    return State.DRAWN if states == {State.DRAWN} else State.EDITED


def _mask(masks: Sequence[Mask], method: Method) -> Mask | None:
    """The masks put together on the box around them all; None if there is none."""
    if not masks or all(mask == masks[0] for mask in masks):
        return masks[0] if masks else None
    boxes = [mask.box for mask in masks if mask.box is not None]
    left, top = int(min(box.x1 for box in boxes)), int(min(box.y1 for box in boxes))
    right, bottom = int(max(box.x2 for box in boxes)), int(max(box.y2 for box in boxes))
    votes = []
    for mask in masks:
        (x, y), crop = mask.crop()
        vote = np.zeros((bottom - top, right - left), dtype=np.bool_)
        vote[int(y) - top : int(y) - top + crop.shape[0], int(x) - left : int(x) - left + crop.shape[1]] = crop
        votes.append(vote)
    together = majority(votes) if method == "majority" else staple(votes)
    return Mask.from_crop(together, left, top, masks[0].size_hw) if together.any() else masks[0]


def _middle(boxes: Sequence[Box]) -> Box:
    return Box(*(float(value) for value in np.median(np.array(boxes), axis=0)))


# --- how far people agree ----------------------------------------------------------------------------------


def _terms(group: Group, people: Sequence[str]) -> Iterator[tuple[tuple[str, str], float]]:
    """How far each pair of people agrees about one object; nothing for a pair of which neither sees it."""
    for one, other in combinations(people, 2):
        first, second = _seen(group.get(one)), _seen(group.get(other))
        if first is None and second is None:
            continue
        same = first is not None and second is not None and first.label == second.label
        yield (one, other), float(agreement([first], [second])[0, 0]) if same and first and second else 0.0


def _seen(item: Instance | None) -> Instance | None:
    return item if item is not None and item.state is not State.REJECTED else None


def _mean(terms: Iterable[float]) -> float:
    values = list(terms)
    return sum(values) / len(values) if values else 1.0
