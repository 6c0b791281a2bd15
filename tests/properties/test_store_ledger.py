"""The ledger against a model of dictionaries: telling it something twice, in any order, changes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.domain.ingested import IngestedSample
from pipeline.domain.records import Annotation, Instance, OriginKind, Sample, Split, State
from pipeline.store.ledger import Ledger
from tests.fakes.store import NOON, annotation, ingested, instance

NUMBERS = st.integers(0, 5)
SPLITS: st.SearchStrategy[Split] = st.sampled_from(["train", "val", "test"])
STATES = st.sampled_from([State.ACCEPTED, State.EDITED, State.DRAWN, State.REJECTED])


@st.composite
def instances(draw: st.DrawFn) -> tuple[Instance, ...]:
    names = draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True))
    return tuple(instance(name, draw(STATES), clicks=draw(st.integers(0, 4))) for name in names)


class LedgerAsDictionaries(RuleBasedStateMachine):
    """Adds, repeats, appends, forgets the connection; the model says what must be found afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name)
        self.ledger = self.opened()
        self.samples: dict[str, Sample] = {}
        self.sources: dict[str, tuple[str, tuple[int, int]]] = {}
        self.said: dict[str, list[Annotation]] = {}
        self.cursor: str | None = None

    def opened(self) -> Ledger:
        ledger = Ledger(self.root / "ledger.sqlite", root=self.root, now=lambda: NOON)
        ledger.join_fence()
        return ledger

    def teardown(self) -> None:
        self.ledger.close()
        self._folder.cleanup()

    @rule(
        rows=st.lists(
            st.tuples(NUMBERS, SPLITS, st.none() | instances(), st.sampled_from(["/images", "/copies"])),
            max_size=4,
        ),
        times=st.integers(1, 2),
    )
    def add(self, rows: list[tuple[int, Split, tuple[Instance, ...] | None, str]], times: int) -> None:
        items = [ingested(number, split, labels, folder=Path(folder)) for number, split, labels, folder in rows]
        for _ in range(times):
            self.ledger.samples.add(items)
        for item in items:
            self.expect(item)

    def expect(self, item: IngestedSample) -> None:
        key = item.sample.id
        self.sources[str(item.source)] = (key, item.source_stamp)
        if key in self.samples:
            return
        self.samples[key] = item.sample
        if item.labels is not None:
            name = item.labels[0].origin.name if item.labels else item.source.parent.name
            imported = annotation(0, *item.labels, round_=0, seconds=0.0)
            origin = replace(imported.origin, kind=OriginKind.IMPORTED, name=name)
            self.said[key] = [replace(imported, sample_id=key, revision=1, origin=origin)]

    @precondition(lambda self: self.samples)
    @rule(data=st.data(), what=instances(), round_=st.integers(1, 3), times=st.integers(1, 3))
    def append(self, data: st.DataObject, what: tuple[Instance, ...], round_: int, times: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.samples)))
        told = replace(annotation(0, *what, round_=round_), sample_id=key)
        history = self.said.setdefault(key, [])
        newest = history[-1] if history else None
        if newest is None or replace(newest, revision=0) != told:
            history.append(replace(told, revision=len(history) + 1))
        self.cursor = f"{key}/{len(history)}"
        for _ in range(times):
            stored = self.ledger.annotations.append(told, cursor=("collect/x", self.cursor))
            assert stored == history[-1]

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = self.opened()

    @invariant()
    def samples_are_those_that_came_first(self) -> None:
        assert self.ledger.samples.all() == [self.samples[key] for key in sorted(self.samples)]
        assert self.ledger.samples.sources() == self.sources
        assert self.ledger.samples.count() == len(self.samples)

    @invariant()
    def every_revision_is_there_in_order(self) -> None:
        history = [row for key in sorted(self.said) for row in self.said[key]]
        assert list(self.ledger.annotations.history()) == history
        newest = [self.said[key][-1] for key in sorted(self.said)]
        assert list(self.ledger.annotations.latest()) == newest
        some = [row.sample_id for row in newest[::2]]
        assert [row.sample_id for row in self.ledger.annotations.latest(some[::-1])] == some
        assert self.ledger.pointers.get("collect/x") == self.cursor

    @invariant()
    def totals_are_sums_over_what_people_said(self) -> None:
        for until in (0, 1, 3):
            human = [
                [row for row in rows if row.origin.kind is OriginKind.HUMAN and row.round <= until]
                for rows in self.said.values()
            ]
            newest = [rows[-1] for rows in human if rows]
            everything = [row for rows in human for row in rows]
            expected = (
                len(newest),
                sum(len(row.present) for row in newest),
                sum(row.clicks for row in everything),
                sum(row.seconds for row in everything),
            )
            assert self.ledger.annotations.totals(until) == expected


TestLedger = LedgerAsDictionaries.TestCase
TestLedger.settings = settings(
    max_examples=20, stateful_step_count=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
