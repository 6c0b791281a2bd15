"""The networks of SAM and MobileSAM, from Ultralytics' builders, called part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from connectors.sam.frame import SIDE, Frame
from connectors.ultralytics.runtime import load, pick_device
from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.prompts import Logits
from pipeline.errors import WeightsUnavailable

__all__ = ["Asked", "Network", "Told", "Variant"]

Variant = Literal["mobile_sam", "sam_b", "sam_l", "sam_h"]

_BUILDERS: dict[Variant, str] = {
    "mobile_sam": "build_mobile_sam",
    "sam_b": "build_sam_vit_b",
    "sam_l": "build_sam_vit_l",
    "sam_h": "build_sam_vit_h",
}


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts of one shape in the frame's pixels: points `float32 (b, n, 2)` and labels `(b, n)` of 1 and 0, boxes
    `float32 (b, 4)`, priors `float32 (b, 1, 256, 256)`; None where the prompts have none."""

    points: npt.NDArray[np.float32] | None
    labels: npt.NDArray[np.float32] | None
    boxes: npt.NDArray[np.float32] | None
    priors: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Told:
    """One candidate: its bitmap `bool (h, w)`, logits `float32 (256, 256)`, and predicted IoU, unbounded."""

    bitmap: npt.NDArray[np.bool_]
    logits: Logits
    predicted_iou: float


class Network:
    """Holds the weights and nothing else: safe from many threads.

    Raises WeightsUnavailable for a file that does not hold exactly the weights of `variant`. Without `weights`
    they are random, drawn from `seed`.
    """

    def __init__(self, variant: Variant, weights: Path | None, *, seed: int, device: str) -> None:
        load("sam")
        import torch
        from ultralytics.models.sam import build

        # Building draws initial weights; the caller's random numbers stay as they were.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._model: Any = getattr(build, _BUILDERS[variant])()
        if weights is not None:
            _restore(self._model, variant, weights)
        # MobileSAM keeps a table made from its weights, anew at each change from training to evaluation.
        self._model.train().eval().requires_grad_(False)
        self._device = torch.device(pick_device(device))
        self._model.to(self._device)
        with torch.inference_mode():
            self._position: Any = self._model.prompt_encoder.get_dense_pe()

    def digest(self) -> str:
        """SHA-256 of all weights, in hexadecimal."""
        total = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            total.update(name.encode())
            total.update(tensor.cpu().numpy().tobytes())
        return total.hexdigest()

    def encode(self, image: Image) -> npt.NDArray[np.float32]:
        """The image embedding, `float32 (256, 64, 64)`. One image at a time: it does not depend on neighbours."""
        import torch

        pixels = Frame((int(image.shape[0]), int(image.shape[1]))).pixels(image)
        with torch.inference_mode():
            embedding = self._model.image_encoder(torch.from_numpy(pixels)[None].to(self._device))
            array: npt.NDArray[np.float32] = embedding[0].float().cpu().numpy()
        return array

    def decode(
        self, embedding: npt.NDArray[np.float32], asked: Asked, size_hw: SizeHW, *, multimask: bool
    ) -> list[list[Told]]:
        """One entry per prompt: one candidate, or with `multimask` three, in the network's order."""
        import torch

        with torch.inference_mode():
            points = None
            if asked.points is not None and asked.labels is not None:
                points = self._tensor(asked.points), self._tensor(asked.labels)
            sparse, dense = self._model.prompt_encoder(
                points=points, boxes=self._tensor(asked.boxes), masks=self._tensor(asked.priors)
            )
            logits, ious = self._model.mask_decoder(
                image_embeddings=self._tensor(embedding[None]),
                image_pe=self._position,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
            )
            return [
                [
                    Told(_enlarged(one, size_hw), one.float().cpu().numpy(), float(iou))
                    for one, iou in zip(candidates, scores, strict=True)
                ]
                for candidates, scores in zip(logits, ious.tolist(), strict=True)
            ]

    def _tensor(self, array: npt.NDArray[np.float32] | None) -> Any:
        import torch

        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _enlarged(logits: Any, size_hw: SizeHW) -> npt.NDArray[np.bool_]:
    """SAM's own way back: to the frame, without its padding, to the image; there, over zero is object."""
    from torch.nn.functional import interpolate

    height, width = Frame(size_hw).content_hw
    frame = interpolate(logits[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False)
    image = interpolate(frame[..., :height, :width], size_hw, mode="bilinear", align_corners=False)
    bitmap: npt.NDArray[np.bool_] = (image[0, 0] > 0).cpu().numpy()
    return bitmap


def _restore(model: Any, variant: Variant, path: Path) -> None:
    """Load a state dictionary, plain or under the key `model`; only tensors are unpickled."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        reason = " ".join(str(exc).split())
        raise WeightsUnavailable(str(path), reason=f"{path.name} cannot be read: {reason}") from exc
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    complaint = _complaint(model.state_dict(), state)
    if complaint is not None:
        raise WeightsUnavailable(
            str(path), reason=f"{path.name} does not hold the weights of {variant}: {complaint}"
        )
    model.load_state_dict(state)


def _complaint(wanted: dict[str, Any], found: object) -> str | None:
    """What is wrong with the weights that were found, in words; None if nothing is."""
    import torch

    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        return "it is no table of weights"
    missing, surplus = _some(sorted(set(wanted) - set(found))), _some(sorted(set(found) - set(wanted)))
    if missing or surplus:
        return "; ".join(
            words for words in (missing and f"without {missing}", surplus and f"with {surplus}") if words
        )
    shapes = {name for name, tensor in wanted.items() if found[name].shape != tensor.shape}
    return f"other shapes of {_some(sorted(shapes))}" if shapes else None


def _some(names: Sequence[str]) -> str:
    """The first three of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
