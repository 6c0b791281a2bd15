"""review: what reviewers decided becomes words on single objects, requests to ask again, and images held out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.domain.records import Annotation, Before, Instance, Origin, OriginKind, State
from pipeline.ports import ReviewRow, Verdict

__all__ = ["FIX", "HOLD_OUT", "Outcome", "Reviewed", "review"]

ACCEPT, REJECT, FIX, HOLD_OUT, RELABEL = "accept", "reject", "fix", "hold-out", "relabel:"
_STATES = {ACCEPT: State.ACCEPTED, REJECT: State.REJECTED}


@dataclass(frozen=True)
class Reviewed:
    """All that one author decided on one image, and what follows from what is `fresh` of it: `annotation` is their word
    on the objects they judged, None if they judged none; `again`: people are to be asked about the image again;
    `held_out`: it is left out of training.
    """

    sample_id: str
    author: str
    verdicts: tuple[Verdict, ...]
    fresh: tuple[Verdict, ...]
    annotation: Annotation | None
    again: bool
    held_out: bool


@dataclass(frozen=True)
class Outcome:
    """`ignored` says why a verdict has no consequence: it speaks of something that is not there."""

    reviewed: tuple[Reviewed, ...]
    ignored: tuple[tuple[Verdict, str], ...]


def review(
    verdicts: Iterable[Verdict],
    row_of: Callable[[str], ReviewRow | None],
    classes: Collection[str],
    *,
    round: int,  # noqa: A002  # the loop's word
    now: datetime,
    is_known: Callable[[Verdict], bool] = lambda _: False,
) -> Outcome:
    """What follows from the verdicts, by sample id and author; `row_of` gives what the reviewer saw.

    From one that is known nothing follows any more, but it still counts beside the others: a verdict on one object
    beats one on its whole image. One on an image is one on each object that is said to be there: what the dataset says,
    or, where no person and no label file has spoken, what models say. So an image whose objects are all rejected
    becomes no negative by that: the annotation is `partial`, and nobody has looked for others. Only an image that is
    accepted as it is, and of which nobody has spoken before, is thereby said to hold no others.
    """
    by_author: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    ignored: list[tuple[Verdict, str]] = []
    for verdict in verdicts:
        row = row_of(verdict.sample_id)
        problem = _problem(verdict, row, classes)
        if problem and (row is None or not is_known(verdict)):
            ignored.append((verdict, problem))
        else:
            by_author[verdict.sample_id, verdict.author].append(verdict)
    reviewed = []
    for (sample_id, _), said in sorted(by_author.items()):
        row = row_of(sample_id)
        if row is not None:
            fresh = [verdict for verdict in said if not is_known(verdict)]
            reviewed.append(_reviewed(row, said, fresh, round, now))
    return Outcome(tuple(reviewed), tuple(ignored))


def _problem(verdict: Verdict, row: ReviewRow | None, classes: Collection[str]) -> str:
    """Why a verdict has no consequence; "" if it has."""
    if row is None:
        return "no such image was shown"
    if verdict.instance_id is not None and verdict.instance_id not in _known(row):
        return "no such object was shown"
    if verdict.decision == HOLD_OUT:
        return "only a whole image can be held out" if verdict.instance_id is not None else ""
    if verdict.decision == FIX:
        asked = row.sample.split == "train"
        return (
            ""
            if asked
            else "nobody is asked about held-out images: correct its labels, and `pipeline import` them"
        )
    if wrong := _wrong_word(verdict.decision, classes):
        return wrong
    now = row.changed.isdisjoint(_about(verdict, row))
    return "" if now else "it was changed after what is shown here: open the review anew"


def _wrong_word(word: str, classes: Collection[str]) -> str:
    if not word.startswith(RELABEL):
        return "" if word in _STATES else f"{word!r} is no verdict"
    label = word.removeprefix(RELABEL)
    return "" if label in classes else f"{label!r} is no class"


def _reviewed(
    row: ReviewRow, said: Sequence[Verdict], fresh: Sequence[Verdict], number: int, now: datetime
) -> Reviewed:
    author = Origin(OriginKind.HUMAN, said[0].author)
    known = _known(row)
    governing = _governing(row, said)
    judged = tuple(
        _judged(known[key], governing[key].decision, author)
        for key in sorted(governing)
        if governing[key] in fresh
    )
    at = max((verdict.at for verdict in fresh if verdict.at is not None), default=now)
    accepted = any(verdict.decision == ACCEPT and verdict.instance_id is None for verdict in fresh)
    annotation = Annotation(
        row.sample.id,
        0,
        judged,
        author,
        number,
        at,
        size_hw=row.sample.size_hw,
        partial=not accepted or _is_spoken_of(row, but=author.name),
    )
    return Reviewed(
        row.sample.id,
        author.name,
        tuple(said),
        tuple(fresh),
        annotation if judged else None,
        again=any(verdict.decision == FIX for verdict in fresh),
        held_out=any(verdict.decision == HOLD_OUT for verdict in said),
    )


def _governing(row: ReviewRow, said: Sequence[Verdict]) -> Mapping[str, Verdict]:
    """The objects that are judged, by id, each with the one verdict that counts for it."""
    found: dict[str, Verdict] = {}
    for verdict in sorted(said, key=lambda verdict: verdict.instance_id is not None):
        if verdict.decision not in {FIX, HOLD_OUT}:
            found.update(dict.fromkeys(_about(verdict, row), verdict))
    return found


def _about(verdict: Verdict, row: ReviewRow) -> list[str]:
    """The objects that a verdict speaks of."""
    return [verdict.instance_id] if verdict.instance_id is not None else _standing(row)


def _is_spoken_of(row: ReviewRow, but: str | None = None) -> bool:
    """Whether a person (other than the one named) or a label file has said what is there."""
    makers = {instance.origin for instance in row.merged if instance.origin.kind is not OriginKind.MODEL}
    return any(maker.kind is OriginKind.IMPORTED or maker.name != but for maker in makers)


def _known(row: ReviewRow) -> Mapping[str, Instance]:
    """Every object that was shown, as the dataset has it, or else as the machine."""
    return {instance.id: instance for instance in (*row.machine, *row.merged)}


def _standing(row: ReviewRow) -> list[str]:
    """The objects that are said to be there."""
    shown = row.merged if _is_spoken_of(row) else tuple(_known(row).values())
    return [instance.id for instance in shown if instance.state is not State.REJECTED]


def _judged(instance: Instance, word: str, author: Origin) -> Instance:
    """The object as its reviewer leaves it. It takes no clicks; what a person has made, and a reviewer accepts, keeps
    its maker, its state and the clicks that it took.
    """
    label = word.removeprefix(RELABEL) if word.startswith(RELABEL) else instance.label
    rejected = word == REJECT
    by_person = instance.origin.kind is OriginKind.HUMAN
    if by_person and label == instance.label and rejected == (instance.state is State.REJECTED):
        return instance
    state = _STATES.get(word, State.EDITED if label != instance.label else State.ACCEPTED)
    before = Before(instance.origin, instance.label, instance.mask)
    return replace(instance, label=label, state=state, origin=author, before=before, clicks=0)
