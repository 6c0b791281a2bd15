"""What people are asked: the images of a round's selection, and those that somebody wants to have looked at again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.domain.rounds import Evidence, Uncertainty
from pipeline.ports import TaskItem
from pipeline.shelf import machine_instances
from pipeline.stages.merge import Merged, MergeSettings, opinion_of
from pipeline.store.decisions import Request
from pipeline.store.ledger import Ledger

__all__ = ["Machine", "disputes", "items_of", "waiting"]

DISAGREEMENT = "disagreement"
_ANY_STATE = MergeSettings(states=tuple(state for state in State if state is not State.REJECTED))
"""People are shown what models say too."""


def waiting(ledger: Ledger) -> list[str]:
    """The train images that are to be asked about again, the longest waiting first."""
    ids = ledger.requests.waiting()
    samples = ledger.samples.some(ids)
    return [key for key in ids if samples[key].split == "train"]


@dataclass(frozen=True)
class Machine:
    """What the models of a round, `origin`, found in the pool, and how doubtful it is; both by sample id."""

    round: int
    origin: Origin
    evidence: Mapping[str, Evidence]
    scores: Mapping[str, Uncertainty]


def items_of(
    ledger: Ledger, ids: Sequence[str], again: Collection[str], machine: Machine, now: datetime
) -> tuple[list[TaskItem], list[Annotation]]:
    """Images as people will see them in the machine's round, and what it says of them, for the record.

    People see what was said of an image so far, and beneath it what the machine finds there where nobody has spoken.
    Of images that are asked about `again` the reason why is all the doubt there is.
    """
    samples, reasons = ledger.samples.some(ids), ledger.requests.reasons(list(again))
    made, record = [], []
    for key in ids:
        history = list(ledger.annotations.history(key))
        if key in machine.evidence and not any(_is_whole(said) for said in history):
            record.append(_found(samples[key], machine, now))
            history.append(record[-1])
        instances = _said_so_far(history)
        doubt = Uncertainty(key, 1.0, {reasons[key]: 1.0}, len(instances)) if key in again else machine.scores[key]
        made.append(TaskItem(samples[key], instances, doubt, machine.round))
    return made, record


def _is_whole(said: Annotation) -> bool:
    """A word of a person or a label file on the whole image that stands."""
    return said.origin.kind is not OriginKind.MODEL and not said.withdrawn and not said.partial


def _found(sample: Sample, machine: Machine, now: datetime) -> Annotation:
    """A model's word is never a person's."""
    instances = machine_instances(machine.evidence[sample.id], machine.round, machine.origin)
    return Annotation(sample.id, 0, instances, machine.origin, machine.round, now, size_hw=sample.size_hw)


def _said_so_far(history: Sequence[Annotation]) -> tuple[Instance, ...]:
    said = opinion_of(history, _ANY_STATE)
    return tuple(item for item in said.present if item.mask is not None) if said is not None else ()


def _is_answer(said: Annotation) -> bool:
    """A person's word on the whole image that stands."""
    return said.origin.kind is OriginKind.HUMAN and not said.withdrawn and not said.partial


def disputes(ledger: Ledger, merged: Merged, now: datetime) -> list[Request]:
    """A request for every image about which people do not agree; the same answers are disputed once."""
    requests = []
    histories = groupby(ledger.annotations.history(None), key=lambda row: row.sample_id) if merged.disputed else ()
    for sample_id, history in histories:
        if sample_id in merged.disputed:
            people = [said for said in history if _is_answer(said)]
            heard = max(said.revision for said in people)
            authors = " + ".join(sorted({said.origin.name for said in people}))
            key = f"{DISAGREEMENT}/{sample_id}/{heard}"
            requests.append(Request(key, sample_id, "disagreement", authors, now))
    return requests
