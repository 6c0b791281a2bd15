"""What rounds asked, and why, from the ledger and the shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from pipeline.config import Config, load
from pipeline.domain.records import Annotation, Origin, OriginKind, State
from pipeline.domain.rounds import Budget, Selection, Uncertainty
from pipeline.report.asked import POOL_BIN, asked_rounds
from pipeline.report.pictures import Album
from pipeline.store.decisions import Request
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, ingested, instance, sample_id
from tests.integration.commands import TINY


@pytest.fixture(scope="module")
def config() -> Config:
    return load(TINY)


def score(workspace: Workspace, round_: int, values: Sequence[float]) -> None:
    """Sample 0 is as doubtful as the first value, and so on."""
    rows = {
        sample_id(number): Uncertainty(sample_id(number), value, {"entropy": value}, 1)
        for number, value in enumerate(values)
    }
    name = f"{round_}" * 64
    shard, digest = workspace.shards.write_scores(name, rows)
    workspace.ledger.products.record("score", name, shard, digest, list(rows))
    workspace.ledger.rounds.mark(round_, "score", {"fingerprint": name})


def choose(workspace: Workspace, round_: int, *numbers: int) -> None:
    ranked = tuple(sample_id(number) for number in numbers)
    workspace.ledger.rounds.save_selection(Selection(round_, ranked, "top_k", Budget("images", 3), 0))


@pytest.fixture
def pool(workspace: Workspace) -> Workspace:
    workspace.ledger.samples.add([ingested(number, folder=Path("/images")) for number in range(30)])
    return workspace


def test_images_come_in_their_rank_with_what_made_them_doubtful(
    pool: Workspace, album: Album, config: Config
) -> None:
    score(pool, 1, [0.1, 0.9, 0.5, 0.5])
    choose(pool, 1, 1, 3)
    shown = [instance("a", State.PROPOSED, OriginKind.MODEL), instance("b", State.PROPOSED, OriginKind.MODEL)]
    machine = Origin(OriginKind.MODEL, "m")
    pool.ledger.annotations.append(Annotation(sample_id(1), 0, tuple(shown), machine, 1, NOON))
    (found,) = asked_rounds(config, pool, album, 2)
    assert [(item.rank, item.name, item.objects) for item in found.shown] == [(1, "1.png", 2), (2, "3.png", 0)]
    assert found.shown[0].uncertainty == Uncertainty(sample_id(1), 0.9, {"entropy": 0.9}, 1)
    assert found.shown[0].picture != found.shown[1].picture, "masks are drawn"
    assert found.candidates == 4


def test_the_pool_is_counted_by_uncertainty(pool: Workspace, album: Album, config: Config) -> None:
    score(pool, 1, [0.0, 0.01, 0.1, 0.26])
    choose(pool, 1, 3, 2)
    (found,) = asked_rounds(config, pool, album, 1)
    assert len(found.pool) == int(0.26 / POOL_BIN) + 1
    assert [(index, row) for index, row in enumerate(found.pool) if row != (0, 0)] == [
        (0, (2, 0)),
        (4, (1, 1)),
        (10, (1, 1)),
    ]


def test_wholly_doubtful_images_fall_into_the_last_bin(pool: Workspace, album: Album, config: Config) -> None:
    score(pool, 1, [1.0])
    choose(pool, 1, 0)
    (found,) = asked_rounds(config, pool, album, 1)
    assert (len(found.pool), found.pool[-1]) == (40, (1, 1))


def test_what_a_person_wanted_asked_again_says_so(pool: Workspace, album: Album, config: Config) -> None:
    score(pool, 1, [0.5])
    pool.ledger.requests.open(Request("k", sample_id(7), "fix", "anna", NOON))
    choose(pool, 1, 7, 0)
    (found,) = asked_rounds(config, pool, album, 1)
    assert [(item.uncertainty is None, item.wanted) for item in found.shown] == [(True, "fix"), (False, "")]


def again(
    workspace: Workspace, round_: int, *numbers: int, reason: Literal["fix", "disagreement"] = "fix"
) -> None:
    """These are asked about in the round as well, though nobody chose them."""
    for number in numbers:
        key = f"{reason}/{number}"
        workspace.ledger.requests.open(Request(key, sample_id(number), reason, "anna", NOON))
        workspace.ledger.tasks.record(round_, {sample_id(number): f"task-{round_}-{number}"})


def test_images_that_are_asked_about_again_are_shown_with_their_reason(
    pool: Workspace, album: Album, config: Config
) -> None:
    score(pool, 1, [0.5, 0.4])
    choose(pool, 1, 0)
    pool.ledger.tasks.record(1, {sample_id(0): "chosen"})
    again(pool, 1, 7, 8)
    again(pool, 1, 9, reason="disagreement")
    again(pool, 2, 0)
    (found,) = asked_rounds(config, pool, album, 1)
    assert [item.name for item in found.shown] == ["0.png"]
    assert {(item.rank, item.name, item.wanted) for item in found.again} == {
        (0, "7.png", "fix"),
        (0, "8.png", "fix"),
        (0, "9.png", "disagreement"),
    }
    assert found.reasons == {"disagreement": 1, "fix": 2}


def test_pictures_hold_what_people_saw_and_not_what_they_answered(
    pool: Workspace, album: Album, config: Config
) -> None:
    choose(pool, 2)
    again(pool, 2, 7)
    machine, anna = Origin(OriginKind.MODEL, "m"), Origin(OriginKind.HUMAN, "anna")
    reviewed = Annotation(sample_id(7), 0, (instance("a", State.REJECTED),), anna, 2, NOON, partial=True)
    guesses = (instance("a", State.PROPOSED, OriginKind.MODEL), instance("b", State.PROPOSED, OriginKind.MODEL))
    for said in (
        Annotation(sample_id(7), 0, guesses, machine, 1, NOON),
        replace(reviewed, created_at=NOON + timedelta(hours=1)),
        replace(reviewed, instances=(), partial=False, created_at=NOON + timedelta(hours=2)),
    ):
        pool.ledger.annotations.append(said)
    (found,) = asked_rounds(config, pool, album, 2)
    assert [item.objects for item in found.again] == [1], (
        "one of two, of which the reviewer had rejected the other"
    )


def test_those_that_are_asked_about_again_leave_room_for_the_chosen(
    pool: Workspace, album: Album, config: Config
) -> None:
    choose(pool, 1, *range(20))
    again(pool, 1, *range(20, 30))
    choose(pool, 2, 0, 1)
    again(pool, 2, *range(10, 30))
    second, first = asked_rounds(config, pool, album, 2)
    assert (len(first.shown), len(first.again), first.reasons) == (6, 6, {"fix": 10})
    assert (len(second.shown), len(second.again), second.reasons) == (2, 10, {"fix": 20})


def test_many_rounds_share_the_pictures_and_the_newest_come_first(
    pool: Workspace, album: Album, config: Config
) -> None:
    for number in range(1, 31):
        choose(pool, number, *range(20))
    found = asked_rounds(config, pool, album, 31)
    assert [row.round for row in found] == list(range(30, 0, -1))
    assert [len(row.shown) for row in found] == [4] * 24 + [0] * 6
    assert all(len(row.selection.ranked) == 20 for row in found)
