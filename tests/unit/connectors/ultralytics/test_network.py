"""The network's answers against those of `model.predict`, which keeps only the top score of each box."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.detectors import ultralytics_yolo
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Proposal
from pipeline.errors import BackendRejected, ConfigError, WeightsUnavailable
from tests.contracts._yolo import CLASSES, HEADS, resources_for, skip_without, write_weights

pytestmark = pytest.mark.usefixtures("_installed")


@pytest.fixture(scope="module")
def _installed() -> None:
    skip_without("torch", "ultralytics")


def images() -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((48, 64), (48, 64), (37, 53), (90, 30))]


def predicted(weights: Path, image: Image, **arguments: Any) -> Any:
    """Plain Ultralytics, which wants BGR."""
    model = load("the tests").YOLO(str(weights))
    bgr = np.ascontiguousarray(image[..., ::-1])
    return model.predict(bgr, verbose=False, save=False, retina_masks=True, device="cpu", **arguments)[0]


def assert_same(ours: list[Proposal], theirs: Any) -> None:
    assert [proposal.label for proposal in ours] == [theirs.names[int(number)] for number in theirs.boxes.cls]
    assert np.allclose([p.confidence for p in ours], theirs.boxes.conf.numpy(), atol=1e-4)
    assert np.allclose(np.array([p.box for p in ours]).reshape(-1, 4), theirs.boxes.xyxy.numpy(), atol=0.01)
    if theirs.masks is None:
        assert all(proposal.mask is None for proposal in ours)
        return
    for proposal, mask in zip(ours, theirs.masks.data.numpy().astype(bool), strict=True):
        assert proposal.mask is not None
        assert (proposal.mask.bitmap() != mask).mean() <= 1e-4


@pytest.mark.parametrize("nms_free", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_its_answers_are_those_of_predict(tmp_path: Path, head: str, nms_free: bool) -> None:
    weights = write_weights(tmp_path / "tiny.pt", head=head)
    settings = ultralytics_yolo.Settings(imgsz=64, confidence=0.1, iou=0.5, nms_free=nms_free, device="cpu")
    detector = ultralytics_yolo.build(settings, resources_for(tmp_path, weights=weights))
    answers = detector.propose(images(), ["a", "b", "c", "d"])
    assert sum(map(len, answers)) > 20, "with fewer, this shows little"
    nms = False if nms_free else None
    for image, ours in zip(images(), answers, strict=True):
        assert_same(ours, predicted(weights, image, imgsz=64, conf=0.1, iou=0.5, nms=nms))
        for proposal in ours:
            assert proposal.class_probs is not None
            told = proposal.class_probs[CLASSES.index(proposal.label)]
            assert told == pytest.approx(proposal.confidence, abs=1e-6)
            if not (nms_free and head == "Segment26"):
                # A head without suppression may tell two classes of one place.
                assert max(proposal.class_probs) == told


def test_most_instances_are_the_surest(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "tiny.pt")
    resources = resources_for(tmp_path, weights=weights)

    def answer(most: int) -> list[Proposal]:
        settings = ultralytics_yolo.Settings(imgsz=64, confidence=0.1, max_instances=most, device="cpu")
        return ultralytics_yolo.build(settings, resources).propose(images()[:1], ["a"])[0]

    assert answer(3) == answer(300)[:3]


def test_merged_classes_are_suppressed_together(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "tiny.pt", head="Detect", names=("car", "truck"))
    settings = ultralytics_yolo.Settings(
        imgsz=64, confidence=0.1, iou=0.3, class_map={"*": "vehicle"}, device="cpu"
    )
    merged = ultralytics_yolo.build(settings, resources_for(tmp_path, weights=weights, classes=("vehicle",)))
    apart = ultralytics_yolo.build(
        settings.model_copy(update={"class_map": {}}),
        resources_for(tmp_path, weights=weights, classes=("car", "truck")),
    )
    ours, theirs = (peer.propose(images()[:1], ["a"])[0] for peer in (merged, apart))
    assert 0 < len(ours) < len(theirs)
    for number, proposal in enumerate(ours):
        assert proposal.class_probs == (proposal.confidence,)
        assert all(proposal.box.iou(other.box) <= 0.3 for other in ours[:number])


def test_unmapped_classes_are_left_out(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "tiny.pt", head="Detect", names=("car", "dog"))
    settings = ultralytics_yolo.Settings(imgsz=64, confidence=0.1, iou=0.5, device="cpu")
    detector = ultralytics_yolo.build(settings, resources_for(tmp_path, weights=weights, classes=("dog", "cat")))
    ours = detector.propose(images()[:1], ["a"])[0]
    assert_same(ours, predicted(weights, images()[0], imgsz=64, conf=0.1, iou=0.5, classes=[1]))
    assert all(proposal.class_probs is not None and proposal.class_probs[1] == 0 for proposal in ours)


def test_a_wrong_digest_is_refused_before_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_weights(tmp_path / "tiny.pt")
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("it was loaded"))
    settings = ultralytics_yolo.Settings(sha256="0" * 64)
    with pytest.raises(WeightsUnavailable, match="SHA-256"):
        ultralytics_yolo.build(settings, resources_for(tmp_path, weights=weights))


def test_a_class_map_that_does_not_fit(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "tiny.pt")
    with pytest.raises(ConfigError, match="lorry"):
        ultralytics_yolo.build(
            ultralytics_yolo.Settings(class_map={"lorry": "disc"}), resources_for(tmp_path, weights=weights)
        )


def test_another_kind_of_model(tmp_path: Path) -> None:
    import torch

    path = write_weights(tmp_path / "tiny.pt", head="Detect")
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["model"].task = "pose"
    torch.save(checkpoint, path)
    with pytest.raises(WeightsUnavailable, match="pose model"):
        ultralytics_yolo.build(ultralytics_yolo.Settings(), resources_for(tmp_path, weights=path))


def test_a_structure_with_code_in_it(tmp_path: Path) -> None:
    import torch

    path = write_weights(tmp_path / "tiny.pt")
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["model"].yaml["activation"] = "__import__('os').system('true')"
    torch.save(checkpoint, path)
    with pytest.raises(WeightsUnavailable, match="holds code"):
        ultralytics_yolo.build(ultralytics_yolo.Settings(), resources_for(tmp_path, weights=path))


def test_a_failing_network_is_a_backend_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_weights(tmp_path / "tiny.pt")
    settings = ultralytics_yolo.Settings(imgsz=64, device="cpu")
    detector = ultralytics_yolo.build(settings, resources_for(tmp_path, weights=weights))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("kernel\n  failed")

    monkeypatch.setattr("ultralytics.utils.nms.non_max_suppression", fail)
    with pytest.raises(BackendRejected, match="RuntimeError: kernel failed"):
        detector.propose(images(), ["a", "b", "c", "d"])


@pytest.mark.parametrize("name", ["yolo11n-seg-dequant.pt", "yolo26n-dequant.pt"])
def test_real_weights_on_real_images(tmp_path: Path, name: str) -> None:
    data, weights = (os.environ.get(key) for key in ("MASKLOOP_DATA", "MASKLOOP_WEIGHTS"))
    if data is None or weights is None:
        pytest.skip("set MASKLOOP_DATA and MASKLOOP_WEIGHTS to the shared data and weights")
    from PIL import Image as Pillow

    path = Path(weights) / name
    photographs = [
        np.ascontiguousarray(np.asarray(Pillow.open(file).convert("RGB")))
        for file in sorted((Path(data) / "coco8-seg").rglob("*.jpg"))
    ]
    names = tuple(load("the tests").YOLO(str(path)).names.values())
    detector = ultralytics_yolo.build(
        ultralytics_yolo.Settings(device="cpu"), resources_for(tmp_path, weights=path, classes=names)
    )
    answers = detector.propose(photographs, [str(number) for number in range(len(photographs))])
    assert sum(map(len, answers)) > 10
    for photograph, ours in zip(photographs, answers, strict=True):
        assert_same(ours, predicted(path, photograph, imgsz=640, conf=0.25, iou=0.7))
