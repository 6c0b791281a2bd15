"""The life of one image, oldest first: found, proposed, asked about, answered, judged, learnt from.

Stages happen in rounds and leave no time of their own; what people do carries a time. So events are ordered by
round, within a round by stage, and people's by time. An answer that came late stands in the round whose dataset
version was the first to hear it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, OriginKind, Sample
from pipeline.domain.rounds import STAGES
from pipeline.errors import ConfigError
from pipeline.store.workspace import Workspace

__all__ = ["Event", "Life", "find_sample", "life_of"]

_PEOPLE = ("collect", "import", "withdraw", "review", "request")
_FIRST = datetime.min.replace(tzinfo=UTC)
_SHOWN = 5
"""So many images are named where a word means several."""


@dataclass(frozen=True)
class Event:
    """One thing that happened to an image: `what` is a stage, or one of "import", "withdraw", "review", "request" and
    "quarantine".

    `round` is 0 before the first. `facts`, and each of `objects`, are plain JSON values.
    """

    what: str
    round: int
    by: str = ""
    at: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[Mapping[str, Any], ...] = ()

    def row(self) -> dict[str, Any]:
        """Plain JSON values."""
        at = self.at.isoformat() if self.at is not None else None
        return {**vars(self), "at": at, "facts": dict(self.facts), "objects": [dict(row) for row in self.objects]}


@dataclass(frozen=True)
class Life:
    """An image, where it was found, and its events, oldest first."""

    sample: Sample
    sources: tuple[Path, ...]
    events: tuple[Event, ...]


def find_sample(workspace: Workspace, word: str) -> Sample:
    """The image whose id starts with `word`, or that was found under that path, the end of it, or that stem.

    Raises ConfigError, with the paths of the images that it could be, unless there is exactly one.
    """
    samples, named = workspace.ledger.samples, Path(word)
    sources = {Path(path): sample_id for path, (sample_id, _) in samples.sources().items()}
    ways: tuple[Callable[[Path], bool], ...] = (
        lambda path: path == named.absolute(),
        lambda path: word == path.stem or path.parts[-len(named.parts) :] == named.parts,
    )
    for fits in ways if word else ():
        if found := {path: sample_id for path, sample_id in sources.items() if fits(path)}:
            break
    else:
        known = samples.all() if word else []
        found = {one.path: one.id for one in known if one.id.startswith(word.lower())}
    ids = set(found.values())
    if len(ids) == 1:
        return samples.get(ids.pop())
    raise ConfigError(_told(word, {sample_id: path for path, sample_id in found.items()}), key="SAMPLE")


def _told(word: str, found: Mapping[str, Path]) -> str:
    """That no image is meant, or several are: these."""
    if not found:
        return f"no images are called {word!r}: give the file name, or the start of the id"
    shown = sorted((str(path), sample_id) for sample_id, path in found.items())[:_SHOWN]
    lines = [f"  {sample_id[:16]}  {path}" for path, sample_id in shown]
    more = ["  …"] if len(found) > len(lines) else []
    return "\n".join(
        [f"{len(found)} images are called {word!r}: give more of the path, or of the id", *lines, *more]
    )


def life_of(workspace: Workspace, sample: Sample) -> Life:
    """All that the workspace knows of one image. Raises LedgerCorrupt where a shard or a manifest is damaged."""
    return _Reader(workspace, sample).life()


class _Reader:
    def __init__(self, workspace: Workspace, sample: Sample) -> None:
        self._workspace = workspace
        self._ledger = workspace.ledger
        self._sample = sample
        self._said = list(self._ledger.annotations.history(sample.id))
        self._marks = self._ledger.rounds.marks()
        self._entries = dict(self._heard())

    def _heard(self) -> Iterator[tuple[int, DatasetEntry | None]]:
        """By round, the image's entry in the version that was made, or None."""
        for number, marks in self._marks.items():
            if "merge" in marks:
                data = self._workspace.blobs.read(str(marks["merge"]["version"]))
                yield number, _entry_of(data, self._sample.id)

    def life(self) -> Life:
        sources = tuple(self._ledger.lives.sources(self._sample.id))
        events = [Event("ingest", 0, str(path)) for path in sources or (self._sample.path,)]
        events += [*self._by_machines(), *self._by_people(), *self._in_datasets()]
        events.sort(key=_order)
        reason = self._ledger.lives.set_aside(self._sample.id)
        if reason is not None:
            events.append(Event("quarantine", max(self._marks, default=0), facts={"reason": reason}))
        return Life(self._sample, sources, tuple(events))

    def _by_machines(self) -> Iterator[Event]:
        products, told = self._ledger.lives.products(self._sample.id), set()
        for number, marks in self._marks.items():
            for stage in ("propose", "segment", "score"):
                key = stage, str(marks.get(stage, {}).get("fingerprint"))
                # A product is made once, and serves every round that would make the same.
                if key in products and key not in told:
                    told.add(key)
                    yield self._product(stage, number, products[key])
            if "select" in marks:
                yield from self._selected(number)

    def _product(self, stage: str, number: int, shard: str) -> Event:
        wanted, shards, facts = {self._sample.id}, self._workspace.shards, self._marks[number][stage]
        if stage == "propose":
            rows = dict(shards.read_proposals([shard], wanted))[self._sample.id]
            found = tuple({"label": row.label, "confidence": row.confidence} for row in rows)
            return Event(stage, number, str(facts["champion"] or "start"), objects=found)
        if stage == "segment":
            masks = dict(shards.read_predictions([shard], wanted))[self._sample.id]
            seen = tuple({"predicted_iou": row.predicted_iou, "stability": row.stability} for row in masks if row)
            unseen = {"unseen": len(masks) - len(seen)}
            return Event(stage, number, str(facts.get("segmenter", "")), facts=unseen, objects=seen)
        score = dict(shards.read_scores([shard], wanted))[self._sample.id]
        return Event(stage, number, facts={"uncertainty": score.value, "parts": dict(score.parts)})

    def _selected(self, number: int) -> Iterator[Event]:
        chosen = self._ledger.rounds.selection(number)
        if self._sample.id in chosen.ranked:
            rank = chosen.ranked.index(self._sample.id) + 1
            facts = {"rank": rank, "of": self._marks[number]["select"]["candidates"]}
            yield Event("select", number, chosen.strategy, facts=facts)

    def _by_people(self) -> Iterator[Event]:
        ledger, key = self._ledger, self._sample.id
        yield from self._asked()
        for said in self._said:
            if said.origin.kind is not OriginKind.MODEL:
                yield self._answered(said)
        for gone in ledger.lives.withdrawals(key):
            facts: dict[str, Any] = {"revision": gone.revision, "reason": gone.reason}
            yield Event("withdraw", self._round_of(gone.at), gone.author, gone.at, facts)
        for decided in ledger.decisions.all(key):
            verdict = decided.verdict
            facts = {"decision": verdict.decision, "instance": verdict.instance_id}
            yield Event("review", decided.round, verdict.author, verdict.at, facts)
        for request, state in ledger.lives.requests(key):
            facts = {"reason": request.reason, "state": state}
            yield Event("request", self._round_of(request.at), request.author, request.at, facts)

    def _asked(self) -> Iterator[Event]:
        """The tasks, each with what people were shown."""
        shown = {said.round: said for said in self._said if said.origin.kind is OriginKind.MODEL}
        for task in self._ledger.lives.tasks(self._sample.id):
            by = str(self._marks.get(task.round, {}).get("submit", {}).get("annotator", ""))
            objects = _objects(shown[task.round].instances) if task.round in shown else ()
            facts = {"task": task.task_id, "state": task.state}
            yield Event("submit", task.round, by, facts=facts, objects=objects)

    def _answered(self, said: Annotation) -> Event:
        facts = {
            "revision": said.revision,
            "origin": said.origin.kind.value,
            "asked_in": said.round,
            "clicks": said.clicks,
            "seconds": said.seconds,
            "partial": said.partial,
            "withdrawn": said.withdrawn,
        }
        # Labels that came with the image are the first that was said of it.
        late = "collect" if said.origin.kind is OriginKind.HUMAN else "import"
        what = "ingest" if late == "import" and said.revision == 1 else late
        round_ = 0 if what == "ingest" else self._heard_in(said)
        return Event(what, round_, said.origin.name, said.created_at, facts, _objects(said.instances))

    def _heard_in(self, said: Annotation) -> int:
        """The round whose version was the first to hear a revision: it may be later than the one that asked."""
        deaf = [number for number, entry in self._entries.items() if entry and entry.revision < said.revision]
        return max([said.round, *(number + 1 for number in deaf)])

    def _round_of(self, at: datetime) -> int:
        """The round in which people had come when this was said."""
        before = [self._heard_in(said) for said in self._said if said.created_at <= at]
        return max(before, default=0)

    def _in_datasets(self) -> Iterator[Event]:
        was_in = False
        for number, entry in self._entries.items():
            marks = self._marks[number]
            version = str(marks["merge"]["version"])
            if entry is None:
                if was_in:
                    yield Event("merge", number, version, facts={"left_out": True})
                was_in = False
                continue
            was_in = True
            facts = {"split": entry.split, "revision": entry.revision, "agreement": entry.agreement}
            yield Event("merge", number, version, facts=facts, objects=_objects(entry.instances))
            if entry.split == "train" and "train" in marks:
                yield Event("train", number, str(marks["train"]["model"]), facts={"version": version})
            if entry.split != "train" and "evaluate" in marks:
                judged = {name: marks["evaluate"][name] for name in ("champion", "promoted")}
                yield Event("evaluate", number, str(marks["evaluate"]["model"]), facts=judged)


def _entry_of(manifest: bytes, sample_id: str) -> DatasetEntry | None:
    """One entry of a manifest, of which only the lines that name it are parsed."""
    header, *lines = manifest.splitlines(keepends=True)
    named = [line for line in lines if sample_id.encode() in line]
    entries = parse_manifest(b"".join([header, *named]))[1]
    return next((entry for entry in entries if entry.sample_id == sample_id), None)


def _objects(instances: Sequence[Instance]) -> tuple[Mapping[str, Any], ...]:
    return tuple(_object(instance) for instance in instances)


def _object(instance: Instance) -> Mapping[str, Any]:
    before = instance.before
    return {
        "id": instance.id,
        "label": instance.label,
        "state": instance.state.value,
        "clicks": instance.clicks,
        "area_px": instance.mask.area_px if instance.mask is not None else None,
        "origin": instance.origin.kind.value,
        "by": instance.origin.name,
        "prompt": instance.origin.prompt,
        "confidence": instance.confidence,
        "predicted_iou": instance.predicted_iou,
        "before": None
        if before is None
        else {"label": before.label, "by": before.origin.name, "iou": _iou(before.mask, instance.mask)},
    }


def _iou(before: Mask | None, after: Mask | None) -> float | None:
    return None if before is None or after is None else round(before.iou(after), 6)


def _order(event: Event) -> tuple[int, int, datetime, int]:
    of_people = event.what in _PEOPLE
    rank = STAGES.index("collect" if of_people else event.what)
    at = event.at if of_people and event.at is not None else _FIRST
    return event.round, rank, at, event.facts.get("revision", 0)
