"""Judging a round's model: once, on what is on the shelf, and with a decision that outlives an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.dataset import parse_manifest
from pipeline.domain.rounds import ModelRef
from pipeline.loop import Loop
from pipeline.ports import Detector
from pipeline.services.judging import Judge
from pipeline.shelf import Shelf
from pipeline.store.progress import Rounds
from pipeline.store.workspace import Workspace
from pipeline.wiring import House, open_house
from tests.integration.commands import TINY, pipeline


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A workspace whose first round has a candidate that nobody has judged yet."""
    workspace = tmp_path / "workspace"
    config, opened, house = open_house(TINY, workspace=workspace)
    with opened.write_lock():
        loop = Loop(config, opened, house)
        for stage in ("ingest", "propose", "segment", "score", "select", "submit", "collect", "merge", "train"):
            assert loop.run_one(stage)
    return workspace


def asked(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The models that detectors are built of, from now on."""
    names: list[str | None] = []
    build = House.detector

    def detector(self: House, model: ModelRef | None, **more: Any) -> Detector:
        names.append(model.id if model is not None else None)
        return build(self, model, **more)

    monkeypatch.setattr(House, "detector", detector)
    return names


def judge_of(workspace: Path) -> tuple[Judge, Workspace, House]:
    config, opened, house = open_house(TINY, workspace=workspace)
    shelf = Shelf(
        opened, lambda: house.executor, house.read_image, batch=config.propose.batch, emit=lambda *_, **__: None
    )
    return Judge(config, opened.ledger, shelf, house), opened, house


def test_a_model_is_asked_once_about_an_image(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, opened, house = judge_of(trained)
    [model] = opened.ledger.models.all()
    [version] = opened.ledger.versions.all()
    held_out = [row for row in parse_manifest(opened.blobs.read(version.id))[1] if row.split == "val"]
    names = asked(house, monkeypatch)
    with opened.write_lock():
        few = judge.judgement(model, held_out[:3])
        assert names == [model.id]
        again = judge.judgement(model, held_out[:3])
        assert names == [model.id], "what it said is on the shelf"
        judge.judgement(model, held_out)
    assert names == [model.id] * 2, "it is built again for the two images that are new"
    assert few.metrics == again.metrics
    assert few.hits.images == tuple(row.sample_id for row in held_out[:3])


def test_a_decision_outlives_an_interruption(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    config, opened, house = open_house(TINY, workspace=trained)
    with opened.write_lock(), monkeypatch.context() as patched:
        patched.setattr(Rounds, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Loop(config, opened, house).run_one("evaluate")
    [row] = opened.ledger.promotions.all()
    assert (row.decision, row.previous) == ("promoted", None)
    names = asked(house, monkeypatch)
    assert pipeline("evaluate", TINY, "--workspace", trained).exit_code == 0
    assert opened.ledger.promotions.all() == [row], "the new champion is not judged against itself"
    assert names == []
    facts = opened.ledger.rounds.marked(1, "evaluate")
    assert facts is not None
    assert (facts["promoted"], facts["champion"], facts["reason"]) == (True, "start", row.reason)


def test_the_body_holds_every_figure(trained: Path) -> None:
    assert pipeline("evaluate", TINY, "--workspace", trained).exit_code == 0
    _, opened, _ = open_house(TINY, workspace=trained)
    [row] = opened.ledger.promotions.all()
    assert row.body["reasons"] == [row.reason]
    assert set(row.body["whole"]) == {"instances", "units", "candidate", "champion", "difference", "p"}
    assert set(row.body["classes"]) == {"coin", "ring", "leaf", "star"}
    assert set(row.body["sizes"]) <= {"small", "medium", "large"}
    [finished] = opened.ledger.rounds.all()
    assert row.body["whole"]["candidate"]["value"] == pytest.approx(finished.metrics.mask_map50_95)
    for name, figure in row.body["classes"].items():
        assert figure["candidate"]["value"] == pytest.approx(finished.metrics.per_class[name].mask_map50_95)
