"""SAM 3's interactive head behind a Roboflow inference server.

The form is that of the server's own documentation (https://docs.roboflow.com/models/supported-models/sam3, its
OpenAPI page of `POST /sam3/visual_segment`; https://inference.roboflow.com/foundation/sam3/):

    POST /sam3/embed_image?api_key=…     {"image": {"type": "base64", "value"}, "image_id"} -> {"image_id", "time"}
    POST /sam3/visual_segment?api_key=…  {"image", "image_id", "prompts": {"prompts": [{"box", "points"}, …]},
                                          "multimask_output", "format": "rle"}
                                         -> {"predictions": [{"masks", "confidence", "format"}, …], "time"}, or
                                            {"prompt_results": [{"prompt_index", "predictions"}, …], "time"}

Boxes are `x, y, width, height` around their centre, points `x, y, positive`, both in pixels. `image` is required in
every request; where `image_id` is known the server does not look at it. Of several candidates it gives the most
confident one. No logits come back, so there is nothing that could be given as a prior.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import numpy as np

from connectors.calling import Caller, json_of
from connectors.remote.messages import png_of
from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.domain.segmentation import is_number, segmentation_mask
from pipeline.errors import BackendRejected, DataError

__all__ = ["RoboflowSegmenter"]

_FINGERPRINT = "remote/1:roboflow-sam3"
_AT_ONCE = 32


class RoboflowSegmenter:
    """Boxes and points, one candidate each. `stability` is the confidence: the server tells no other measure.

    `decode` raises BackendRejected for priors, texts, and a threshold other than 0; BackendUnavailable when the
    server cannot be reached.
    """

    storable = False
    fingerprint = _FINGERPRINT

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.name = "remote-roboflow-sam3"
        caller.backend = self.name

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Has every image embedded, and keeps its PNG: the server wants to see it again with every prompt."""
        encodings = []
        for image in images:
            png = png_of(image)
            self._post("/sam3/embed_image", {"image": _image(png), "image_id": _image_id(png)}, "encode")
            size_hw = int(image.shape[0]), int(image.shape[1])
            encodings.append(Encoding({"png": np.frombuffer(png, np.uint8).copy()}, size_hw, _FINGERPRINT))
        return encodings

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """`multimask` says among how many candidates the server chooses; one comes back."""
        encoding.require(_FINGERPRINT, backend=self.name)
        checked = [self._checked(prompt, encoding.size_hw) for prompt in prompts]
        if mask_threshold != 0:
            raise self._rejected("the server's masks are cut at 0: mask_threshold must be 0", "decode")
        answers: dict[int, MaskPrediction] = {}
        for numbers, several in _groups(checked, multimask):
            asked = [checked[number] for number in numbers]
            answers.update(zip(numbers, self._ask(encoding, asked, several), strict=True))
        return [[answers[number]] for number in range(len(prompts))]

    def _checked(self, prompt: Prompt, size_hw: SizeHW) -> Prompt:
        checked = prompt.checked(size_hw)
        if checked.prior is not None:
            raise self._rejected("it takes no prior: give a box and points", "decode")
        if checked.text:
            raise self._rejected("it understands boxes and points, no text", "decode")
        return checked

    def _ask(self, encoding: Encoding, prompts: Sequence[Prompt], several: bool) -> list[MaskPrediction]:
        png = encoding.arrays["png"].astype(np.uint8, copy=False).tobytes()
        body = {
            "image": _image(png),
            "image_id": _image_id(png),
            "prompts": {"prompts": [_spelled(prompt) for prompt in prompts]},
            "multimask_output": several,
            "format": "rle",
        }
        answer = json_of(self._post("/sam3/visual_segment", body, "decode"))
        try:
            predictions = _predictions(answer)
            if len(predictions) != len(prompts):
                raise DataError(f"{len(predictions)} answers to {len(prompts)} prompts")
            return [_prediction(one, encoding.size_hw) for one in predictions]
        except DataError as exc:
            raise self._rejected(f"the server's answer cannot be read: {exc}", "decode") from exc

    def _post(self, path: str, body: Mapping[str, Any], operation: str) -> httpx.Response:
        answer = self._caller.send("POST", path, operation, json=body)
        if answer.status_code in {401, 403}:
            raise self._rejected("the server wants another API key: set ROBOFLOW_API_KEY", operation)
        if answer.status_code != 200:
            raise self._caller.refused(answer, operation)
        return answer

    def _rejected(self, message: str, operation: str) -> BackendRejected:
        return BackendRejected(message, backend=self.name, operation=operation)


def _groups(prompts: Sequence[Prompt], multimask: bool | None) -> Iterator[tuple[list[int], bool]]:
    """Numbers of prompts that can be asked together: the server pairs the boxes and the point lists of a request by
    their order, so either all prompts have one or none has."""
    groups: dict[tuple[bool, bool, bool], list[int]] = {}
    for number, prompt in enumerate(prompts):
        several = prompt.wants_several(multimask)
        groups.setdefault((several, prompt.box is not None, bool(prompt.points_xy)), []).append(number)
    for (several, *_), group in groups.items():
        for start in range(0, len(group), _AT_ONCE):
            yield group[start : start + _AT_ONCE], several


def _image(png: bytes) -> dict[str, str]:
    return {"type": "base64", "value": base64.b64encode(png).decode("ascii")}


def _image_id(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()


def _spelled(prompt: Prompt) -> dict[str, Any]:
    spelled: dict[str, Any] = {}
    if prompt.box is not None:
        spelled["box"] = _centred(prompt.box)
    if prompt.points_xy:
        spelled["points"] = [
            {"x": float(x), "y": float(y), "positive": bool(on)}
            for (x, y), on in zip(prompt.points_xy, prompt.point_labels, strict=True)
        ]
    return spelled


def _centred(box: Box) -> dict[str, float]:
    return {
        "x": float(box.x1 + box.x2) / 2,
        "y": float(box.y1 + box.y2) / 2,
        "width": float(box.width),
        "height": float(box.height),
    }


def _predictions(answer: Any) -> list[Any]:
    """One for each prompt, in their order, from either of the documented forms. Raises DataError."""
    if isinstance(answer, dict) and isinstance(answer.get("predictions"), list):
        return list(answer["predictions"])
    results = answer.get("prompt_results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise DataError("neither predictions nor prompt_results")
    found: dict[int, Any] = {}
    for result in results:
        index = result.get("prompt_index") if isinstance(result, dict) else None
        told = result.get("predictions") if isinstance(result, dict) else None
        if not isinstance(index, int) or not isinstance(told, list) or not told:
            raise DataError("a prompt's result has no index, or no prediction")
        found[index] = max(told, key=_confidence)
    if sorted(found) != list(range(len(results))):
        raise DataError("the results' indices are not those of the prompts")
    return [found[index] for index in range(len(results))]


def _confidence(prediction: Any) -> float:
    value = prediction.get("confidence") if isinstance(prediction, dict) else None
    if not is_number(value):
        raise DataError("a prediction has no confidence")
    return min(max(float(value), 0.0), 1.0)


def _prediction(told: Any, size_hw: SizeHW) -> MaskPrediction:
    confidence = _confidence(told)
    mask = _mask(told.get("masks"), size_hw)
    confidence = confidence if mask.area_px else 0.0
    return MaskPrediction(mask, confidence, confidence)


def _mask(masks: Any, size_hw: SizeHW) -> Mask:
    """Run lengths, or polygons of [x, y] vertices; those with fewer than three enclose nothing."""
    if not isinstance(masks, list):
        return segmentation_mask(masks, size_hw)
    if not all(isinstance(ring, list) and all(isinstance(xy, list) for xy in ring) for ring in masks):
        raise DataError("a polygon must be a list of [x, y]")
    rings = [list(itertools.chain.from_iterable(ring)) for ring in masks if len(ring) >= 3]
    return segmentation_mask(rings, size_hw)
