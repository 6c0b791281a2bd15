"""Whatever people, models and label files say of images, in whatever order: a prediction never becomes human.

A state machine over a real ledger. What may count as verified is written down here from what the people of the test do,
never from what the house makes of it.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connectors.label_studio.files import read_tasks, write_tasks
from connectors.verdicts import Outline, verdicts
from pipeline.config import load
from pipeline.domain.dataset import DatasetEntry, manifest_bytes
from pipeline.domain.geometry import Box
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.records import HUMAN_VERIFIED, Annotation, Instance, Origin, OriginKind, Sample, State
from pipeline.domain.rounds import Evidence, Finding, Uncertainty
from pipeline.ports import ReviewRow, TaskItem, Verdict
from pipeline.services.asking import Machine, items_of, waiting
from pipeline.services.deciding import take
from pipeline.services.importing import Renaming, find_labels, import_labels
from pipeline.shelf import machine_instances
from pipeline.stages.merge import MergeSettings, merge, opinion_of
from pipeline.store.decisions import Request
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON
from tests.integration.commands import TINY

SIZE = (12, 16)
CONFIG = load(TINY)
LABELS = CONFIG.project.classes[:2]
PLACES = [Box(0, 0, 5, 5), Box(1, 0, 6, 5), Box(7, 0, 12, 6), Box(8, 1, 12, 6), Box(2, 6, 14, 12)]
PEOPLE = ("anna", "bert", "cleo")
EVERYTHING = tuple(state for state in State if state is not State.REJECTED)
MODEL = Origin(OriginKind.MODEL, "start + ellipse")

which = st.integers(0, 1)
places = st.lists(st.integers(0, len(PLACES) - 1), max_size=3, unique=True)
people = st.sampled_from(PEOPLE)
labels = st.sampled_from(LABELS)
merging = st.builds(
    lambda states, method, iou: MergeSettings(states=tuple(sorted(states)), consensus=method, match_iou=iou),
    st.sets(st.sampled_from(EVERYTHING), min_size=1),
    st.sampled_from(["majority", "staple"]),
    st.sampled_from([0.3, 0.5, 0.9, 1.0]),
)
deeds = st.lists(st.sampled_from(["drop", "keep", "edit", "rename", "drop"]), min_size=4, max_size=4)


@dataclass(frozen=True)
class Asked:
    """An open task, and what people see in it."""

    id: str
    round: int
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Word:
    """What somebody did, as the test saw it: the ids that they verified and those that they rejected."""

    author: str
    round: int
    partial: bool
    verified: frozenset[str]
    rejected: frozenset[str]


def mask_at(place: int) -> Mask:
    return Mask.from_box(PLACES[place], SIZE)


class Histories(RuleBasedStateMachine):
    """Two images; `words` is what people did to each, by revision, as far as it stands."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.now = NOON
        self.tasks: dict[str, list[Asked]] = {}
        self.words: dict[str, dict[int, Word]] = {}
        self.before: dict[str, list[Annotation]] = {}
        self.imports: dict[str, set[tuple[str, Mask]]] = {}
        self.machine: dict[str, tuple[Instance, ...]] = {}

    @initialize(where=places.filter(bool))
    def open(self, where: list[int]) -> None:
        self.workspace = Workspace.open(self.folder / "run", now=lambda: self.now)
        self._stack.enter_context(self.workspace.write_lock())
        self.ledger = self.workspace.ledger
        self._stack.callback(self.ledger.close)
        for number in range(2):
            path = self.folder / f"{number}.png"
            path.write_bytes(f"image {number}".encode())
            key = hashlib.sha256(path.read_bytes()).hexdigest()
            stamp = path.stat().st_size, path.stat().st_mtime_ns
            sample = Sample(key, path, SIZE, "train", key)
            self.ledger.samples.add([IngestedSample(sample, path, stamp, None, None)])
        self.samples = self.ledger.samples.all()
        for sample in self.samples:
            self.tasks[sample.id], self.words[sample.id], self.before[sample.id] = [], {}, []
            self.imports[sample.id], self.machine[sample.id] = set(), ()
        for number in range(2):
            self.the_machine_shows(number, where, LABELS[number])

    def teardown(self) -> None:
        self._stack.close()

    def later(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now

    def ask(self, item: TaskItem) -> None:
        tasks = self.tasks[item.sample.id]
        name = f"task-{item.sample.id[:6]}-{item.round}"
        self.ledger.tasks.intend(item.round, [item.sample.id])
        self.ledger.tasks.record(item.round, {item.sample.id: name})
        tasks.append(Asked(name, item.round, item.instances))

    def hear(self, said: Annotation, word: Word) -> None:
        """After a word went to the ledger: the newest revision is it, unless it repeated an earlier one."""
        history = self.history(said.sample_id)
        if len(history) > len(self.before[said.sample_id]):
            self.words[said.sample_id][history[-1].revision] = word

    def history(self, sample_id: str) -> list[Annotation]:
        return list(self.ledger.annotations.history(sample_id))

    # --- what machines do ---------------------------------------------------------------------------------

    @rule(number=which, where=places, label=labels)
    def the_machine_shows(self, number: int, where: list[int], label: str) -> None:
        sample = self.samples[number]
        findings = tuple(
            Finding(Proposal(PLACES[place], label, 0.5), MaskPrediction(mask_at(place), 0.9, 0.9))
            for place in where
        )
        round_ = len(self.tasks[sample.id]) + 1
        found = machine_instances(Evidence(sample.id, SIZE, findings), round_, MODEL)
        self.machine[sample.id] = found
        item = TaskItem(sample, found, Uncertainty(sample.id, 0.5, {}, len(found)), round_)
        said = Annotation(sample.id, 0, found, MODEL, round_, self.later(), size_hw=SIZE)
        self.ledger.annotations.append_shown([said])
        self.ask(item)

    # --- what people do -----------------------------------------------------------------------------------

    @rule(number=which, author=people, does=deeds, where=places, label=labels)
    def a_person_answers(self, number: int, author: str, does: list[str], where: list[int], label: str) -> None:
        self._answer(self.samples[number].id, -1, author, does, where, label)

    @rule(number=which, author=people, does=deeds, where=places, label=labels)
    def a_late_answer_comes(self, number: int, author: str, does: list[str], where: list[int], label: str) -> None:
        self._answer(self.samples[number].id, 0, author, does, where, label)

    @rule(number=which, first=deeds, second=deeds, label=labels)
    def two_people_answer(self, number: int, first: list[str], second: list[str], label: str) -> None:
        self._answer(self.samples[number].id, -1, "anna", first, [], label)
        self.nothing_is_overwritten()
        self._answer(self.samples[number].id, -1, "bert", second, [], label)

    def _answer(
        self, key: str, which_task: int, author: str, does: list[str], where: list[int], label: str
    ) -> None:
        task = self.tasks[key][which_task]
        outlines = [Outline(None, label, mask_at(place), PLACES[place]) for place in where]
        for item, deed in zip(task.instances, does, strict=False):
            if deed == "drop" or item.mask is None:
                continue
            other = next(name for name in LABELS if name != item.label)
            edited = mask_at(4) if deed == "edit" else item.mask
            outlines.append(Outline(item.id, other if deed == "rename" else item.label, edited, item.box))
        origin = Origin(OriginKind.HUMAN, author)
        judged = verdicts(task.instances, outlines, origin, annotator="test", task=task.id)
        given = {(outline.label, outline.mask) for outline in outlines}
        drawn = {item.id for item in judged} - {item.id for item in task.instances}
        same = {item.id for item in task.instances if (item.label, item.mask) in given}
        claimed = {outline.of for outline in outlines if outline.of} | same
        rejected = {item.id for item in task.instances} - claimed
        said = Annotation(key, 0, judged, origin, task.round, self.later(), seconds=1.0, size_hw=SIZE)
        self.ledger.annotations.append(said, task_id=task.id)
        self.hear(said, Word(author, task.round, False, frozenset(claimed | drawn), frozenset(rejected)))

    @rule(
        number=which,
        author=st.sampled_from(["anna", "rev"]),
        decision=st.sampled_from(["accept", "reject", "relabel:", "fix", "hold-out"]),
        data=st.data(),
    )
    def a_reviewer_decides(self, number: int, author: str, decision: str, data: st.DataObject) -> None:
        sample = self.samples[number]
        said = opinion_of(self.history(sample.id), MergeSettings())
        merged = said.instances if said is not None else ()
        row = ReviewRow(sample, self.machine[sample.id], merged)
        known = sorted({item.id for item in (*row.machine, *merged)})
        heard = any(item.origin.kind is not OriginKind.MODEL for item in merged)
        standing = [item.id for item in (merged if heard else row.machine) if item.state is not State.REJECTED]
        about = data.draw(st.none() | st.sampled_from(known)) if known and decision != "hold-out" else None
        word = decision + LABELS[0] if decision == "relabel:" else decision
        recorded = len(self.history(sample.id))
        since = self.later()
        verdict = Verdict(sample.id, word, author, about, self.later())
        take(CONFIG, self.workspace, [verdict], {sample.id: row}, since=since)
        for new in self.history(sample.id)[recorded:]:
            if new.origin.kind is OriginKind.HUMAN:
                spoken = frozenset({about} if about else standing)
                verified, rejected = (frozenset[str](), spoken) if word == "reject" else (spoken, frozenset[str]())
                self.words[sample.id][new.revision] = Word(author, new.round, True, verified, rejected)

    @rule(number=which, author=st.none() | people, does=deeds, label=labels)
    def people_are_asked_again(self, number: int, author: str | None, does: list[str], label: str) -> None:
        """And answer, or not yet."""
        key = self.samples[number].id
        round_ = self.tasks[key][-1].round + 1
        self.ledger.requests.open(Request(f"again/{key}/{round_}", key, "fix", "rev", self.later()))
        assert key in waiting(self.ledger)
        (item,), _ = items_of(self.ledger, [key], {key}, Machine(round_, MODEL, {}, {}), self.later())
        self.ask(item)
        self.ledger.requests.asked([key])
        if author is not None:
            self._answer(key, -1, author, does, [], label)

    @rule(
        number=which,
        author=people,
        reason=st.sampled_from(["skipped", "withdrawn", "retracted"]),
        which_task=st.sampled_from([-1, 0]),
    )
    def an_answer_is_taken_back(self, number: int, author: str, reason: str, which_task: int) -> None:
        key = self.samples[number].id
        task = self.tasks[key][which_task]
        self.ledger.annotations.withdraw(key, author, self.later(), reason, task.id, cursor=("collect/x", "1"))
        self.words[key] = {
            revision: word
            for revision, word in self.words[key].items()
            if word.partial or word.round != task.round or (reason == "retracted" and word.author != author)
        }

    # --- what files say -----------------------------------------------------------------------------------

    @rule(number=which, verified=places, guessed=places, label=labels)
    def labels_are_imported(self, number: int, verified: list[int], guessed: list[int], label: str) -> None:
        """A file of Label Studio's, with annotations and predictions."""
        file = Origin(OriginKind.IMPORTED, "file")
        own = [self._instance(f"own{place}", label, place, file, State.ACCEPTED) for place in verified]
        guesses = [self._instance(f"guess{place}", label, place, MODEL, State.PROPOSED) for place in guessed]
        self._import({self.samples[number].id: [*own, *guesses]}, "labels")

    @rule()
    def the_dataset_comes_back_as_labels(self) -> None:
        """An export with everything in it, proposals too, imported again."""
        entries = self.merged(MergeSettings(states=EVERYTHING))
        self._import({entry.sample_id: list(entry.instances) for entry in entries}, "export")

    def _instance(self, key: str, label: str, place: int, origin: Origin, state: State) -> Instance:
        return Instance(key, label, PLACES[place], mask_at(place), origin, state)

    def _import(self, images: dict[str, list[Instance]], name: str) -> None:
        @dataclass(frozen=True)
        class Image:
            file_name: str
            instances: Sequence[Instance]

        names = {sample.id: sample.path.name for sample in self.samples}
        files = write_tasks([Image(names[key], rows) for key, rows in images.items()], LABELS)
        path = self.folder / f"{name}.json"
        path.write_bytes(files["tasks.json"])
        found = find_labels("label_studio", path, self.folder, LABELS, read_tasks)
        import_labels(found, self.ledger, LABELS, source=name, renaming=Renaming({}), at=self.later())
        for key, rows in images.items():
            verified = {(row.label, row.mask) for row in rows if row.state in HUMAN_VERIFIED and row.mask}
            self.imports[key] |= verified

    # --- what must hold -----------------------------------------------------------------------------------

    def merged(
        self, how: MergeSettings, histories: Sequence[Sequence[Annotation]] | None = None
    ) -> list[DatasetEntry]:
        known = histories if histories is not None else [list(self.ledger.annotations.history())]
        return merge(self.samples, known, lambda *_: None, how).entries

    @invariant()
    def nothing_that_a_person_did_not_verify_is_verified(self) -> None:
        self.check(MergeSettings())
        self.check(MergeSettings(states=EVERYTHING))

    def check(self, how: MergeSettings) -> None:
        for entry in self.merged(how):
            words = self.words[entry.sample_id].values()
            verified = {key for word in words for key in word.verified}
            thrown_out = {key for word in words for key in word.rejected} - verified
            for item in entry.instances:
                if item.state not in HUMAN_VERIFIED:
                    assert (item.state, item.origin.kind) == (State.PROPOSED, OriginKind.MODEL)
                elif item.origin.kind is OriginKind.IMPORTED:
                    assert (item.label, item.mask) in self.imports[entry.sample_id]
                else:
                    assert item.origin.kind is OriginKind.HUMAN
                    assert item.id in verified, "nobody has verified it"
                assert item.id not in thrown_out, "it was rejected, and nobody has brought it back"
            gone = {item.mask for item in self._rejected(entry.sample_id) if item.id in thrown_out}
            assert not gone & {item.mask for item in entry.instances if item.state is State.PROPOSED}

    def _rejected(self, sample_id: str) -> list[Instance]:
        history = [said for said in self.history(sample_id) if said.revision in self.words[sample_id]]
        return [item for said in history for item in said.instances if item.state is State.REJECTED]

    @invariant()
    def what_stands_is_what_was_not_taken_back(self) -> None:
        for sample in self.samples:
            history = self.history(sample.id)
            human = {said.revision for said in history if said.origin.kind is OriginKind.HUMAN}
            standing = {said.revision for said in history if not said.withdrawn} & human
            assert standing == self.words[sample.id].keys()

    @invariant()
    def a_models_word_is_a_proposal(self) -> None:
        for said in self.ledger.annotations.history():
            for item in said.instances:
                assert item.origin.kind is said.origin.kind
                if item.origin.kind is OriginKind.MODEL:
                    assert item.state is State.PROPOSED

    @invariant()
    def nothing_is_overwritten(self) -> None:
        for sample in self.samples:
            history = [replace(said, withdrawn=False) for said in self.history(sample.id)]
            known = self.before[sample.id]
            assert history[: len(known)] == known
            assert [said.revision for said in history] == list(range(1, len(history) + 1))
            self.before[sample.id] = history

    @rule(how=merging, rng=st.randoms(use_true_random=False))
    def a_version_is_merged_whatever_the_order_of_arrival(self, how: MergeSettings, rng: random.Random) -> None:
        self.check(how)
        expected = manifest_bytes(self.merged(how), LABELS)
        arrived = []
        for sample in self.samples:
            history = self.history(sample.id)
            rng.shuffle(history)
            numbered = [replace(said, revision=number) for number, said in enumerate(history, start=1)]
            arrived.append(numbered)
        assert manifest_bytes(self.merged(how, arrived[::-1]), LABELS) == expected


TestProvenance = Histories.TestCase
TestProvenance.settings = settings(
    max_examples=30, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
