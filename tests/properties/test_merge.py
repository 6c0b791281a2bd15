"""Whatever order the revisions arrive in, the version is the same, and it keeps the house's promises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.dataset import manifest_bytes
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.stages.merge import MergeSettings, merge

SIZE = (8, 9)
BOX = Box(1, 1, 5, 6)
MASK = Mask.from_box(BOX, SIZE)
NOON = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("a", "b", "c")
SAMPLES = [Sample(name, Path(name), SIZE, "train", name) for name in NAMES]


@st.composite
def revisions(draw: st.DrawFn) -> list[Annotation]:
    """A ledger's worth of annotations: revisions of a sample are numbered without gaps or doubles."""
    ledger = []
    for name in NAMES:
        for revision in range(1, draw(st.integers(0, 5)) + 1):
            kind = draw(st.sampled_from(OriginKind))
            states = [State.PROPOSED] if kind is OriginKind.MODEL else list(State)
            chosen = draw(st.lists(st.sampled_from(states), max_size=3))
            instances = tuple(
                Instance(f"{name}{revision}{number}", "disc", BOX, MASK, _origin_for(kind, state), state)
                for number, state in enumerate(chosen)
            )
            ledger.append(Annotation(name, revision, instances, Origin(kind, "x"), 0, NOON))
    return ledger


def _origin_for(kind: OriginKind, state: State) -> Origin:
    return Origin(OriginKind.MODEL if state is State.PROPOSED else kind, "x")


SETTINGS = st.sets(st.sampled_from([state for state in State if state is not State.REJECTED]), min_size=1).map(
    lambda states: MergeSettings(states=tuple(sorted(states)))
)


def version(
    annotations: Sequence[Annotation], settings: MergeSettings, samples: Sequence[Sample] = SAMPLES
) -> bytes:
    return manifest_bytes(merge(samples, [annotations], lambda *_: None, settings), ["disc"])


@given(revisions(), SETTINGS, st.data())
def test_order_of_arrival_changes_nothing(
    ledger: list[Annotation], settings: MergeSettings, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(ledger))
    cut = data.draw(st.integers(0, len(ledger)))
    expected = version(ledger, settings)
    assert version(shuffled, settings, SAMPLES[::-1]) == expected
    split = merge(SAMPLES, [shuffled[cut:], shuffled[:cut]], lambda *_: None, settings)
    assert manifest_bytes(split, ["disc"]) == expected


@given(revisions(), SETTINGS)
def test_promises(ledger: list[Annotation], settings: MergeSettings) -> None:
    entries = {entry.sample_id: entry for entry in merge(SAMPLES, [ledger], lambda *_: None, settings)}
    for name in NAMES:
        history = [annotation for annotation in ledger if annotation.sample_id == name]
        people = [annotation for annotation in history if annotation.origin.kind is OriginKind.HUMAN]
        entry = entries.get(name)
        if not history:
            assert entry is None, "unlabelled is not negative"
        if entry is None:
            continue
        assert {instance.state for instance in entry.instances} <= set(settings.states)
        if people:
            assert entry.revision == people[-1].revision, "the newest human word counts"
            assert entry.instances == people[-1].present
        if State.PROPOSED not in settings.states:
            kinds = {annotation.origin.kind for annotation in history if annotation.revision == entry.revision}
            assert OriginKind.MODEL not in kinds
