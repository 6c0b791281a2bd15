"""A YOLO network ready to be asked: images in, its kept boxes with all scores, or a description, out.

Preprocessing, forward pass and suppression are Ultralytics' own parts, called one by one: `model.predict` would
keep only the top score of each box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.ultralytics.classes import ClassTable
from connectors.ultralytics.runtime import load, pick_device
from connectors.ultralytics.weights import Weights, read_model
from pipeline.domain.geometry import Image, SizeHW
from pipeline.errors import WeightsUnavailable

__all__ = ["Found", "Network", "Suppression"]


@dataclass(frozen=True)
class Found:
    """What one image gave, best first: boxes `float64 (n, 4)` xyxy in image pixels, scores `float64 (n, classes of
    the model)`, the number of each box's class `int64 (n,)`, and mask logits `float32 (n, mh, mw)` or None."""

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class Suppression:
    """Which boxes are kept: above `confidence`, not overlapping a better one of their class by more than `iou`."""

    confidence: float
    iou: float
    most: int


class Network:
    """Raises WeightsUnavailable for a file that is no detect or segment model."""

    def __init__(
        self, weights: Weights, *, image_size: int, device: str, half: bool, nms_free: bool, batch: int
    ) -> None:
        load("ultralytics_yolo")
        import torch
        from ultralytics.nn.autobackend import AutoBackend
        from ultralytics.utils.checks import check_imgsz

        model, _ = read_model(weights.path)
        if model.task not in {"detect", "segment"}:
            raise WeightsUnavailable(
                str(weights.path), reason=f"it is a {model.task} model; detect or segment is needed"
            )
        self._embed_layer = len(model.yaml["backbone"]) - 1
        self._backend: Any = AutoBackend(
            model, device=torch.device(pick_device(device)), fp16=half, verbose=False, end2end=nms_free
        )
        self._backend.eval()
        self.masks = model.task == "segment"
        self.names: dict[int, str] = dict(self._backend.names)
        self._batch = batch
        self._image_size = check_imgsz(image_size, stride=self._backend.stride, min_dim=2)

    def find(self, images: Sequence[Image], table: ClassTable, keep: Suppression) -> list[Found]:
        """One entry per image, in order."""
        answers: dict[int, Found] = {}
        for numbers, tensor in self._tensors(images):
            sizes = [(int(images[number].shape[0]), int(images[number].shape[1])) for number in numbers]
            answers.update(zip(numbers, self._forward(tensor, sizes, table, keep), strict=True))
        return [answers[number] for number in range(len(images))]

    def describe(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """`float32 (n, d)`: the last layer of the backbone, averaged over the image, of unit length."""
        import torch

        rows: dict[int, npt.NDArray[np.float32]] = {}
        for numbers, tensor in self._tensors(images):
            with torch.inference_mode():
                vectors = torch.stack(self._backend.model(tensor, embed=[self._embed_layer])).float()
                unit = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
            rows.update(zip(numbers, unit, strict=True))
        if not rows:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([rows[number] for number in range(len(images))])

    def _tensors(self, images: Sequence[Image]) -> Iterator[tuple[list[int], Any]]:
        """Images of equal padded shape together, at most `batch`: (their numbers, `(n, 3, h, w)` in [0, 1]).

        Every image is padded as if it were alone, so what is found in it does not depend on its neighbours.
        """
        import torch
        from ultralytics.data.augment import LetterBox

        pad = LetterBox(self._image_size, auto=True, stride=self._backend.stride)
        groups: dict[tuple[int, ...], list[tuple[int, Image]]] = {}
        for number, image in enumerate(images):
            padded = pad(image=image)
            groups.setdefault(padded.shape, []).append((number, padded))
        for group in groups.values():
            for start in range(0, len(group), self._batch):
                part = group[start : start + self._batch]
                tensor = torch.from_numpy(np.stack([padded for _, padded in part])).to(self._backend.device)
                tensor = tensor.permute(0, 3, 1, 2).contiguous()
                tensor = tensor.half() if self._backend.fp16 else tensor.float()
                yield [number for number, _ in part], tensor.div_(255)

    def _forward(self, tensor: Any, sizes: list[SizeHW], table: ClassTable, keep: Suppression) -> list[Found]:
        import torch
        from ultralytics.utils import nms

        with torch.inference_mode():
            decoded, raw = self._backend(tensor)
            prototypes = None
            if self.masks:
                decoded, prototypes = decoded
            kept, places = nms.non_max_suppression(
                decoded,
                keep.confidence,
                keep.iou,
                classes=table.wanted,
                max_det=keep.most,
                nc=len(self.names),
                end2end=self._backend.end2end,
                return_idxs=True,
            )
            scores = self._scores(decoded, raw)
            return [
                self._found(
                    kept[number],
                    scores[number][:, places[number].long().reshape(-1)],
                    None if prototypes is None else prototypes[number],
                    (int(tensor.shape[2]), int(tensor.shape[3])),
                    size_hw,
                )
                for number, size_hw in enumerate(sizes)
            ]

    def _scores(self, decoded: Any, raw: Any) -> Any:
        """All class scores of what suppression was given, `(batch, classes, candidates)`."""
        classes = len(self.names)
        if not self._backend.end2end:
            return decoded[:, 4 : 4 + classes]
        # The NMS-free head gives only the best candidates and their top score; it is asked again which they were.
        scores = raw["one2one"]["scores"].sigmoid()
        head = self._backend.model.model[-1]
        _, _, anchors = head.get_topk_index(scores.permute(0, 2, 1), head.max_det)
        return scores.gather(2, anchors[:, None, :].expand(-1, classes, -1))

    def _found(self, rows: Any, scores: Any, prototypes: Any, input_hw: SizeHW, size_hw: SizeHW) -> Found:
        from ultralytics.utils import ops

        logits = None
        if prototypes is not None:
            flat = rows[:, 6:] @ prototypes.float().view(prototypes.shape[0], -1)
            logits = flat.view(-1, *prototypes.shape[1:]).cpu().numpy()
        boxes = ops.scale_boxes(input_hw, rows[:, :4].clone(), size_hw)
        return Found(
            boxes.double().cpu().numpy(),
            scores.T.double().cpu().numpy(),
            rows[:, 5].long().cpu().numpy(),
            logits,
        )
