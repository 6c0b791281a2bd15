"""What each round asked people about, and why: the report's facts about every selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from pipeline.config import Config
from pipeline.domain.records import Annotation, Instance, OriginKind, State
from pipeline.domain.rounds import Selection, Uncertainty
from pipeline.errors import LedgerError
from pipeline.report.pictures import Album, Outline, Picture, colour_of
from pipeline.stages.merge import MergeSettings, opinion_of
from pipeline.store.workspace import Workspace

__all__ = ["Asked", "AskedRound", "asked_rounds"]

PICTURES = 96
"""At most so many images are shown, the newest rounds' first."""
A_ROUND = (4, 12)
POOL_BIN = 0.025
"""The width of a bin of uncertainty."""
_ANY_STATE = MergeSettings(states=tuple(state for state in State if state is not State.REJECTED))
"""People are shown what models say too."""


@dataclass(frozen=True)
class Asked:
    """One image that people were asked about. `rank` counts from 1, and is 0 for an image that a person, not the
    selector, wanted asked: `wanted` says why. `uncertainty` is None where it is not on record.
    """

    rank: int
    name: str
    uncertainty: Uncertainty | None
    wanted: str
    objects: int
    picture: Picture


@dataclass(frozen=True)
class AskedRound:
    """`pool` has, for each bin of uncertainty from 0 to the last that is not empty, how many candidates fell into it,
    and how many of those were chosen. `shown` are some of those, `again` some of the images that were not chosen but
    asked about again; `reasons` counts all of these.
    """

    round: int
    selection: Selection
    candidates: int
    pool: Sequence[tuple[int, int]]
    shown: Sequence[Asked]
    again: Sequence[Asked]
    reasons: Mapping[str, int]


def asked_rounds(config: Config, workspace: Workspace, album: Album, rounds: int) -> list[AskedRound]:
    """The selections of the rounds 1 to `rounds`, newest first; a round that has none yet is left out."""
    selections = []
    for number in range(rounds, 0, -1):
        try:
            selections.append(workspace.ledger.rounds.selection(number))
        except LedgerError:
            continue
    each = min(max(PICTURES // max(len(selections), 1), A_ROUND[0]), A_ROUND[1])
    return [
        _round(config, workspace, album, selection, each if index * each < PICTURES else 0)
        for index, selection in enumerate(selections)
    ]


def _round(config: Config, workspace: Workspace, album: Album, selection: Selection, pictures: int) -> AskedRound:
    scores = _scores(workspace, selection.round)
    chosen = list(selection.ranked)
    extra = sorted(workspace.ledger.tasks.of(selection.round).keys() - set(chosen))
    # Those that were asked about again get half of the room, or what the others leave.
    again = extra[: max(pictures // 2, pictures - len(chosen))]
    ids = chosen[: pictures - len(again)]
    samples, wanted = workspace.ledger.samples.some([*ids, *again]), workspace.ledger.requests.reasons(extra + ids)

    def asked(rank: int, sample_id: str) -> Asked:
        objects = _shown(workspace, sample_id, selection.round)
        picture = album.scene(sample_id, _outlines(objects, config.project.classes))
        found = scores.get(sample_id) if rank else None
        why = "" if found is not None else wanted.get(sample_id, "")
        return Asked(rank, samples[sample_id].path.name, found, why, len(objects), picture)

    return AskedRound(
        round=selection.round,
        selection=selection,
        candidates=len(scores),
        pool=_binned(scores, set(chosen)),
        shown=[asked(rank, sample_id) for rank, sample_id in enumerate(ids, start=1)],
        again=[asked(0, sample_id) for sample_id in again],
        reasons=dict(sorted(Counter(wanted.get(sample_id, "") for sample_id in extra).items())),
    )


def _scores(workspace: Workspace, number: int) -> dict[str, Uncertainty]:
    """How doubtful every candidate of a round was."""
    facts = workspace.ledger.rounds.marked(number, "score") or {}
    if "fingerprint" not in facts:
        return {}
    ids = [sample.id for sample in workspace.ledger.samples.all("train")]
    names = workspace.ledger.products.shards("score", facts["fingerprint"], ids)
    return dict(workspace.shards.read_scores(names, set(ids)))


def _shown(workspace: Workspace, sample_id: str, number: int) -> tuple[Instance, ...]:
    """What the people who were asked about an image in a round saw: all that had been said of it before they spoke."""

    def is_before(said: Annotation) -> bool:
        human = said.origin.kind is OriginKind.HUMAN and not said.partial
        return said.round < number or (said.round == number and not human)

    before = list(takewhile(is_before, workspace.ledger.annotations.history(sample_id)))
    said = opinion_of(before, _ANY_STATE)
    return said.present if said is not None else ()


def _outlines(objects: Sequence[Instance], classes: Sequence[str]) -> list[Outline]:
    numbers = {name: number for number, name in enumerate(classes)}
    return [Outline(item.mask, colour_of(numbers.get(item.label, 0))) for item in objects if item.mask is not None]


def _binned(scores: Mapping[str, Uncertainty], chosen: Collection[str]) -> list[tuple[int, int]]:
    last = round(1 / POOL_BIN) - 1
    where = {sample_id: min(int(row.value / POOL_BIN), last) for sample_id, row in scores.items()}
    every, taken = Counter(where.values()), Counter(where[key] for key in chosen if key in where)
    return [(every[index], taken[index]) for index in range(max(every, default=-1) + 1)]
