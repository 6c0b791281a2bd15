"""What becomes of a reviewer's verdicts in the ledger.

Each decision is written in a transaction of its own and after what follows from it, so that a second pull finishes
what a crash has cut short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.config import Config
from pipeline.domain.records import Annotation, Origin, OriginKind
from pipeline.ports import ReviewRow, Verdict
from pipeline.stages.review import FIX, HOLD_OUT, Outcome, Reviewed, review
from pipeline.store.decisions import Request
from pipeline.store.ledger import Ledger
from pipeline.store.workspace import Workspace

__all__ = ["Decision", "fresh", "take"]


@dataclass(frozen=True)
class Decision:
    """What became of one verdict: "new", "known", or "ignored", and then why."""

    verdict: Verdict
    state: str
    why: str = ""


def take(
    config: Config,
    workspace: Workspace,
    verdicts: Sequence[Verdict],
    shown: Mapping[str, ReviewRow],
    *,
    since: datetime,
) -> list[Decision]:
    """Write verdicts into the ledger; `shown` is what the reviewer sees `since` then, by sample id. The caller holds
    the lock.
    """
    pull = _Pull.of(workspace, since)
    outcome = pull.outcome(config, verdicts, shown)
    decisions = [Decision(verdict, "ignored", why) for verdict, why in outcome.ignored]
    for reviewed in outcome.reviewed:
        pull.write(reviewed, shown[reviewed.sample_id])
        states = ("new" if verdict in reviewed.fresh else "known" for verdict in reviewed.verdicts)
        decisions += map(Decision, reviewed.verdicts, states)
    return sorted(decisions, key=lambda row: (row.verdict.sample_id, row.verdict.instance_id or ""))


def fresh(
    config: Config,
    workspace: Workspace,
    verdicts: Sequence[Verdict],
    shown: Mapping[str, ReviewRow],
    *,
    since: datetime,
) -> list[Verdict]:
    """Those of which `take` would make something."""
    outcome = _Pull.of(workspace, since).outcome(config, verdicts, shown)
    return [verdict for reviewed in outcome.reviewed for verdict in reviewed.fresh]


@dataclass(frozen=True)
class _Pull:
    """Takes back what was decided in a review that is open `since` then. What was decided before counts no more: of
    that the rows tell."""

    ledger: Ledger
    round: int
    now: datetime
    since: datetime

    @staticmethod
    def of(workspace: Workspace, since: datetime) -> _Pull:
        return _Pull(workspace.ledger, len(workspace.ledger.rounds.all()) + 1, workspace.now(), since)

    def outcome(self, config: Config, verdicts: Sequence[Verdict], shown: Mapping[str, ReviewRow]) -> Outcome:
        known = {verdict.sample_id: self._known(verdict.sample_id) for verdict in verdicts}

        def is_known(verdict: Verdict) -> bool:
            about = verdict.author, verdict.instance_id or "", _respect(verdict)
            return known[verdict.sample_id].get(about) == verdict.decision

        classes = config.project.classes
        return review(verdicts, shown.get, classes, round=self.round, now=self.now, is_known=is_known)

    def write(self, reviewed: Reviewed, row: ReviewRow) -> None:
        """One author's word on one image: what follows from it first, the decisions last, so that a pull that was cut
        short is finished by the next."""
        ledger, fresh = self.ledger, list(reviewed.fresh)
        if reviewed.annotation is not None:
            ledger.annotations.append_shown(_by_machines(row, self.now))
            ledger.annotations.append(reviewed.annotation)
        if reviewed.again:
            before = sum(one.verdict.decision == FIX for one in ledger.decisions.all(reviewed.sample_id))
            key = f"{FIX}/{reviewed.sample_id}/{self.round}/{reviewed.author}/{before}"
            ledger.requests.open(Request(key, reviewed.sample_id, "fix", reviewed.author, self.now))
        if reviewed.held_out and any(verdict.instance_id is None for verdict in fresh):
            # The last word on an image as a whole says whether it is held out.
            fresh = [verdict for verdict in fresh if verdict.decision != HOLD_OUT]
            fresh += [verdict for verdict in reviewed.verdicts if verdict.decision == HOLD_OUT]
        for verdict in fresh:
            ledger.decisions.add(replace(verdict, at=verdict.at or self.now), self.round)

    def _known(self, sample_id: str) -> dict[tuple[str, str, str], str]:
        """What each author decided last about each object in each respect: about whether the image is held out ever,
        about all else in this review."""
        found: dict[tuple[str, str, str], str] = {}
        for row in self.ledger.decisions.all(sample_id):
            word = row.verdict
            if word.instance_id is None:
                found[word.author, "", HOLD_OUT] = word.decision
            if word.at is not None and word.at >= self.since and word.decision != HOLD_OUT:
                found[word.author, word.instance_id or "", _respect(word)] = word.decision
        return found


def _respect(verdict: Verdict) -> str:
    """A newer word in the same respect takes the place of an older one."""
    return verdict.decision if verdict.decision in {FIX, HOLD_OUT} else "judgement"


def _by_machines(row: ReviewRow, now: datetime) -> Iterator[Annotation]:
    """What models say of an image of which nobody else has spoken, for the record: an object that was shown, and that
    nobody judges, must not become background."""
    if row.machine and all(item.origin.kind is OriginKind.MODEL for item in row.merged):
        made = row.machine[0].origin
        origin = Origin(OriginKind.MODEL, made.name)
        yield Annotation(row.sample.id, 0, row.machine, origin, made.round or 0, now, size_hw=row.sample.size_hw)
