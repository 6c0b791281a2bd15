from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.rounds import Uncertainty
from pipeline.errors import LedgerCorrupt
from pipeline.store.shards import ShardStore

FINGERPRINT = "f" * 64
BITMAP = np.zeros((7, 9), dtype=np.bool_)
BITMAP[2:5, 3:8] = True
BITMAP[3, 5] = False
MASK = Mask.from_bitmap(BITMAP)
PROPOSALS = {
    "b": [
        Proposal(Box(0.125, 1.5, 3, 4), "cat", 0.1 + 0.2, (0.3, 1 / 3), MASK),
        Proposal(Box(0, 0, 1, 1), "dog", 1.0),
    ],
    "a": [],
}


@pytest.fixture
def shards(tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path)


def test_proposals_come_back_exactly(shards: ShardStore) -> None:
    name, _ = shards.write_proposals(FINGERPRINT, PROPOSALS)
    assert dict(shards.read_proposals([name], {"a", "b"})) == PROPOSALS


def test_predictions_come_back_with_their_gaps(shards: ShardStore) -> None:
    rows: dict[str, list[MaskPrediction | None]] = {
        "a": [MaskPrediction(MASK, 0.75, 1 / 3), None],
        "b": [],
        "c": [None],
    }
    name, _ = shards.write_predictions(FINGERPRINT, rows)
    assert dict(shards.read_predictions([name], {"a", "b", "c"})) == rows


def test_scores_and_embeddings_come_back_exactly(shards: ShardStore) -> None:
    scores = {"a": Uncertainty("a", 1 / 3, {"entropy": 0.1, "margin": 1.0}, 4)}
    name, _ = shards.write_scores(FINGERPRINT, scores)
    assert dict(shards.read_scores([name], {"a"})) == scores
    embedding = np.random.default_rng(0).random(5, dtype=np.float32)
    name, _ = shards.write_embeddings(FINGERPRINT, {"a": embedding})
    ((sample_id, found),) = shards.read_embeddings([name], {"a"})
    assert sample_id == "a"
    np.testing.assert_array_equal(found, embedding)
    assert found.dtype == np.float32


def test_only_what_is_wanted_is_read(shards: ShardStore) -> None:
    name, _ = shards.write_proposals(FINGERPRINT, PROPOSALS)
    assert dict(shards.read_proposals([name], {"a", "z"})) == {"a": []}


def test_the_same_products_give_the_same_file_in_any_order(shards: ShardStore) -> None:
    first = shards.write_proposals(FINGERPRINT, PROPOSALS)
    again = shards.write_proposals(FINGERPRINT, dict(reversed(PROPOSALS.items())))
    assert first == again


def test_pandas_reads_them(shards: ShardStore) -> None:
    name, _ = shards.write_proposals(FINGERPRINT, PROPOSALS)
    table = pd.read_parquet(shards.path(name))
    assert table["sample_id"].tolist() == ["a", "b", "b"]
    assert table["label"].tolist()[1:] == ["cat", "dog"]
    assert table["position"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize("keep", [0, 1, 50, 99])
def test_a_torn_shard_is_named(shards: ShardStore, keep: int) -> None:
    name, _ = shards.write_proposals(FINGERPRINT, PROPOSALS)
    path = shards.path(name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * keep // 100])
    with pytest.raises(LedgerCorrupt, match=path.name):
        list(shards.read_proposals([name], {"a"}))
