"""A simulated detector: the truth, degraded by how little it has learnt. No weights, no PyTorch.

Skill s in [0, 1] comes from a model of the trainer `dry_run`, or from the settings. What goes wrong shrinks in
proportion to 1 - s:

- an object is missed with probability 0.6 (1 - s), and gets a wrong label with probability 0.3 (1 - s);
- each side of its box moves by up to 0.25 (1 - s) of the box's width or height;
- its mask is moved by up to 0.15 (1 - s), and eroded or dilated by up to 0.12 (1 - s), of the object's scale (the
  square root of its area);
- each of three invented objects appears with probability 0.5 (1 - s).

Confidence follows quality: the IoU with the truth, less sure and noisier for a small s; inventions stay below 0.6.
The draws belong to (seed, sample id, object), not to the model: a hard object is hard for every model, and a more
skilful model differs from a less skilful one by smaller errors of the same kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance
from pipeline.domain.rounds import ModelRef
from pipeline.errors import DataError, ShapeMismatch, WeightsUnavailable
from pipeline.ports import Detector, Resources

__all__ = ["REQUIRES", "GroundTruth", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}

_INVENTIONS = 3
_EMBED_GRID = 4


class Settings(BaseModel):
    """How good the simulated detector is without a trained model, and what it tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skill: Annotated[float, Field(ge=0, le=1)] = 0.3
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.25
    max_instances: Annotated[int, Field(ge=1)] = 300


class _Weights(BaseModel):
    """What is read of a `dry_run` model's file."""

    skill: Annotated[float, Field(ge=0, le=1)]
    classes: tuple[str, ...]


def build(
    settings: Settings,
    resources: Resources,
    *,
    model: ModelRef | None = None,
    confidence: float | None = None,
) -> Detector:
    """Raises WeightsUnavailable if `model` is not one that the trainer `dry_run` has made."""
    floor = settings.confidence if confidence is None else confidence
    if model is None:
        digest = hashlib.sha256(f"skill {settings.skill!r}".encode()).hexdigest()
        return GroundTruth(settings, resources, settings.skill, floor, digest)
    try:
        data = model.weights.read_bytes()
        weights = _Weights.model_validate_json(data)
    except OSError as exc:
        raise WeightsUnavailable(model.id, [model.weights], reason=exc.strerror) from exc
    except ValidationError as exc:
        raise WeightsUnavailable(
            str(model.weights), reason=f"{model.id} was not made by the trainer dry_run, which ground_truth needs"
        ) from exc
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != model.sha256:
        raise WeightsUnavailable(
            str(model.weights), reason=f"SHA-256 is {sha256}, but {model.id} has {model.sha256}"
        )
    return GroundTruth(settings, resources, weights.skill, floor, sha256)


class GroundTruth:
    """A detector that knows the answers and forgets some."""

    def __init__(self, settings: Settings, resources: Resources, skill: float, floor: float, digest: str) -> None:
        self._classes = resources.classes
        self._truth = resources.truth
        self._seed = resources.seed
        self._weakness = 1.0 - skill
        self._floor = floor
        self._most = settings.max_instances
        self.name = f"ground_truth-{digest[:12]}"

    def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]:
        """Raises DataError for a sample whose truth is not known, ShapeMismatch for unequal counts."""
        if len(images) != len(sample_ids):
            raise ShapeMismatch(f"{len(images)} images with {len(sample_ids)} sample ids")
        return [self._one(image, name) for image, name in zip(images, sample_ids, strict=True)]

    def embed(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """`float32 (n, 48)`: mean colours of a 4 x 4 grid, of unit length."""
        grid = (_EMBED_GRID, _EMBED_GRID)
        rows = [cv2.resize(image, grid, interpolation=cv2.INTER_AREA).reshape(-1) for image in images]
        # One is added so that a black image has a direction too.
        table = np.asarray(rows, dtype=np.float32).reshape(len(images), _EMBED_GRID**2 * 3) + 1.0
        unit: npt.NDArray[np.float32] = table / np.linalg.norm(table, axis=1, keepdims=True)
        return unit

    def _one(self, image: Image, sample_id: str) -> list[Proposal]:
        truth = self._truth(sample_id)
        if truth is None:
            raise DataError(
                "ground_truth needs the truth of every sample: give the source `labels_are: truth`, "
                "or use another detector",
                sample_id=sample_id,
            )
        size_hw = (int(image.shape[0]), int(image.shape[1]))
        found = [self._see(instance, size_hw, self._rng(sample_id, instance.id)) for instance in truth]
        found += [self._invent(size_hw, self._rng(sample_id, f"invented {n}")) for n in range(_INVENTIONS)]
        told = [proposal for proposal in found if proposal is not None and proposal.confidence >= self._floor]
        told.sort(key=lambda proposal: -proposal.confidence)
        return told[: self._most]

    def _rng(self, sample_id: str, what: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self._seed}\n{sample_id}\n{what}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def _see(self, instance: Instance, size_hw: SizeHW, rng: np.random.Generator) -> Proposal | None:
        """One object as this skill sees it; None if it is missed. Every draw is made whatever its use."""
        luck, label_luck, noise = rng.random(), rng.random(), rng.uniform(-1, 1)
        edges, warp, shares = rng.uniform(-1, 1, 4), rng.uniform(-1, 1, 3), rng.random(len(self._classes))
        if luck < 0.6 * self._weakness:
            return None
        box = _jitter(instance.box, 0.25 * self._weakness * edges).clipped(size_hw)
        if box.area_px <= 0:
            return None
        mask = _warp(instance.mask, warp, self._weakness) if instance.mask is not None else None
        quality = instance.box.iou(box)
        if mask is not None and instance.mask is not None:
            quality = (quality + instance.mask.iou(mask)) / 2
        confidence = quality * (1.0 - 0.4 * self._weakness) + 0.15 * self._weakness * noise
        if instance.label not in self._classes:
            raise DataError(f"the truth names {instance.label!r}, which is none of the project's classes")
        true = self._classes.index(instance.label)
        told = true
        if label_luck < 0.3 * self._weakness and len(self._classes) > 1:
            told = (true + 1 + int(shares[true] * (len(self._classes) - 1))) % len(self._classes)
            confidence *= 0.7
        return self._proposal(box, told, confidence, shares, mask, rival=true)

    def _invent(self, size_hw: SizeHW, rng: np.random.Generator) -> Proposal | None:
        """An object that is not there: an ellipse somewhere."""
        luck, sureness, label = rng.random(), rng.random(), int(rng.integers(len(self._classes)))
        centre, extent, shares = rng.random(2), rng.uniform(0.05, 0.3, 2), rng.random(len(self._classes))
        if luck >= 0.5 * self._weakness:
            return None
        height, width = size_hw
        half_w, half_h = extent[0] * width / 2, extent[1] * height / 2
        x, y = centre[0] * width, centre[1] * height
        box = Box(x - half_w, y - half_h, x + half_w, y + half_h).clipped(size_hw)
        if box.area_px <= 0:
            return None
        rows, columns = np.ogrid[:height, :width]
        inside = ((columns + 0.5 - x) / half_w) ** 2 + ((rows + 0.5 - y) / half_h) ** 2 <= 1
        if not inside.any():
            return None
        return self._proposal(box, label, 0.05 + 0.55 * sureness, shares, Mask.from_bitmap(inside), rival=None)

    def _proposal(
        self,
        box: Box,
        told: int,
        confidence: float,
        shares: npt.NDArray[np.float64],
        mask: Mask | None,
        *,
        rival: int | None,
    ) -> Proposal:
        """Scores of the other classes lie below the told one's; the true class comes close when it is another."""
        top = float(np.clip(confidence, 0.01, 0.99))
        scores = top * self._weakness * 0.8 * shares
        if rival is not None:
            scores[rival] = top * 0.9
        scores[told] = top
        return Proposal(box, self._classes[told], top, tuple(float(score) for score in scores), mask)


def _jitter(box: Box, shares: npt.NDArray[np.float64]) -> Box:
    """The box with each side moved by a share (|share| <= 0.25) of its width or height."""
    left, top, right, bottom = (float(share) for share in shares)
    return Box(
        box.x1 + left * box.width,
        box.y1 + top * box.height,
        box.x2 + right * box.width,
        box.y2 + bottom * box.height,
    )


def _warp(mask: Mask, draws: npt.NDArray[np.float64], weakness: float) -> Mask:
    """The mask moved along x and y, then eroded (negative) or dilated; never emptied by it."""
    scale = float(np.sqrt(mask.area_px)) * weakness
    dx, dy = (round(0.15 * scale * float(draw)) for draw in draws[:2])
    radius = round(0.12 * scale * float(draws[2]))
    if dx == dy == radius == 0:
        return mask
    height, width = mask.size_hw
    bitmap = mask.bitmap().astype(np.uint8)
    move = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)
    moved = cv2.warpAffine(bitmap, move, (width, height), flags=cv2.INTER_NEAREST)
    side = 2 * abs(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    changed = cv2.dilate(moved, disc) if radius > 0 else cv2.erode(moved, disc)
    return Mask.from_bitmap(changed) if changed.any() else mask
