"""Review: what a reviewer is shown of a workspace. Looking needs no lock; taking the verdicts back does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol, runtime_checkable

from pipeline.config import Config
from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.domain.rounds import Evidence, Uncertainty
from pipeline.errors import ConfigError
from pipeline.ports import Reviewer, ReviewRow, Verdict
from pipeline.services.deciding import Decision, fresh, take
from pipeline.shelf import Shelf, machine_instances
from pipeline.stages.merge import Opinion, opinion_of
from pipeline.store.atomic import atomic_write
from pipeline.store.ledger import Ledger
from pipeline.store.workspace import Workspace

__all__ = ["Desk", "Shows", "Subject", "rows", "subject_of"]


@runtime_checkable
class Shows(Protocol):
    """A reviewer that people look at in an App of its own."""

    def show(self, ready: Callable[[str], None]) -> None:
        """Until Ctrl-C; `ready` is told the App's address once it can be looked at."""
        ...


@dataclass(frozen=True)
class Subject:
    """What is reviewed: the images that people were asked about in a round, those of a version, or all there are.

    `until` is the round up to which people's words count, `found` the one whose proposals are shown: what is pulled
    back later speaks of the same objects, whatever has been found since.
    """

    until: int
    found: int
    round: int | None = None
    version: str | None = None

    @property
    def name(self) -> str:
        """In words, "" for everything."""
        if self.round is not None:
            return f"round {self.round}"
        return f"version {self.version[:12]}" if self.version is not None else ""


@dataclass(frozen=True)
class _Sitting:
    """A subject, and when it was opened."""

    subject: Subject
    at: datetime


class Desk:
    """One workspace's reviews. `build` makes the reviewer of a subject, by the subject's name."""

    def __init__(
        self, config: Config, workspace: Workspace, shelf: Shelf, build: Callable[[str], Reviewer]
    ) -> None:
        self._config = config
        self._workspace = workspace
        self._shelf = shelf
        self._build = build
        self.folder = workspace.work(f"reviewers-{config.reviewer.kind}")
        self._path = self.folder / "sittings.json"

    def open(
        self, *, round_: int | None = None, version: str | None = None, discard: bool = False
    ) -> tuple[Reviewer, int]:
        """Give the reviewer its rows; the reviewer, and how many images there are.

        A verdict that stands there always means now: what was decided before is in the rows. So verdicts that were not
        taken back yet must be, or be thrown away with `discard`. Raises ConfigError for those, and for a round or
        version that there is not, and what the reviewer raises.
        """
        subject = subject_of(self._workspace, round_=round_, version=version)
        if not discard:
            self._refuse_to_lose(subject.name)
        reviewer, opened = self._build(subject.name), self._workspace.now()
        count = 0

        def counted() -> Iterator[ReviewRow]:
            nonlocal count
            for row in rows(self._config, self._workspace, self._shelf, subject):
                count += 1
                yield row

        reviewer.open(counted())
        others = [one for one in self._sittings() if one.subject.name != subject.name]
        plain = [asdict(one) | {"at": one.at.isoformat()} for one in (*others, _Sitting(subject, opened))]
        atomic_write(self._path, json.dumps(plain).encode())
        return reviewer, count

    def pull(self, *, round_: int | None = None, version: str | None = None) -> list[Decision]:
        """Take back the verdicts of the review that was opened last, or of the one named; twice is as good as once.

        Raises ConfigError if it was never opened, WorkspaceLocked while somebody else writes.
        """
        wanted = None
        if round_ is not None or version is not None:
            wanted = subject_of(self._workspace, round_=round_, version=version).name
        sitting = next((one for one in reversed(self._sittings()) if wanted in {None, one.subject.name}), None)
        if sitting is None:
            told = f"{wanted} was not opened" if wanted else "nothing was opened"
            raise ConfigError(f"{told} for review yet: leave --pull away first", key="--pull")
        verdicts, shown = self._said(sitting)
        with self._workspace.write_lock():
            return take(self._config, self._workspace, verdicts, shown, since=sitting.at)

    def _refuse_to_lose(self, name: str) -> None:
        """A reviewer keeps one table for all, or one for each subject: what was decided last, and what last of this
        one."""
        sittings = self._sittings()
        for sitting in (*sittings[-1:], *(one for one in sittings[:-1] if one.subject.name == name)):
            left = fresh(self._config, self._workspace, *self._said(sitting), since=sitting.at)
            if left:
                what = f"of {sitting.subject.name} " if sitting.subject.name else ""
                raise ConfigError(
                    f"{len(left)} verdicts {what}were not taken back yet: `--pull` does that, `--discard` throws them "
                    "away",
                    key="review",
                )

    def _said(self, sitting: _Sitting) -> tuple[list[Verdict], dict[str, ReviewRow]]:
        """The verdicts, and what was shown of the samples that they speak of."""
        verdicts = list(self._build(sitting.subject.name).verdicts())
        about = {verdict.sample_id for verdict in verdicts}
        found = rows(self._config, self._workspace, self._shelf, sitting.subject) if about else ()
        return verdicts, {row.sample.id: row for row in found if row.sample.id in about}

    def _sittings(self) -> list[_Sitting]:
        """Each subject that was opened, once, with its newest time; the last one last."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return []
        return [_Sitting(Subject(**row["subject"]), datetime.fromisoformat(row["at"])) for row in found]


def subject_of(workspace: Workspace, *, round_: int | None = None, version: str | None = None) -> Subject:
    """The subject that these words mean; `version` is (the start of) an id. Raises ConfigError for unknown ones."""
    ledger = workspace.ledger
    current = len(ledger.rounds.all()) + 1
    if round_ is not None:
        if not ledger.tasks.of(round_):
            raise ConfigError(f"nobody was asked anything in round {round_}; this is {current}", key="--round")
        return Subject(round_, _searched(ledger, round_), round=round_)
    if version is None:
        return Subject(current, _searched(ledger, current))
    made = {row.id: number for number, row in sorted(ledger.versions.by_round().items())}
    found = [name for name in made if version and name.startswith(version)]
    if len(found) != 1:
        known = ", ".join(name[:12] for name in made) or "none"
        raise ConfigError(
            f"{len(found)} dataset versions start with {version!r} (known: {known})", key="--version"
        )
    until = made[found[0]]
    return Subject(until, _searched(ledger, until), version=found[0])


def _searched(ledger: Ledger, until: int) -> int:
    """The newest round, up to this one, that looked at the pool; 0 if none has."""
    marks = ledger.rounds.marks()
    searched = (key for key, stages in marks.items() if "fingerprint" in stages.get("segment", {}))
    return max((number for number in searched if number <= until), default=0)


def rows(config: Config, workspace: Workspace, shelf: Shelf, subject: Subject) -> Iterator[ReviewRow]:
    """One row for each image of the subject, by sample id."""
    ledger = workspace.ledger
    entries = _entries(workspace, subject)
    if subject.round is not None:
        samples = list(ledger.samples.some(list(ledger.tasks.of(subject.round))).values())
    elif subject.version is not None:
        samples = list(ledger.samples.some(list(entries)).values())
    else:
        samples = ledger.samples.all()
    found = _Found.by(workspace, shelf, subject.found, [sample.id for sample in samples])
    asked = {key: number for number in range(1, subject.until + 1) for key in ledger.tasks.of(number)}
    quarantined = {item.path: item.reason for item in ledger.samples.quarantined()}
    held_out = ledger.decisions.held_out()
    samples.sort(key=lambda sample: sample.id)
    for sample, told in _with_histories(ledger, samples):
        history = [said for said in told if said.round <= subject.until]
        said = opinion_of(history, config.merge) if history else None
        entry = entries.get(sample.id)
        machine = found.machine(sample.id, history)
        merged = _merged(said, entry if subject.version is not None else None)
        more = any(said.round > subject.until and said.origin.kind is not OriginKind.MODEL for said in told)
        yield ReviewRow(
            sample=sample,
            machine=machine,
            merged=merged,
            truth=ledger.samples.truth(sample.id),
            uncertainty=found.scores.get(sample.id),
            round=asked.get(sample.id),
            agreement=said.agreement if said is not None else None,
            round_trip=entry.round_trip if entry is not None else {},
            quarantined=quarantined.get(sample.path, ""),
            held_out_by=held_out.get(sample.id, ()),
            changed=_changed(opinion_of(told, config.merge), (*machine, *merged)) if more else frozenset(),
        )


def _changed(now: Opinion | None, shown: Sequence[Instance]) -> frozenset[str]:
    """The objects that are no longer as they were."""
    if now is None:
        return frozenset()
    found = {item.id: (item.label, item.mask, item.state is State.REJECTED) for item in now.instances}
    return frozenset(
        item.id for item in shown if found.get(item.id) != (item.label, item.mask, item.state is State.REJECTED)
    )


def _entries(workspace: Workspace, subject: Subject) -> dict[str, DatasetEntry]:
    """Those of the version, or of the newest one up to then."""
    made = workspace.ledger.versions.by_round()
    newest = max((number for number in made if number <= subject.until), default=None)
    name = subject.version or (made[newest].id if newest is not None else None)
    entries = parse_manifest(workspace.blobs.read(name))[1] if name is not None else []
    return {entry.sample_id: entry for entry in entries}


def _with_histories(ledger: Ledger, samples: Sequence[Sample]) -> Iterator[tuple[Sample, list[Annotation]]]:
    """Each sample, in order of their ids, with all that was said of it; the ledger is read once."""
    histories = groupby(ledger.annotations.history(), key=lambda said: said.sample_id)
    key, found = next(histories, ("", iter(())))
    for sample in samples:
        while key and key < sample.id:
            key, found = next(histories, ("", iter(())))
        yield sample, list(found) if key == sample.id else []


def _merged(said: Opinion | None, entry: DatasetEntry | None) -> tuple[Instance, ...]:
    """What is said to be there, and what was thrown out; of a version, exactly what it holds."""
    instances = said.instances if said is not None else ()
    if entry is None:
        return instances
    rejected = [item for item in instances if item.state is State.REJECTED]
    held = {item.id for item in entry.instances}
    return (*entry.instances, *(item for item in rejected if item.id not in held))


@dataclass(frozen=True)
class _Found:
    """What a round found in the pool: objects, whether people were shown them or not, and doubts."""

    evidence: Mapping[str, Evidence]
    scores: Mapping[str, Uncertainty]
    round: int
    origin: Origin

    @staticmethod
    def by(workspace: Workspace, shelf: Shelf, number: int, ids: Sequence[str]) -> _Found:
        if not number:
            return _Found({}, {}, number, Origin(OriginKind.MODEL, ""))
        stages = workspace.ledger.rounds.marks()[number]
        proposed, segmented, scored = (stages.get(stage, {}) for stage in ("propose", "segment", "score"))
        evidence = shelf.evidence(proposed["fingerprint"], segmented["fingerprint"], ids)
        scores = shelf.scores(scored["fingerprint"], ids) if "fingerprint" in scored else {}
        made_by = f"{proposed['champion'] or 'start'} + {segmented.get('segmenter', 'segmenter')}"
        return _Found({row.sample_id: row for row in evidence}, scores, number, Origin(OriginKind.MODEL, made_by))

    def machine(self, sample_id: str, history: Sequence[Annotation]) -> tuple[Instance, ...]:
        """What people were shown last; else what was found since."""
        shown = [said for said in history if said.origin.kind is OriginKind.MODEL and said.round <= self.round]
        if shown:
            return shown[-1].instances
        found = self.evidence.get(sample_id)
        return machine_instances(found, self.round, self.origin) if found is not None else ()
