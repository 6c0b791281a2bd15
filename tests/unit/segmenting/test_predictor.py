"""The notebook's predictor, each of its uses, over peers that need no weights."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.domain.mask import Mask
from pipeline.errors import BackendRejected, DataError, ShapeMismatch
from pipeline.segmenting.predictor import InteractivePredictor
from pipeline.wiring import open_segmenter
from tests.contracts._yolo import skip_without

CENTRE, RADIUS = (60, 40), 22


def picture(size: tuple[int, int] = (80, 120)) -> np.ndarray:
    image = np.random.default_rng(0).integers(20, 50, (*size, 3), dtype=np.uint8)
    cv2.circle(image, CENTRE, RADIUS, (220, 180, 60), thickness=-1)
    return image


DISC = np.zeros((80, 120), dtype=np.uint8)
cv2.circle(DISC, CENTRE, RADIUS, 1, thickness=-1)
TRUTH = Mask.from_bitmap(DISC)


@pytest.fixture(scope="module", params=["nano_sam", "grabcut", "ellipse", "mobile_sam"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param in ("nano_sam", "mobile_sam"):
        skip_without("torch")
    return str(request.param)


@pytest.fixture(scope="module")
def predictor(kind: str, tmp_path_factory: pytest.TempPathFactory) -> InteractivePredictor:
    settings: dict[str, Any] = {"untrained": True, "device": "cpu"} if kind == "mobile_sam" else {}
    return InteractivePredictor(open_segmenter(kind, settings, work=tmp_path_factory.mktemp(kind)))


def shapes_hold(answer: tuple[np.ndarray, np.ndarray, np.ndarray], most: int) -> None:
    masks, scores, logits = answer
    count = len(masks)
    assert 1 <= count <= most
    assert masks.shape == (count, 80, 120)
    assert masks.dtype == np.bool_
    assert scores.shape == (count,)
    assert scores.dtype == np.float32
    assert logits.ndim == 3
    assert logits.shape[0] == count
    assert list(scores) == sorted(scores, reverse=True)


def test_a_single_point(predictor: InteractivePredictor) -> None:
    predictor.set_image(picture())
    shapes_hold(predictor.predict(np.array([CENTRE]), np.array([1])), most=3)
    masks, *_ = predictor.predict(np.array([CENTRE]), np.array([1]), multimask_output=False)
    assert len(masks) == 1


def test_a_box(predictor: InteractivePredictor, kind: str) -> None:
    predictor.set_image(picture())
    box = np.array([38, 18, 82, 62])
    answer = predictor.predict(box=box, multimask_output=False)
    shapes_hold(answer, most=1)
    if kind in ("nano_sam", "grabcut"):
        assert Mask.from_bitmap(answer[0][0]).iou(TRUTH) > 0.85
    shares = box / np.array([120, 80, 120, 80])
    again = predictor.predict(box=shares, multimask_output=False, normalize_coords=False)
    np.testing.assert_array_equal(again[0], answer[0])


def test_points_and_a_box_with_a_negative_point(predictor: InteractivePredictor, kind: str) -> None:
    predictor.set_image(picture())
    answer = predictor.predict(
        point_coords=[CENTRE, (38, 18)], point_labels=[1, 0], box=[36, 16, 84, 64], multimask_output=False
    )
    shapes_hold(answer, most=1)
    if kind != "mobile_sam":
        assert answer[0][0][40, 60]
        assert not answer[0][0][18, 38]


def test_refinement_through_mask_input(predictor: InteractivePredictor, kind: str) -> None:
    predictor.set_image(picture())
    points, labels = [CENTRE], [1]
    masks, scores, logits = predictor.predict(points, labels)
    best = logits[np.argmax(scores)]
    points, labels = [*points, (46, 40)], [1, 1]
    masks, scores, logits = predictor.predict(points, labels, mask_input=best[None], multimask_output=False)
    shapes_hold((masks, scores, logits), most=1)
    if kind != "mobile_sam":
        assert masks[0][40, 60]
        assert masks[0][40, 46]
    with pytest.raises(ShapeMismatch, match="1, h, w"):
        predictor.predict(points, labels, mask_input=best)


def test_three_images_in_a_batch(predictor: InteractivePredictor) -> None:
    predictor.set_image_batch([picture(), picture((90, 130)), picture((80, 120))])
    masks, scores, logits = predictor.predict_batch(
        point_coords_batch=[[CENTRE], None, [CENTRE]],
        point_labels_batch=[[1], None, [1]],
        box_batch=[None, [38, 18, 82, 62], None],
        multimask_output=False,
    )
    assert [one.shape for one in masks] == [(1, 80, 120), (1, 90, 130), (1, 80, 120)]
    assert len(scores) == len(logits) == 3
    np.testing.assert_array_equal(masks[0], masks[2])
    with pytest.raises(DataError, match="predict_batch"):
        predictor.predict([CENTRE], [1])
    with pytest.raises(DataError, match="2 prompts for 3 images"):
        predictor.predict_batch(box_batch=[None, None])


def test_logits_and_embeddings_where_there_are_any(predictor: InteractivePredictor, kind: str) -> None:
    predictor.set_image(picture())
    if kind in ("mobile_sam", "nano_sam"):
        logits, *_ = predictor.predict(box=[38, 18, 82, 62], return_logits=True, multimask_output=False)
        masks, *_ = predictor.predict(box=[38, 18, 82, 62], multimask_output=False)
        assert logits.dtype == np.float32
        assert ((logits > 0) != masks).mean() < 1e-3
        assert predictor.get_image_embedding().shape[0] == 1
    elif kind == "grabcut":
        with pytest.raises(BackendRejected, match="embedding"):
            predictor.get_image_embedding()


def test_what_cannot_be_asked_is_said(predictor: InteractivePredictor) -> None:
    predictor.reset_predictor()
    with pytest.raises(DataError, match="set_image"):
        predictor.predict([CENTRE], [1])
    with pytest.raises(DataError, match="set_image"):
        predictor.get_image_embedding()
    with pytest.raises(DataError, match="at least one"):
        predictor.set_image_batch([])
    with pytest.raises(ShapeMismatch, match="uint8"):
        predictor.set_image(np.zeros((4, 4), dtype=np.uint8))
    predictor.set_image(picture())
    with pytest.raises(DataError, match="empty prompt"):
        predictor.predict()
    with pytest.raises(DataError, match="without point_labels"):
        predictor.predict([CENTRE])
    with pytest.raises(DataError, match="without point_coords"):
        predictor.predict(point_labels=[1], box=[1, 2, 3, 4])
    with pytest.raises(DataError, match="outside the image"):
        predictor.predict([(500, 2)], [1])
