"""Review: what a reviewer is shown of a workspace, and what becomes of the verdicts.

Looking needs no lock. Taking the verdicts back writes to the ledger, each decision in a transaction of its own and
after what follows from it, so that a second pull finishes what a crash has cut short; a verdict that is known already
changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Protocol, runtime_checkable

from pipeline.config import Config
from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.domain.rounds import Evidence, Uncertainty
from pipeline.errors import ConfigError
from pipeline.ports import Reviewer, ReviewRow, Verdict
from pipeline.shelf import Shelf, machine_instances
from pipeline.stages.merge import Opinion, opinion_of
from pipeline.stages.review import FIX, HOLD_OUT, Reviewed, review
from pipeline.store.atomic import atomic_write
from pipeline.store.decisions import Request
from pipeline.store.ledger import Ledger
from pipeline.store.workspace import Workspace

__all__ = ["Decision", "Desk", "Shows", "Subject", "rows", "subject_of", "take"]


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
class _Opened:
    """What was opened last, and when."""

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
        self._last = self.folder / "last.json"

    def open(self, *, round_: int | None = None, version: str | None = None) -> tuple[Reviewer, int]:
        """Give the reviewer its rows; the reviewer, and how many images there are. Raises ConfigError for a round or
        version that there is not, and what the reviewer raises."""
        subject = subject_of(self._workspace, round_=round_, version=version)
        reviewer, opened = self._build(subject.name), self._workspace.now()
        count = 0

        def counted() -> Iterator[ReviewRow]:
            nonlocal count
            for row in rows(self._config, self._workspace, self._shelf, subject):
                count += 1
                yield row

        reviewer.open(counted())
        last = {"subject": asdict(subject), "at": opened.isoformat()}
        atomic_write(self._last, json.dumps(last).encode())
        return reviewer, count

    def pull(self, *, round_: int | None = None, version: str | None = None) -> list[Decision]:
        """Take back the verdicts of the review that was opened last, or of the one named; twice is as good as once.

        Raises ConfigError if nothing was opened, WorkspaceLocked while somebody else writes.
        """
        last = self._opened()
        if round_ is not None or version is not None:
            subject = subject_of(self._workspace, round_=round_, version=version)
        elif last is not None:
            subject = last.subject
        else:
            raise ConfigError("nothing was opened for review yet: leave --pull away first", key="--pull")
        opened = last.at if last is not None and last.subject.name == subject.name else None
        verdicts = list(self._build(subject.name).verdicts())
        about = {verdict.sample_id for verdict in verdicts}
        found = rows(self._config, self._workspace, self._shelf, subject) if about else ()
        shown = {row.sample.id: row for row in found if row.sample.id in about}
        with self._workspace.write_lock():
            return take(self._config, self._workspace, verdicts, shown, opened=opened)

    def _opened(self) -> _Opened | None:
        try:
            last = json.loads(self._last.read_bytes())
        except FileNotFoundError:
            return None
        return _Opened(Subject(**last["subject"]), datetime.fromisoformat(last["at"]))


@dataclass(frozen=True)
class Decision:
    """What became of one verdict: "new", "known", or "ignored", and then why."""

    verdict: Verdict
    state: str
    why: str = ""


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
    sent_back = _sent_back(ledger)
    samples.sort(key=lambda sample: sample.id)
    for sample, history in _with_histories(ledger, samples, subject.until):
        said = opinion_of(history, config.merge) if history else None
        entry = entries.get(sample.id)
        yield ReviewRow(
            sample=sample,
            machine=found.machine(sample.id, history),
            merged=_merged(said, entry if subject.version is not None else None),
            truth=ledger.samples.truth(sample.id),
            uncertainty=found.scores.get(sample.id),
            round=asked.get(sample.id),
            agreement=said.agreement if said is not None else None,
            round_trip=entry.round_trip if entry is not None else {},
            quarantined=quarantined.get(sample.path, ""),
            fixed=_fixed(sent_back.get(sample.id, {}), history),
        )


def take(
    config: Config,
    workspace: Workspace,
    verdicts: Sequence[Verdict],
    shown: Mapping[str, ReviewRow],
    *,
    opened: datetime | None = None,
) -> list[Decision]:
    """Write verdicts into the ledger; `shown` is what the reviewer saw, by sample id, since `opened`. The caller holds
    the lock.
    """
    pull = _Pull(workspace.ledger, len(workspace.ledger.rounds.all()) + 1, workspace.now(), opened)
    outcome = review(verdicts, shown.get, config.project.classes, round=pull.round, now=pull.now)
    decisions = [Decision(verdict, "ignored", why) for verdict, why in outcome.ignored]
    for reviewed in outcome.reviewed:
        decisions += pull.take(reviewed, shown[reviewed.sample_id])
    return sorted(decisions, key=lambda row: (row.verdict.sample_id, row.verdict.instance_id or ""))


@dataclass(frozen=True)
class _Pull:
    """Writes down what was decided in a review that began at `opened`, if that is known."""

    ledger: Ledger
    round: int
    now: datetime
    opened: datetime | None

    def take(self, reviewed: Reviewed, row: ReviewRow) -> list[Decision]:
        """One author's word on one image: what follows from it first, the decisions last."""
        said = self._said(reviewed)
        known = {about: word for about, word in said.items() if word != FIX or not self._is_done(about[0], row)}
        fresh = [verdict for verdict in reviewed.verdicts if known.get(_about(verdict)) != verdict.decision]
        if any(verdict.decision not in {FIX, HOLD_OUT} for verdict in fresh) and reviewed.annotation is not None:
            self.ledger.annotations.append_shown(_by_machines(row, self.now))
            self.ledger.annotations.append(reviewed.annotation)
        if any(verdict.decision == FIX for verdict in fresh):
            key = f"{FIX}/{reviewed.sample_id}/{self.round}/{reviewed.author}"
            self.ledger.requests.open(Request(key, reviewed.sample_id, "fix", reviewed.author, self.now))
        if reviewed.held_out and any(verdict.instance_id is None for verdict in fresh):
            # The last word on an image as a whole says whether it is held out.
            fresh = [verdict for verdict in fresh if verdict.decision != HOLD_OUT]
            fresh += [verdict for verdict in reviewed.verdicts if verdict.decision == HOLD_OUT]
        for verdict in fresh:
            word = replace(verdict, at=verdict.at or self.now)
            self.ledger.decisions.add(word, self.round, again=verdict.decision == FIX)
        return [
            Decision(verdict, "known" if known.get(_about(verdict)) == verdict.decision else "new")
            for verdict in reviewed.verdicts
        ]

    def _said(self, reviewed: Reviewed) -> dict[tuple[str, str], str]:
        """What this author decided last about each object, in each respect."""
        rows = (row.verdict for row in self.ledger.decisions.all(reviewed.sample_id))
        return {_about(verdict): verdict.decision for verdict in rows if verdict.author == reviewed.author}

    def _is_done(self, about: str, row: ReviewRow) -> bool:
        """Whether people had answered a "fix" when the reviewer looked: then the next one is another."""
        return self.opened is not None and about in row.fixed and row.fixed[about] < self.opened


def _by_machines(row: ReviewRow, now: datetime) -> Iterator[Annotation]:
    """What models say of an image of which nobody else has spoken, for the record: an object that was shown, and that
    nobody judges, must not become background."""
    if row.machine and all(item.origin.kind is OriginKind.MODEL for item in row.merged):
        made = row.machine[0].origin
        origin = Origin(OriginKind.MODEL, made.name)
        yield Annotation(row.sample.id, 0, row.machine, origin, made.round or 0, now, size_hw=row.sample.size_hw)


def _about(verdict: Verdict) -> tuple[str, str]:
    """What a verdict speaks of, and in which respect: a newer one in the same respect takes its place."""
    respect = verdict.decision if verdict.decision in {FIX, HOLD_OUT} else "judgement"
    return verdict.instance_id or "", respect


def _sent_back(ledger: Ledger) -> dict[str, dict[str, datetime]]:
    """When each object ("" for a whole image) was sent back last, by sample id; without the images that people are yet
    to be shown again."""
    waiting, found = set(ledger.requests.waiting()), dict[str, dict[str, datetime]]()
    for row in ledger.decisions.all():
        word = row.verdict
        if word.decision == FIX and word.at is not None and word.sample_id not in waiting:
            found.setdefault(word.sample_id, {})[word.instance_id or ""] = word.at
    return found


def _fixed(sent_back: Mapping[str, datetime], history: Sequence[Annotation]) -> dict[str, datetime]:
    """When people answered, of those that were sent back before."""
    answers = (said for said in history if said.origin.kind is OriginKind.HUMAN and not said.partial)
    newest = max((said.created_at for said in answers if not said.withdrawn), default=None)
    return {key: newest for key, at in sent_back.items() if newest is not None and newest > at}


def _entries(workspace: Workspace, subject: Subject) -> dict[str, DatasetEntry]:
    """Those of the version, or of the newest one up to then."""
    made = workspace.ledger.versions.by_round()
    newest = max((number for number in made if number <= subject.until), default=None)
    name = subject.version or (made[newest].id if newest is not None else None)
    entries = parse_manifest(workspace.blobs.read(name))[1] if name is not None else []
    return {entry.sample_id: entry for entry in entries}


def _with_histories(
    ledger: Ledger, samples: Sequence[Sample], until: int
) -> Iterator[tuple[Sample, list[Annotation]]]:
    """Each sample, in order of their ids, with what was said of it up to a round; the ledger is read once."""
    histories = groupby(ledger.annotations.history(), key=lambda said: said.sample_id)
    key, found = next(histories, ("", iter(())))
    for sample in samples:
        while key and key < sample.id:
            key, found = next(histories, ("", iter(())))
        yield sample, [said for said in found if said.round <= until] if key == sample.id else []


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
