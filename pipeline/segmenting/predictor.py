"""A predictor for notebooks, over any segmenter, with the method names and shapes that users of SAM know.

    predictor = InteractivePredictor(open_segmenter("mobile_sam"))
    predictor.set_image(image)
    masks, scores, logits = predictor.predict(point_coords=[[500, 375]], point_labels=[1])

The names and semantics are those of SAM 2's image predictor and SAM 3's interactive one. It keeps the encoding of the
image it was given, and is the only thing here that does: a segmenter itself keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box, Image
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import BackendRejected, DataError, ShapeMismatch
from pipeline.ports import Enlarger, Segmenter
from pipeline.segmenting.spelling import Points, box_of, points_of

__all__ = ["Answer", "InteractivePredictor"]

Array = npt.NDArray[Any]
Answer = tuple[Array, npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Masks `(c, h, w)`, scores `float32 (c,)`, low-resolution logits `float32 (c, h', w')`, the best score first."""


class InteractivePredictor:
    """Set an image, then ask about it as often as you like: it is encoded once."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._encodings: list[Encoding] = []
        self._is_batch = False

    def set_image(self, image: Image) -> None:
        """Encode one image, `uint8 (h, w, 3)` RGB. Raises ShapeMismatch."""
        self._set([image], is_batch=False)

    def set_image_batch(self, images: Sequence[Image]) -> None:
        """Encode several, for `predict_batch`. Raises ShapeMismatch, and DataError for none."""
        if not images:
            raise DataError("no images: give set_image_batch at least one")
        self._set(images, is_batch=True)

    def predict(  # noqa: PLR0917  # the order that SAM's users know
        self,
        point_coords: Array | Sequence[Sequence[float]] | None = None,
        point_labels: Array | Sequence[int] | None = None,
        box: Array | Sequence[float] | None = None,
        mask_input: Array | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Answer:
        """Masks of ONE object of the image.

        `point_coords` are `(n, 2)` x, y with `point_labels` `(n,)` of 1 and 0, `box` is x1, y1, x2, y2: in pixels, or,
        without `normalize_coords`, as shares of width and height in [0, 1]. `mask_input` `(1, h', w')` are logits as
        they came back. With `multimask_output` there are as many candidates as the segmenter has (three for SAM; one
        where it has no other), else one. Masks are `bool`, or with `return_logits` `float32` logits at the image's
        size. A segmenter without logits gives them as an array with h' = w' = 0.

        Raises DataError for a prompt that is empty or does not fit the image, ShapeMismatch for a `mask_input` of
        another shape, BackendRejected for logits of a segmenter that has none.
        """
        if self._is_batch or len(self._encodings) != 1:
            raise DataError("no image is set: call set_image first (after set_image_batch it is predict_batch)")
        asked = (point_coords, point_labels, box, mask_input)
        return self._predict(self._encodings[0], asked, multimask_output, return_logits, normalize_coords)

    def predict_batch(  # noqa: PLR0917
        self,
        point_coords_batch: Sequence[Any] | None = None,
        point_labels_batch: Sequence[Any] | None = None,
        box_batch: Sequence[Any] | None = None,
        mask_input_batch: Sequence[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[Array], list[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]:
        """The same for each image of the batch: lists with one entry per image, None where it has no such prompt."""
        if not self._is_batch:
            raise DataError("no batch is set: call set_image_batch first (after set_image it is predict)")
        columns = []
        for given in (point_coords_batch, point_labels_batch, box_batch, mask_input_batch):
            if given is not None and len(given) != len(self._encodings):
                raise DataError(f"{len(given)} prompts for {len(self._encodings)} images: one for each, or None")
            columns.append(given if given is not None else [None] * len(self._encodings))
        answers = [
            self._predict(encoding, asked, multimask_output, return_logits, normalize_coords)
            for encoding, *asked in zip(self._encodings, *columns, strict=True)
        ]
        masks, scores, logits = zip(*answers, strict=True)
        return list(masks), list(scores), list(logits)

    def get_image_embedding(self) -> Array:
        """The image embedding `(1, c, h', w')`, of a batch `(n, c, h', w')`. Raises DataError without an image,
        BackendRejected for a segmenter whose encoding is none."""
        if not self._encodings:
            raise DataError("no image is set: call set_image first")
        embeddings = [encoding.arrays.get("embedding") for encoding in self._encodings]
        found = [embedding for embedding in embeddings if embedding is not None]
        if len(found) != len(embeddings):
            raise BackendRejected(
                "it has no image embedding: a segmenter of SAM's structure has one",
                backend=self._segmenter.name,
                operation="get_image_embedding",
            )
        return np.stack(found)

    def reset_predictor(self) -> None:
        """Forget the image."""
        self._encodings, self._is_batch = [], False

    def _set(self, images: Sequence[Image], *, is_batch: bool) -> None:
        self.reset_predictor()
        for image in images:
            if (
                not isinstance(image, np.ndarray)
                or image.dtype != np.uint8
                or image.ndim != 3
                or image.shape[2] != 3
            ):
                raise ShapeMismatch("an image must be an array uint8 (height, width, 3) in RGB")
        self._encodings = self._segmenter.encode([np.ascontiguousarray(image) for image in images])
        self._is_batch = is_batch

    def _predict(
        self, encoding: Encoding, asked: Sequence[Any], several: bool, as_logits: bool, in_pixels: bool
    ) -> Answer:
        prompt = _prompt(encoding, asked, in_pixels)
        [entry] = self._segmenter.decode(encoding, [prompt], multimask=several)
        scores = np.array([one.predicted_iou for one in entry], dtype=np.float32)
        low = [one.logits if one.logits is not None else np.zeros((0, 0), dtype=np.float32) for one in entry]
        masks = self._enlarged(entry, encoding) if as_logits else np.stack([one.mask.bitmap() for one in entry])
        return masks, scores, np.stack(low)

    def _enlarged(self, entry: Sequence[MaskPrediction], encoding: Encoding) -> Array:
        logits = [one.logits for one in entry if one.logits is not None]
        if len(logits) != len(entry) or not isinstance(self._segmenter, Enlarger):
            raise BackendRejected(
                "it has no logits: ask without return_logits",
                backend=self._segmenter.name,
                operation="predict",
            )
        return np.stack([self._segmenter.enlarge(one, encoding.size_hw) for one in logits])


def _prompt(encoding: Encoding, asked: Sequence[Any], in_pixels: bool) -> Prompt:
    coords, labels, box, mask_input = asked
    if coords is None and labels is not None:
        raise DataError("point_labels without point_coords: give both")
    if coords is not None and labels is None:
        raise DataError("point_coords without point_labels: give a 1 (on the object) or a 0 (off it) for each")
    height, width = encoding.size_hw
    points: Points = points_of(coords, labels) if coords is not None else ((), ())
    corners = box_of(box) if box is not None else None
    if not in_pixels:
        points = tuple((x * width, y * height) for x, y in points[0]), points[1]
        corners = corners and Box(corners.x1 * width, corners.y1 * height, corners.x2 * width, corners.y2 * height)
    prompt = Prompt(corners, *points) if corners is not None or points[0] else None
    if mask_input is None:
        if prompt is None:
            raise DataError("an empty prompt: give points, a box or a mask_input")
        return prompt
    prior = np.asarray(mask_input, dtype=np.float32)
    if prior.ndim != 3 or prior.shape[0] != 1 or 0 in prior.shape:
        raise ShapeMismatch(f"mask_input must be (1, h, w) as one of the logits that came back, not {prior.shape}")
    return replace(prompt, prior=prior[0]) if prompt is not None else Prompt(prior=prior[0])
