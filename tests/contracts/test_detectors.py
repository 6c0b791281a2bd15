"""What every detector promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from connectors import detectors
from pipeline.domain.geometry import Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.domain.rounds import ModelRef
from pipeline.errors import ShapeMismatch, WeightsUnavailable
from pipeline.ports import Detector, Embedder
from tests.contracts._yolo import CLASSES, resources_for, skip_without, write_weights

KINDS = sorted(module.name for module in pkgutil.iter_modules(detectors.__path__))
SIZES = {"odd": (37, 53), "thin": (9, 200), "pixel": (1, 1), "large": (700, 1100), "square": (64, 64)}
FEW_PIXELS = {"imgsz": 64, "confidence": 0.02}


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest) -> Any:
    peer = importlib.import_module(f"connectors.detectors.{request.param}")
    skip_without(*(package for packages in peer.REQUIRES.values() for package in packages))
    return peer


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    skip_without("torch", "ultralytics")
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.pt")


@pytest.fixture
def settings(module: Any) -> Any:
    return module.Settings(
        **{key: value for key, value in FEW_PIXELS.items() if key in module.Settings.model_fields}
    )


@pytest.fixture
def detector(module: Any, settings: Any, weights: Path, tmp_path: Path) -> Detector:
    built: Detector = module.build(settings, resources_for(tmp_path, weights=weights, truth=truth))
    return built


def truth(sample_id: str) -> tuple[Instance, ...]:
    """Two objects, in the left and in the right half of the sample's image."""
    height, width = SIZES[sample_id]
    found = []
    for number, half in enumerate((slice(0, max(1, width // 2)), slice(width // 2, width))):
        bitmap = np.zeros((height, width), dtype=bool)
        bitmap[height // 4 : max(1, 3 * height // 4), half] = True
        mask = Mask.from_bitmap(bitmap)
        if mask.box is not None:
            origin = Origin(OriginKind.IMPORTED, "test")
            found.append(Instance(f"{number}", CLASSES[number], mask.box, mask, origin, State.ACCEPTED))
    return tuple(found)


def image(size_hw: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def all_images() -> tuple[list[Image], list[str]]:
    return [image(size) for size in SIZES.values()], list(SIZES)


def told(proposals: Sequence[Proposal]) -> list[tuple[object, ...]]:
    """What one run says, to be compared with another within the noise of floating point."""
    return [(p.label, round(p.confidence, 3), tuple(round(value, 1) for value in p.box)) for p in proposals]


def test_one_answer_per_image_in_order(detector: Detector) -> None:
    images, names = all_images()
    together = detector.propose(images, names)
    assert len(together) == len(images)
    assert any(together), "these settings must find something, or the tests below say nothing"
    for number, name in enumerate(names):
        assert told(detector.propose([images[number]], [name])[0]) == told(together[number])


def test_nothing_in_nothing_out(detector: Detector) -> None:
    assert detector.propose([], []) == []


def test_it_answers_the_same_twice(detector: Detector) -> None:
    images, names = all_images()
    assert detector.propose(images, names) == detector.propose(images, names)


@pytest.mark.parametrize("name", SIZES)
def test_what_it_finds_lies_in_the_image(detector: Detector, name: str) -> None:
    height, width = size_hw = SIZES[name]
    for proposal in detector.propose([image(size_hw)], [name])[0]:
        assert 0 <= proposal.box.x1 < proposal.box.x2 <= width
        assert 0 <= proposal.box.y1 < proposal.box.y2 <= height
        if proposal.mask is not None:
            assert proposal.mask.size_hw == size_hw
            assert proposal.mask.area_px > 0


def test_labels_and_scores_are_of_the_project(detector: Detector) -> None:
    for proposals in detector.propose(*all_images()):
        confidences = [proposal.confidence for proposal in proposals]
        assert confidences == sorted(confidences, reverse=True)
        for proposal in proposals:
            assert proposal.label in CLASSES
            assert proposal.class_probs is not None
            assert len(proposal.class_probs) == len(CLASSES)
            assert all(0 <= score <= 1 for score in proposal.class_probs)
            told_class = proposal.class_probs[CLASSES.index(proposal.label)]
            assert told_class == pytest.approx(proposal.confidence, abs=1e-6)
            assert max(proposal.class_probs) == told_class


def test_every_sample_has_an_id(detector: Detector) -> None:
    with pytest.raises(ShapeMismatch):
        detector.propose([image((8, 8))], [])


def test_the_confidence_floor_can_be_lowered(module: Any, settings: Any, weights: Path, tmp_path: Path) -> None:
    images, names = all_images()
    resources = resources_for(tmp_path, weights=weights, truth=truth)
    low = module.build(settings, resources, confidence=0.001).propose(images, names)
    high = module.build(settings, resources, confidence=0.5).propose(images, names)
    assert sum(map(len, low)) > sum(map(len, high))
    assert all(proposal.confidence >= 0.5 for proposals in high for proposal in proposals)


def test_its_name_tells_kind_and_digest(module: Any, detector: Detector) -> None:
    kind = module.__name__.rpartition(".")[2]
    assert re.fullmatch(rf"{kind}-[0-9a-f]{{12}}", detector.name)


def test_settings_are_closed_and_frozen(module: Any) -> None:
    with pytest.raises(ValidationError):
        module.Settings(no_such_setting=1)
    with pytest.raises(ValidationError):
        module.Settings().confidence = 0.5


def test_a_model_that_is_not_there(module: Any, settings: Any, tmp_path: Path) -> None:
    model = ModelRef("gone", tmp_path / "gone.pt", "0" * 64, CLASSES)
    with pytest.raises(WeightsUnavailable, match=r"gone\.pt"):
        module.build(settings, resources_for(tmp_path), model=model)


def test_a_model_that_is_something_else(module: Any, settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "noise.pt"
    path.write_bytes(b"not weights at all")
    model = ModelRef("noise", path, "1e0bb1e9e2e1a5f0b2b0" + "0" * 44, CLASSES)
    with pytest.raises(WeightsUnavailable):
        module.build(settings, resources_for(tmp_path), model=model)


def test_embeddings_describe_images(detector: Detector) -> None:
    assert isinstance(detector, Embedder)
    images = [image((64, 64), seed=0), np.full((64, 64, 3), 200, dtype=np.uint8), image((37, 53), seed=0)]
    vectors = detector.embed(images)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == 3
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-3)
    assert np.allclose(detector.embed(images[:1])[0], vectors[0], atol=1e-5)
    assert detector.embed([]).shape[0] == 0
