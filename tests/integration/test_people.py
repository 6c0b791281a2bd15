"""What several people say over several rounds: disagreement is asked about again, late words count, tombstones stay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.records import Annotation, Before, Origin, OriginKind, State
from pipeline.ports import Verdict
from pipeline.store.workspace import Workspace
from tests.integration.commands import TINY, pipeline

LATER = datetime(2100, 1, 1, tzinfo=UTC)
BERT = Origin(OriginKind.HUMAN, "bert")


@contextmanager
def opened(root: Path) -> Iterator[Workspace]:
    workspace = Workspace.open(root, now=lambda: LATER)
    with workspace.write_lock():
        yield workspace
    workspace.ledger.close()


def go_on(root: Path, rounds: int) -> None:
    result = pipeline("run", TINY, "--workspace", root, "--set", f"rounds={rounds}")
    assert result.exit_code == 0, result.output


def answered(workspace: Workspace) -> Annotation:
    """The first answer of round 1 in which something was found."""
    return next(
        said
        for said in workspace.ledger.annotations.history()
        if said.origin.kind is OriginKind.HUMAN and said.round == 1 and said.present
    )


def entry(workspace: Workspace, sample_id: str) -> DatasetEntry | None:
    _, rows = parse_manifest(workspace.blobs.read(workspace.ledger.versions.all()[-1].id))
    return next((row for row in rows if row.sample_id == sample_id), None)


def add(root: Path, word: Callable[[Annotation], Annotation]) -> Annotation:
    with opened(root) as workspace:
        said = answered(workspace)
        workspace.ledger.annotations.append(word(said))
    return said


def test_what_people_disagree_about_is_asked_again_and_settled_by_the_next_answer(finished: Path) -> None:
    said = add(finished, lambda said: replace(said, instances=(), origin=BERT, created_at=LATER))
    go_on(finished, 3)
    with opened(finished) as workspace:
        disputed = entry(workspace, said.sample_id)
        assert disputed is not None
        assert disputed.agreement == 0.0
        assert [item.id for item in disputed.instances] == sorted(item.id for item in said.present)
        assert workspace.ledger.requests.waiting() == [said.sample_id]
        facts = workspace.ledger.rounds.marked(3, "merge")
        assert facts is not None
        assert facts["disputed"] == 1
        assert set(facts["agreement"]) == {"bert", "simulated"}
    go_on(finished, 4)
    with opened(finished) as workspace:
        assert said.sample_id in workspace.ledger.tasks.of(4)
        assert workspace.ledger.requests.waiting() == []
        newest = [row for row in workspace.ledger.annotations.history(said.sample_id) if row.round == 4]
        assert [row.origin.name for row in newest] == ["simulated"]


def test_nobody_is_asked_twice_about_the_same_two_answers(finished: Path) -> None:
    said = add(finished, lambda said: replace(said, instances=(), origin=BERT, created_at=LATER))
    go_on(finished, 5)
    with opened(finished) as workspace:
        asked = [number for number in range(1, 6) if said.sample_id in workspace.ledger.tasks.of(number)]
    assert asked == [1, 4]


def test_a_late_edit_makes_a_new_revision_and_enters_the_next_version(finished: Path) -> None:
    def edit(said: Annotation) -> Annotation:
        first, *rest = said.present
        return replace(said, instances=(replace(first, label="leaf"), *rest), created_at=LATER)

    said = add(finished, edit)
    with opened(finished) as workspace:
        before = entry(workspace, said.sample_id)
    go_on(finished, 3)
    with opened(finished) as workspace:
        after = entry(workspace, said.sample_id)
        history = list(workspace.ledger.annotations.history(said.sample_id))
    assert before is not None
    assert after is not None
    assert after.revision == before.revision + 1 == len(history)
    assert history[:-1] == [row for row in history if row.created_at != LATER], "nothing was overwritten"
    assert {item.id: item.label for item in after.instances}[said.present[0].id] == "leaf"


def test_a_single_word_rejects_one_object_and_leaves_the_others(finished: Path) -> None:
    def reject(said: Annotation) -> Annotation:
        gone = replace(said.present[0], origin=BERT, state=State.REJECTED)
        return replace(said, instances=(gone,), origin=BERT, created_at=LATER + timedelta(seconds=1), partial=True)

    said = add(finished, reject)
    go_on(finished, 3)
    with opened(finished) as workspace:
        after = entry(workspace, said.sample_id)
    assert after is not None
    assert [item.id for item in after.instances] == sorted(item.id for item in said.present[1:])


def test_a_held_out_image_leaves_the_next_version_and_can_come_back(finished: Path) -> None:
    with opened(finished) as workspace:
        said = answered(workspace)
        workspace.ledger.decisions.add(Verdict(said.sample_id, "hold-out", "bert", None, LATER), 2)
    go_on(finished, 3)
    with opened(finished) as workspace:
        assert entry(workspace, said.sample_id) is None
        workspace.ledger.decisions.add(Verdict(said.sample_id, "accept", "cleo", None, LATER), 3)
        assert workspace.ledger.decisions.held_out_ids() == {said.sample_id}, "another's word does not end it"
        workspace.ledger.decisions.add(Verdict(said.sample_id, "accept", "bert", None, LATER), 3)
    go_on(finished, 4)
    with opened(finished) as workspace:
        assert entry(workspace, said.sample_id) is not None


def test_every_verdict_says_what_was_seen_before(finished: Path) -> None:
    with opened(finished) as workspace:
        histories = list(workspace.ledger.annotations.history())
        versions = [
            item
            for row in parse_manifest(workspace.blobs.read(workspace.ledger.versions.all()[-1].id))[1]
            for item in row.instances
        ]
    shown = {
        item.id: item for said in histories if said.origin.kind is OriginKind.MODEL for item in said.instances
    }
    assert shown
    judged = [item for item in versions if item.id in shown]
    assert judged
    for item in judged:
        machine = shown[item.id]
        assert item.before == Before(machine.origin, machine.label, machine.mask)
        assert machine.origin.prompt.startswith("box ")
        assert machine.origin.round in (1, 2)
    assert all(item.state is State.PROPOSED for item in shown.values())


def test_models_teach_where_the_configuration_lets_them(tmp_path: Path) -> None:
    """Images that nobody was asked about enter as proposals; no machine's word becomes a person's."""
    states = "merge.states=[proposed, accepted, edited, drawn]"
    result = pipeline("run", TINY, "--workspace", tmp_path / "workspace", "--set", "rounds=1", "--set", states)
    assert result.exit_code == 0, result.output
    with opened(tmp_path / "workspace") as workspace:
        spoken = workspace.ledger.annotations.spoken_of_ids()
        _, rows = parse_manifest(workspace.blobs.read(workspace.ledger.versions.all()[-1].id))
    guessed = [row for row in rows if row.sample_id not in spoken]
    assert guessed
    assert {item.state for row in guessed for item in row.instances} == {State.PROPOSED}
    assert {item.origin.kind for row in guessed for item in row.instances} == {OriginKind.MODEL}
    assert all(row.split == "train" for row in guessed)


def test_a_round_waits_for_two_people(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    values = ("annotator={kind: folder, settle_s: 0}", "rounds=1", "collect.people=2")
    overrides = [word for value in values for word in ("--set", value)]
    waiting = pipeline("run", TINY, "--workspace", root, *overrides)
    work = root / "work" / "annotators-folder"
    for name in ("Ada", "Bert"):
        assert waiting.exit_code == 3
        assert "waiting for people: 3 of round 1's 3 tasks are unanswered" in waiting.stderr
        for task in (work / "outbox").iterdir():
            answer = json.loads((task / "instances.json").read_bytes()) | {"annotator": name}
            (work / "inbox" / f"{task.name}.json").write_text(json.dumps(answer))
        waiting = pipeline("run", TINY, "--workspace", root, *overrides)
    assert waiting.exit_code == 0, waiting.output
    with opened(root) as workspace:
        merged = workspace.ledger.rounds.marked(1, "merge")
    assert merged is not None
    assert set(merged["agreement"]) == {"Ada", "Bert"}


def test_one_simulated_person_cannot_be_two(tmp_path: Path) -> None:
    result = pipeline("run", TINY, "--workspace", tmp_path / "ws", "--set", "collect.people=2")
    assert result.exit_code == 2
    assert "collect.people" in result.stderr
