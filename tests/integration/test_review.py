"""`pipeline review` with the table as reviewer: what is shown, and what comes of the verdicts."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.review import _tunnel
from pipeline.domain.dataset import parse_manifest
from pipeline.domain.records import OriginKind, State
from pipeline.errors import LedgerError
from pipeline.events import silent
from pipeline.services import reviewing
from pipeline.services.reviewing import subject_of
from pipeline.shelf import Shelf
from pipeline.store.decisions import Decisions
from pipeline.store.workspace import Workspace
from pipeline.wiring import open_house
from tests.integration.commands import TINY, json_of, pipeline


@pytest.fixture(scope="module")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("begun") / "workspace"
    result = pipeline("run", TINY, "--workspace", root, "--set", "rounds=1")
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture
def begun(begun_once: Path, tmp_path: Path) -> Path:
    """A copy of a workspace with one finished round, and most of the pool unasked."""
    copy = tmp_path / "workspace"
    shutil.copytree(begun_once, copy)
    return copy


def review(workspace: Path, *more: str) -> dict[str, Any]:
    result = pipeline("review", TINY, "--workspace", workspace, "--json", *more)
    assert result.exit_code == 0, result.output
    return json_of(result)


def opened(workspace: Path) -> Workspace:
    return open_house(TINY, workspace=workspace)[1]


def table(workspace: Path) -> Path:
    return workspace / "work" / "reviewers-text" / "review.tsv"


def rows(workspace: Path) -> list[dict[str, str]]:
    with table(workspace).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def decide(workspace: Path, verdicts: Mapping[str, str]) -> None:
    written = rows(workspace)
    with table(workspace).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(written[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows([row | {"verdict": verdicts.get(row["sample_id"], "")} for row in written])


def unasked(workspace: Path) -> list[str]:
    """Train images with proposals of which nobody has spoken."""
    ledger = opened(workspace).ledger
    spoken, train = ledger.annotations.spoken_of_ids(), {sample.id for sample in ledger.samples.all("train")}
    shown = [row["sample_id"] for row in rows(workspace) if int(row["instances"])]
    return [key for key in shown if key in train and key not in spoken]


def test_every_image_is_shown_or_those_of_a_round_or_of_a_version(begun: Path) -> None:
    ledger = opened(begun).ledger
    assert review(begun)["images"] == ledger.samples.count() == len(rows(begun))
    assert review(begun, "--round", "1")["images"] == len(ledger.tasks.of(1))
    version = ledger.versions.by_round()[1].id
    entries = parse_manifest(opened(begun).blobs.read(version))[1]
    assert review(begun, "--version", version[:9])["images"] == len(entries)


def test_looking_changes_nothing(begun: Path) -> None:
    before = [said.revision for said in opened(begun).ledger.annotations.history()]
    review(begun)
    assert review(begun, "--pull") == {"decisions": []}
    assert [said.revision for said in opened(begun).ledger.annotations.history()] == before


def test_an_image_is_accepted_and_its_proposals_are_a_persons_word(begun: Path) -> None:
    review(begun)
    name = unasked(begun)[0]
    decide(begun, {name: "accept"})
    (decision,) = review(begun, "--pull")["decisions"]
    assert (decision["sample"], decision["decision"], decision["state"]) == (name, "accept", "new")
    said = list(opened(begun).ledger.annotations.history(name))[-1]
    assert said.origin.kind is OriginKind.HUMAN
    assert said.origin.name == "reviewer"
    assert not said.partial, "the whole image is right"
    assert {item.state for item in said.instances} == {State.ACCEPTED}
    assert all(item.before is not None and item.before.origin.kind is OriginKind.MODEL for item in said.instances)


def test_pulling_twice_changes_nothing(begun: Path) -> None:
    review(begun)
    accepted, fixed, held = unasked(begun)[:3]
    decide(begun, {accepted: "accept", fixed: "fix", held: "hold-out"})
    assert {row["state"] for row in review(begun, "--pull")["decisions"]} == {"new"}
    ledger = opened(begun).ledger
    before = (ledger.decisions.all(), list(ledger.annotations.history()), ledger.requests.waiting())
    assert {row["state"] for row in review(begun, "--pull")["decisions"]} == {"known"}
    ledger = opened(begun).ledger
    assert (ledger.decisions.all(), list(ledger.annotations.history()), ledger.requests.waiting()) == before


def test_the_next_review_shows_what_was_decided_and_begins_without_verdicts(begun: Path) -> None:
    review(begun)
    name, held = unasked(begun)[:2]
    decide(begun, {name: "relabel:ring", held: "hold-out"})
    review(begun, "--pull")
    review(begun)
    shown = {row["sample_id"]: row for row in rows(begun)}
    assert shown[name]["labels"] == f"{shown[name]['instances']} ring"
    assert shown[held]["held_out_by"] == "reviewer"
    assert {row["verdict"] for row in shown.values()} == {""}
    assert review(begun, "--pull")["decisions"] == []


def test_verdicts_that_were_not_taken_back_are_not_lost(begun: Path) -> None:
    review(begun)
    name = unasked(begun)[0]
    decide(begun, {name: "accept"})
    refused = pipeline("review", TINY, "--workspace", begun)
    assert refused.exit_code == 2
    assert "1 verdicts were not taken back yet" in refused.stderr
    assert "--discard" in refused.stderr
    assert verdict_of(begun, name) == "accept"
    review(begun, "--discard")
    assert verdict_of(begun, name) == ""
    assert review(begun, "--pull")["decisions"] == []


def test_an_image_that_was_held_out_and_let_in_again_can_be_held_out_again(begun: Path) -> None:
    review(begun)
    name = unasked(begun)[0]
    for verdict in ("hold-out", "accept", "hold-out"):
        decide(begun, {name: verdict})
        for state in ("new", "known"):
            (decision,) = review(begun, "--pull")["decisions"]
            assert decision["state"] == state
        assert opened(begun).ledger.decisions.held_out_ids() == ({name} if verdict == "hold-out" else set())


def test_a_review_of_the_past_does_not_overwrite_the_present(begun: Path) -> None:
    asked = next(iter(opened(begun).ledger.tasks.of(1)))
    result = pipeline("run", TINY, "--workspace", begun, "--set", "rounds=2")
    assert result.exit_code == 0, result.output
    review(begun)
    decide(begun, {asked: "relabel:ring"})
    review(begun, "--pull")
    review(begun, "--round", "1")
    decide(begun, {asked: "relabel:coin"})
    (decision,) = review(begun, "--pull")["decisions"]
    assert (decision["state"], decision["why"]) == (
        "ignored",
        "it was changed after what is shown here: open the review anew",
    )


def test_the_next_round_asks_again_and_leaves_out_what_was_held_out(begun: Path) -> None:
    review(begun)
    fixed, accepted = unasked(begun)[:2]
    held = next(entry.sample_id for entry in _newest(begun) if entry.split == "train")
    number = 2
    decide(begun, {fixed: "fix", accepted: "accept", held: "hold-out"})
    review(begun, "--pull")
    result = pipeline("run", TINY, "--workspace", begun, "--set", f"rounds={number}")
    assert result.exit_code == 0, result.output
    assert fixed in opened(begun).ledger.tasks.of(number)
    ids = {entry.sample_id for entry in _newest(begun)}
    assert held not in ids
    assert {fixed, accepted} <= ids


def test_what_was_sent_back_and_answered_can_be_sent_back_again(begun: Path) -> None:
    def sent_back() -> list[int]:
        return [row.round for row in opened(begun).ledger.decisions.all(name) if row.verdict.decision == "fix"]

    review(begun)
    name = unasked(begun)[0]
    decide(begun, {name: "fix"})
    review(begun, "--pull")
    result = pipeline("run", TINY, "--workspace", begun, "--set", "rounds=2")
    assert result.exit_code == 0, result.output
    (decision,) = review(begun, "--pull")["decisions"]
    assert decision["state"] == "known", "who says it has not seen the answer"
    review(begun)
    decide(begun, {name: "fix"})
    for state in ("new", "known"):
        (decision,) = review(begun, "--pull")["decisions"]
        assert decision["state"] == state
    assert sent_back() == [2, 3]
    assert opened(begun).ledger.requests.waiting() == [name]


def verdict_of(workspace: Path, name: str) -> str:
    return next(row["verdict"] for row in rows(workspace) if row["sample_id"] == name)


def test_rejecting_every_object_makes_no_negative(begun: Path) -> None:
    review(begun)
    doubts = {row["sample_id"]: float(row["uncertainty"] or 0) for row in rows(begun)}
    rejected = min(unasked(begun), key=doubts.__getitem__)
    decide(begun, {rejected: "reject"})
    review(begun, "--pull")
    result = pipeline("run", TINY, "--workspace", begun, "--set", "rounds=2", "--set", "select.budget.images=1")
    assert result.exit_code == 0, result.output
    assert rejected not in opened(begun).ledger.tasks.of(2)
    assert rejected not in {entry.sample_id for entry in _newest(begun)}


def _newest(workspace: Path) -> list[Any]:
    made = opened(workspace).ledger.versions.by_round()
    return parse_manifest(opened(workspace).blobs.read(made[max(made)].id))[1]


def test_a_pull_that_breaks_off_is_finished_by_the_next(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    review(begun)
    accepted, fixed = unasked(begun)[:2]
    decide(begun, {accepted: "accept", fixed: "fix"})

    def broken(*_: object, **__: object) -> bool:
        raise LedgerError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Decisions, "add", broken)
        assert pipeline("review", TINY, "--workspace", begun, "--pull").exit_code == 1
    assert {row["state"] for row in review(begun, "--pull")["decisions"]} == {"new"}
    ledger = opened(begun).ledger
    assert [row.verdict.decision for row in ledger.decisions.all()] == [
        decision for _, decision in sorted({accepted: "accept", fixed: "fix"}.items())
    ]
    people = [said for said in ledger.annotations.history(accepted) if said.origin.kind is OriginKind.HUMAN]
    assert len(people) == 1
    assert ledger.requests.waiting() == [fixed]


def test_a_row_tells_all_that_is_known_of_an_image(begun: Path) -> None:
    config, workspace, house = open_house(TINY, workspace=begun)
    aside = workspace.ledger.samples.all("val")[0]
    with workspace.write_lock():
        workspace.ledger.samples.set_aside(aside.id, "torn")
    shelf = Shelf(workspace, lambda: house.executor, house.read_image, batch=4, emit=silent)
    found = {row.sample.id: row for row in reviewing.rows(config, workspace, shelf, subject_of(workspace))}
    assert found[aside.id].quarantined == "torn"
    assert sum(bool(row.quarantined) for row in found.values()) == 1
    asked = workspace.ledger.tasks.of(1)
    for key, row in found.items():
        assert (row.round == 1) == (key in asked)
        assert row.truth == workspace.ledger.samples.truth(key)
    entries = {entry.sample_id: entry for entry in _newest(begun)}
    answered = [found[key] for key in asked]
    assert any(row.uncertainty is not None and row.machine for row in answered)
    for row in answered:
        held = entries[row.sample.id]
        assert {item.id for item in row.merged if item.state is not State.REJECTED} == {
            i.id for i in held.instances
        }
        assert row.round_trip == held.round_trip
        assert {item.id for item in row.machine} <= {item.id for item in row.merged}


def test_what_is_shown_before_the_next_round_can_be_judged_after_it(begun: Path) -> None:
    review(begun)
    name = unasked(begun)[-1]
    decide(begun, {name: "accept"})
    assert pipeline("run", TINY, "--workspace", begun, "--set", "select.budget.images=1").exit_code == 0
    (decision,) = review(begun, "--pull")["decisions"]
    assert decision["state"] == "new"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--pull"], "nothing was opened"),
        (["--round", "9"], "nobody was asked anything in round 9"),
        (["--version", "zz"], "0 dataset versions start with 'zz'"),
        (["--round", "1", "--version", "ab"], "give one of them"),
        (["--port", "9"], "unknown key"),
    ],
)
def test_what_cannot_be_shown_is_told(begun: Path, more: list[str], told: str) -> None:
    result = pipeline("review", TINY, "--workspace", begun, *more)
    assert result.exit_code == 2
    assert told in result.output


def test_a_verdict_on_what_is_not_there_is_ignored_and_told(begun: Path) -> None:
    review(begun)
    with table(begun).open("a") as file:
        file.write("0" * 64 + "\t\t\t\t\t\t\taccept\tann\n")
    result = pipeline("review", TINY, "--workspace", begun, "--pull")
    assert "ignored: no such image was shown" in result.output


def test_the_tunnel_leads_to_the_apps_port() -> None:
    assert _tunnel("http://127.0.0.1:5199/datasets/a").startswith("ssh -N -L 5199:127.0.0.1:5199 ")
