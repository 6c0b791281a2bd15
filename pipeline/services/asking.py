"""What people are asked.

That is the images of this round's selection, with the machine's instances as a starting point, and those that somebody
wants to have looked at again, with what the dataset says of them so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from pipeline.domain.records import Annotation, Origin, OriginKind
from pipeline.domain.rounds import Evidence, Uncertainty
from pipeline.ports import TaskItem
from pipeline.shelf import machine_instances
from pipeline.stages.merge import Merged, MergeSettings, opinion_of
from pipeline.store.decisions import Request
from pipeline.store.ledger import Ledger

__all__ = ["disputes", "items_again", "machine_items", "shown", "waiting"]

DISAGREEMENT = "disagreement"


def waiting(ledger: Ledger) -> list[str]:
    """The train images that are to be asked about again, the longest waiting first."""
    ids = ledger.requests.waiting()
    samples = ledger.samples.some(ids)
    return [key for key in ids if samples[key].split == "train"]


def machine_items(
    ledger: Ledger, evidence: Iterable[Evidence], scores: Mapping[str, Uncertainty], number: int, origin: Origin
) -> list[TaskItem]:
    """Images of round `number` with what the machine, `origin`, found in them, in the order of the evidence."""
    rows = list(evidence)
    samples = ledger.samples.some([row.sample_id for row in rows])
    return [
        TaskItem(samples[row.sample_id], machine_instances(row, number, origin), scores[row.sample_id], number)
        for row in rows
    ]


def items_again(ledger: Ledger, ids: Sequence[str], number: int, settings: MergeSettings) -> list[TaskItem]:
    """Images with what is said of them now. Why they are asked about is all the doubt there is."""
    samples, reasons = ledger.samples.some(ids), ledger.requests.reasons(ids)
    items = []
    for key in ids:
        said = opinion_of(list(ledger.annotations.history(key)), settings)
        instances = tuple(item for item in said.present if item.mask is not None) if said is not None else ()
        doubt = Uncertainty(key, 1.0, {reasons[key]: 1.0}, len(instances))
        items.append(TaskItem(samples[key], instances, doubt, number))
    return items


def shown(items: Iterable[TaskItem], origin: Origin, now: datetime) -> Iterator[Annotation]:
    """What the machine said of each image, for the record. A model's word is never a person's."""
    for item in items:
        yield Annotation(item.sample.id, 0, item.instances, origin, item.round, now, size_hw=item.sample.size_hw)


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
