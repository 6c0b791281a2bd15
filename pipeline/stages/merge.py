"""merge: everything that was ever said about each image becomes one dataset version, object by object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.domain.consensus import Method, consensus
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.mask import Mask
from pipeline.domain.matching import pieces, same_objects
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.errors import DataError, ShapeMismatch
from pipeline.events import Emit, silent

__all__ = ["MergeSettings", "Merged", "Opinion", "merge", "opinion_of", "remembered"]

MasksForBoxes = Callable[[str, str], Mask | None]
_RANKS = (OriginKind.HUMAN, OriginKind.IMPORTED, OriginKind.MODEL)


class MergeSettings(BaseModel):
    """`states` are those that may teach. With "proposed" among them, models teach where no person has spoken.

    Two instances are one object if they share an id, or from a mask IoU of `match_iou` on. `consensus` is how the
    masks of several people become one. Where people agree less than `agreement_floor`, they are asked again in the
    next round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    states: tuple[State, ...] = (State.ACCEPTED, State.EDITED, State.DRAWN)
    match_iou: float = Field(default=0.5, gt=0.0, le=1.0)
    consensus: Method = "majority"
    agreement_floor: float = Field(default=0.5, ge=0.0, le=1.0)

    @field_validator("states")
    @classmethod
    def _no_rejected(cls, states: tuple[State, ...]) -> tuple[State, ...]:
        if not states:
            raise ValueError("name at least one state, or nothing can be trained on")
        if State.REJECTED in states:
            raise ValueError("a rejected instance is known to be wrong and cannot be trained on")
        return states


@dataclass(frozen=True)
class Opinion:
    """What all that was said about one image comes to. Rejected instances are among `instances`.

    `whole` says whether anybody has spoken of the whole image; otherwise only of single objects. `revision` is the
    last one that was heard. `agreement`, and `by_author`, are those of several people (see `consensus`); it is
    `settled` if somebody has looked over what they said since.
    """

    instances: tuple[Instance, ...]
    whole: bool
    revision: int
    agreement: float | None = None
    by_author: Mapping[str, float] = field(default_factory=dict)
    settled: bool = False

    @property
    def present(self) -> tuple[Instance, ...]:
        return tuple(item for item in self.instances if item.state is not State.REJECTED)


@dataclass(frozen=True)
class Merged:
    """`entries` by sample id; how far each author agrees with the others, and with how many images that is known;
    the samples about which people agree less than the settings ask for, with their agreement.
    """

    entries: list[DatasetEntry]
    agreement: Mapping[str, tuple[float, int]]
    disputed: Mapping[str, float]


def merge(
    samples: Iterable[Sample],
    histories: Iterable[Sequence[Annotation]],
    masks_for_boxes: MasksForBoxes,
    settings: MergeSettings,
    emit: Emit = silent,
    *,
    masks_by: str = "segmenter",
    round_trip: Callable[[Mask], float] | None = None,
    held_out: Collection[str] = (),
    quarantine: Callable[[DataError], None] | None = None,
) -> Merged:
    """The version's entries, whatever order the annotations came in.

    - Human beats imported beats model, object by object (see `opinion_of`): a person's word on one object does not
      erase the others.
    - An image that nobody spoke for is not in the version: unlabelled is not negative. An image of which a person or
      a label file says, as a whole, that nothing is there is a negative image and is in it. A model that found
      nothing is no witness for that, and neither is a person who rejected single objects.
    - Rejected instances never enter. If another instance is in a state outside `settings.states`, the image
      is held back whole: it would teach that the object is background. So are train images in `held_out`.
    - An instance with a box only takes `masks_for_boxes(sample_id, instance_id)`; its origin then names
      `masks_by` too, because nobody has said that this mask is right.

    `round_trip` measures what is left of a mask as a YOLO row; without it the entries do not say. A sample that cannot
    enter (a box without a mask, a mask of another size than the image) is given to
    `quarantine` as a DataError with its id and left out; without `quarantine` the first one is raised.
    Tells `merge.done` with `images`, `negatives`, `held_back` and `quarantined`.
    """
    known = _by_sample(histories)
    work = _Work(masks_for_boxes, masks_by, round_trip)
    entries: list[DatasetEntry] = []
    opinions: dict[str, Opinion] = {}
    held_back = quarantined = 0
    for sample in sorted(samples, key=lambda sample: sample.id):
        try:
            said = _checked(sample, known.get(sample.id, ()), settings)
            if said is None:
                continue
            opinions[sample.id] = said
            unsure = any(item.state not in settings.states for item in said.present)
            if unsure or (sample.id in held_out and sample.split == "train"):
                held_back += 1
                continue
            entries.append(work.entry(sample, said))
        except DataError as problem:
            if quarantine is None:
                raise
            quarantine(problem)
            quarantined += 1
    negatives = sum(not entry.instances for entry in entries)
    emit("merge.done", images=len(entries), negatives=negatives, held_back=held_back, quarantined=quarantined)
    return Merged(entries, _agreement(opinions.values()), _disputed(opinions, settings.agreement_floor))


def remembered(round_trip: Callable[[Mask], float], entries: Iterable[DatasetEntry]) -> Callable[[Mask], float]:
    """`round_trip`, which is not worked out again for the masks of an earlier version."""
    known = {
        (item.mask.counts, item.mask.size_hw): entry.round_trip[item.id]
        for entry in entries
        for item in entry.instances
        if item.mask is not None and item.id in entry.round_trip
    }

    def measure(mask: Mask) -> float:
        key = mask.counts, mask.size_hw
        # Versions keep six digits: what is measured anew must not differ from what is remembered.
        return known[key] if key in known else round(round_trip(mask), 6)

    return measure


def opinion_of(history: Sequence[Annotation], settings: MergeSettings) -> Opinion | None:
    """What the annotations of one image come to, in any order; None if nobody says anything that counts.

    An author's new word on the whole image replaces their old one. Several people who were asked together, in the
    round of the newest answer, come to a consensus; a later round's answer settles what an earlier one left open.
    Words on single objects that are newer than that are laid over it, oldest first. What people rejected in older
    words that stand stays rejected unless a newer word brings it: those who are asked again are not shown it. Under
    people lie the newest labels that were imported, and under those what a model said last: of each, the instances
    that nobody above speaks of, by id or else by shape, and that are no pieces of theirs. A whole word without any
    instance says that nothing is there, and covers all below.
    """
    standing = sorted((said for said in history if not said.withdrawn), key=_age)
    humans, labels, models = ([said for said in standing if said.origin.kind is kind] for kind in _RANKS)
    people = _people(humans, settings)
    whole, result = people.whole, list(people.instances)
    if result:
        known = {item.id for item in result}
        result += [item for item in _tombstones(humans) if item.id not in known]
    for said in (*labels[-1:], *models[-1:]):
        if whole and not result:
            break
        result = _laid_over(result, _whole_ones(result, said.instances), settings.match_iou)
        whole = whole or (said in labels and not said.partial)
    speaks = bool(humans or labels) or State.PROPOSED in settings.states
    if not speaks or not (whole or any(item.state is not State.REJECTED for item in result)):
        return None
    return replace(people, instances=tuple(result), whole=whole, revision=max(said.revision for said in history))


def _age(said: Annotation) -> tuple[datetime, int, str, int]:
    """Old before new. Numbers are given as answers arrive: they decide only where nothing else can."""
    return said.created_at, said.round, said.origin.name, said.revision


def _people(history: Sequence[Annotation], settings: MergeSettings) -> Opinion:
    """What people say together."""
    newest = {said.origin.name: said for said in history if not said.partial}
    last = max(newest.values(), key=_age, default=None)
    voters = {name: said for name, said in newest.items() if last is not None and said.round == last.round}
    first = min(voters.values(), key=_age, default=None)
    later = [said for said in history if said.partial and (first is None or _age(said) > _age(first))]
    if len(voters) < 2:
        base = [item for said in voters.values() for item in said.instances]
        return Opinion(_over(base, later, settings), bool(voters), 0)
    opinions = {name: said.instances for name, said in voters.items()}
    agreed = consensus(opinions, method=settings.consensus, match_iou=settings.match_iou)
    together = _over(agreed.instances, later, settings)
    return Opinion(together, True, 0, agreed.agreement, agreed.by_author, settled=bool(later))


def _over(base: Sequence[Instance], later: Sequence[Annotation], settings: MergeSettings) -> tuple[Instance, ...]:
    """Words on single objects laid over what was said before them, oldest first.

    Who rejects one object by its id leaves another person's in the same place.
    """
    result = list(base)
    for said in later:
        rejected = {item.id: item for item in said.instances if item.state is State.REJECTED}
        rest = [item for item in result if item.id not in rejected]
        result = [*rejected.values(), *_laid_over(said.present, rest, settings.match_iou)]
    return tuple(result)


def _tombstones(history: Sequence[Annotation]) -> list[Instance]:
    """What people rejected in any of their words, each as it was rejected last."""
    rejected = (item for said in history for item in said.instances if item.state is State.REJECTED)
    return list({item.id: item for item in rejected}.values())


def _laid_over(upper: Sequence[Instance], lower: Sequence[Instance], match_iou: float) -> list[Instance]:
    """All of `upper`, and those of `lower` that it does not speak of."""
    covered = same_objects(upper, lower, match_iou) if upper and lower else set()
    return [*upper, *(item for item in lower if item.id not in covered)]


def _whole_ones(upper: Sequence[Instance], lower: Sequence[Instance]) -> list[Instance]:
    """Those of `lower` that are no pieces of what stands above: who outlined the whole has seen the piece."""
    covered = pieces([item for item in upper if item.state is not State.REJECTED], lower)
    return [item for item in lower if item.id not in covered]


def _by_sample(histories: Iterable[Sequence[Annotation]]) -> dict[str, list[Annotation]]:
    """Every annotation once. Raises DataError for two different ones with one number."""
    known: dict[str, dict[int, Annotation]] = defaultdict(dict)
    for history in histories:
        for said in history:
            rival = known[said.sample_id].setdefault(said.revision, said)
            if rival is not said and rival != said:
                raise DataError(
                    f"two different annotations are both revision {said.revision}", sample_id=said.sample_id
                )
    return {sample_id: list(rows.values()) for sample_id, rows in known.items()}


def _checked(sample: Sample, history: Sequence[Annotation], settings: MergeSettings) -> Opinion | None:
    """`opinion_of`, for masks that are of the image's size. Raises ShapeMismatch, naming the sample."""
    for said in history:
        for item in said.instances:
            if item.mask is not None and item.mask.size_hw != sample.size_hw:
                raise ShapeMismatch(
                    f"the mask of instance {item.id} is {item.mask.size_hw}, the image is {sample.size_hw}",
                    sample_id=sample.id,
                )
    return opinion_of(history, settings) if history else None


@dataclass(frozen=True)
class _Work:
    """What an entry is made with."""

    masks_for_boxes: MasksForBoxes
    masks_by: str
    round_trip: Callable[[Mask], float] | None

    def entry(self, sample: Sample, said: Opinion) -> DatasetEntry:
        instances = sorted((self._masked(sample, item) for item in said.present), key=lambda item: item.id)
        masks = {item.id: item.mask for item in instances if item.mask is not None}
        measure = self.round_trip
        return DatasetEntry(
            sample_id=sample.id,
            size_hw=sample.size_hw,
            split=sample.split,
            group=sample.group,
            revision=said.revision,
            instances=tuple(instances),
            agreement=said.agreement,
            round_trip={key: measure(mask) for key, mask in masks.items()} if measure is not None else {},
        )

    def _masked(self, sample: Sample, item: Instance) -> Instance:
        mask = item.mask if item.mask is not None else self.masks_for_boxes(sample.id, item.id)
        if mask is None or mask.area_px == 0:
            raise DataError(
                f"instance {item.id} ({item.label}) has no mask: its box alone cannot teach a segmenter; "
                "draw the mask, reject the instance, or let another segmenter try",
                sample_id=sample.id,
            )
        if item.mask is not None:
            return item
        if mask.size_hw != sample.size_hw:
            raise ShapeMismatch(
                f"the mask made for instance {item.id} is {mask.size_hw}, the image is {sample.size_hw}",
                sample_id=sample.id,
            )
        return replace(item, mask=mask, origin=Origin(item.origin.kind, f"{item.origin.name} + {self.masks_by}"))


def _agreement(opinions: Iterable[Opinion]) -> dict[str, tuple[float, int]]:
    """Author -> mean agreement with the others, and over how many images."""
    found: dict[str, list[float]] = defaultdict(list)
    for said in opinions:
        for author, value in said.by_author.items():
            found[author].append(value)
    return {author: (sum(values) / len(values), len(values)) for author, values in sorted(found.items())}


def _disputed(opinions: Mapping[str, Opinion], floor: float) -> dict[str, float]:
    """The samples on which people agree too little, with how much that is."""
    return {
        sample_id: said.agreement
        for sample_id, said in opinions.items()
        if said.agreement is not None and said.agreement < floor and not said.settled
    }
