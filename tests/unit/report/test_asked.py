"""What rounds asked, and why, from the ledger and the shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def test_many_rounds_share_the_pictures_and_the_newest_come_first(
    pool: Workspace, album: Album, config: Config
) -> None:
    for number in range(1, 31):
        choose(pool, number, *range(20))
    found = asked_rounds(config, pool, album, 31)
    assert [row.round for row in found] == list(range(30, 0, -1))
    assert [len(row.shown) for row in found] == [4] * 24 + [0] * 6
    assert all(len(row.selection.ranked) == 20 for row in found)
