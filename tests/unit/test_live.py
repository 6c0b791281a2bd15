"""The loop as it stands: what servers beside it are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Proposal
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, DataError
from pipeline.live import Live
from pipeline.ports import Detector
from pipeline.store.workspace import Workspace
from pipeline.wiring import House, open_backend, open_house
from tests.integration.commands import TINY, pipeline


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which images were chosen, and nobody was asked yet."""
    workspace = tmp_path_factory.mktemp("live") / "workspace"
    for stage in ("ingest", "propose", "segment", "score", "select"):
        assert pipeline(stage, TINY, "--workspace", workspace).exit_code == 0
    return workspace


@pytest.fixture
def live(begun: Path) -> tuple[Live, Workspace, House]:
    config, workspace, house = open_house(TINY, workspace=begun)
    return Live(config, workspace, house), workspace, house


def test_the_queue_is_the_selection_in_its_order(live: tuple[Live, Workspace, House]) -> None:
    standing, workspace, _ = live
    ranked = workspace.ledger.rounds.selection(1).ranked
    assert [sample.id for sample in standing.queue()] == list(ranked)
    assert len(ranked) > 1


def test_no_selection_no_queue(tmp_path: Path) -> None:
    config, workspace, house = open_house(TINY, workspace=tmp_path / "fresh")
    assert Live(config, workspace, house).queue() == []


def test_samples_are_found_by_id(live: tuple[Live, Workspace, House]) -> None:
    standing, workspace, _ = live
    [first, *_] = workspace.ledger.samples.all()
    assert standing.sample_of(first.id) == first
    assert standing.sample_of("0" * 64) is None


def test_proposals_come_in_order_and_are_signed(live: tuple[Live, Workspace, House]) -> None:
    standing, _, house = live
    samples = standing.queue()[:3]
    images = [(sample.id, house.read_image(sample)) for sample in samples]
    found = standing.propose([*images, images[0]])
    assert found[0] == found[3]
    assert standing.propose(images[1:2]) == found[1:2], "an image's answer depends on itself alone"
    instances = [one for answer in found if not isinstance(answer, DataError) for one in answer]
    assert instances
    assert (
        {one.origin.name for one in instances} == {standing.model_version()} == {f"start + {house.segmenter.name}"}
    )
    assert standing.propose([]) == []


class Picky:
    """A detector that takes offence at white pictures."""

    name = "picky"

    def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]:
        if any(image.min() == 255 for image in images):
            raise DataError("a white picture")
        return [[] for _ in images]


def test_what_is_wrong_with_one_image_is_its_own_answer(
    live: tuple[Live, Workspace, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    standing, *_ = live
    monkeypatch.setattr(House, "detector", lambda *_, **__: Picky())
    black, white = (np.full((20, 30, 3), value, dtype=np.uint8) for value in (0, 255))
    found = standing.propose([("a", black), ("b", white), ("c", black)])
    assert [type(answer) for answer in found] == [tuple, DataError, tuple]


def test_a_detector_that_fails_altogether_is_told(
    live: tuple[Live, Workspace, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        name = "broken"

        def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]:
            raise BackendRejected("no", backend="broken", operation="propose")

    monkeypatch.setattr(House, "detector", lambda *_, **__: Broken())
    with pytest.raises(BackendRejected):
        live[0].propose([("a", np.zeros((20, 30, 3), dtype=np.uint8))])


def test_a_new_champion_is_asked_from_then_on(
    live: tuple[Live, Workspace, House], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    standing, workspace, _ = live
    asked: list[str | None] = []

    def detector(_: House, model: ModelRef | None, **__: object) -> Detector:
        asked.append(model.id if model is not None else None)
        return Picky()

    monkeypatch.setattr(House, "detector", detector)
    picture = [("a", np.zeros((20, 30, 3), dtype=np.uint8))]
    standing.propose(picture)
    standing.propose(picture)
    with workspace.write_lock():
        workspace.ledger.models.add(ModelRef("better", tmp_path / "w", "0" * 64, ("coin",), None), 1)
        workspace.ledger.pointers.set("champion", "better")
    standing.propose(picture)
    assert asked == [None, "better"]
    assert standing.model_version().startswith("better + ")


def test_the_backend_gets_all_of_it(begun: Path) -> None:
    services = open_backend(
        TINY, workspace=begun, run_command=("pipeline", "run"), allowed=["https://cdn.example"]
    )
    assert services.queue()
    assert services.allowed == ("https://cdn.example",)
    assert services.studio is None
    assert services.now().tzinfo is not None
    assert services.jobs is not None
    assert services.jobs.is_relative_to(begun)


def test_label_studio_is_known_by_the_annotator(
    begun: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a" * 40)
    settings = {
        "kind": "label_studio",
        "url": "http://studio.example:8080",
        "output": "polygon",
        "images": {"kind": "local_files", "root": str(tmp_path)},
    }
    services = open_backend(TINY, [f"annotator={settings}"], workspace=begun)
    assert services.studio is not None
    assert services.studio.url == "http://studio.example:8080"
    assert services.studio.authorization() == "Token " + "a" * 40
    assert (services.local_files, services.polygons) == (tmp_path, True)
