"""Two segmenters: a fast one answers first, a better one what the fast one is not sure of."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.cascade.later import Later
from connectors.cascade.whose import Role, signed, whose
from pipeline.domain.geometry import Image
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import ConfigError, MissingExtra
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Escalations", "Member", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {}

_PIXELS = "rgb"


class Member(BaseModel):
    """A segmenter by its kind; whatever else is said is its own settings."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.model_extra or {}


class Settings(BaseModel):
    """Who answers, and what the fast one must reach so that its answer stands.

    An answer is asked again of the better one if it is empty, if its `predicted_iou` or its `stability` lies under
    the floor, or if the fast one does not agree with itself: `min_agreement` is the IoU of its mask with the mask
    that it finds when the mask's own tight box takes the place of the prompt's, which costs a second decoding; 0
    does without. What a peer's scores are worth is its own: compare several answers before choosing floors.

    The better one encodes an image when something first escalates there, and keeps `kept` encodings in memory;
    with `eager` every image is encoded by both at once, which pays where encodings are stored and most escalate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fast: Member = Member(kind="mobile_sam")
    better: Member = Member(kind="sam2")
    min_predicted_iou: Annotated[float, Field(ge=0, le=1)] = 0.85
    min_stability: Annotated[float, Field(ge=0, le=1)] = 0.9
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.0
    eager: bool = False
    kept: Annotated[int, Field(ge=1)] = 8

    @field_validator("fast", "better")
    @classmethod
    def _is_no_cascade(cls, member: Member) -> Member:
        if member.kind == "cascade":
            raise ValueError("a cascade cannot be part of a cascade: name another kind")
        return member


@dataclass(frozen=True)
class Escalations:
    """How many prompts were `asked`, how many of them `escalated` to the better segmenter, and how many `images` it
    encoded for that."""

    asked: int
    escalated: int
    images: int


class _Route(NamedTuple):
    """Who is asked first, who made the prior (None for a mask, or nothing), and the prompt with logits as made."""

    first: Role
    prior_of: Role | None
    prompt: Prompt


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises whatever building the two raises; a ConfigError names the key under `fast` or `better`."""
    return _Cascade(
        settings, _member("fast", settings.fast, resources), _member("better", settings.better, resources)
    )


def _member(role: Role, member: Member, resources: Resources) -> Segmenter:
    try:
        return resources.build_segmenter(member.kind, member.settings)
    except MissingExtra:
        raise
    except ConfigError as exc:
        # The house checks a segmenter's settings under the word `segmenter`; ours stand one deeper.
        key = None if exc.key is None else exc.key.replace("segmenter.", f"segmenter.{role}.", 1)
        message = exc.message.replace("\n  segmenter.", f"\n  segmenter.{role}.")
        raise ConfigError(message, path=exc.path, key=key) from exc


class _Cascade:
    """Keeps its two segmenters, what the better one has encoded lately, and three counters.

    `decode` raises BackendRejected for an encoding of another segmenter, DataError for a prompt that does not fit the
    image, ShapeMismatch for prior logits of another segmenter, and whatever the two raise.
    """

    def __init__(self, settings: Settings, fast: Segmenter, better: Segmenter) -> None:
        self._settings = settings
        self._fast = fast
        self._better = better
        self._later = Later(better, settings.kept)
        self._lock = threading.Lock()
        self._asked = self._escalated = 0
        # Without the better one's arrays an encoding does not depend on it.
        self.fingerprint = f"cascade/1/{fast.fingerprint}" + (f"/{better.fingerprint}" if settings.eager else "")
        self.storable = fast.storable or (settings.eager and better.storable)
        floors = settings.model_dump_json(include={"min_predicted_iou", "min_stability", "min_agreement"})
        digest = hashlib.sha256(f"1 {fast.name} {better.name} {floors}".encode()).hexdigest()
        self.name = f"cascade-{digest[:12]}"

    @property
    def escalations(self) -> Escalations:
        """Since it was built, over all threads."""
        with self._lock:
            return Escalations(self._asked, self._escalated, self._later.made)

    @property
    def escalated(self) -> int:
        return self.escalations.escalated

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """The fast one's arrays under `fast.`; beside them the better one's under `better.`, or the pixels (`rgb`,
        `uint8 (h, w, 3)`) from which it makes its own when it is asked."""
        first = self._fast.encode(images)
        if self._settings.eager:
            rest = [_prefixed("better", one) for one in self._better.encode(images)]
        else:
            rest = [{_PIXELS: np.ascontiguousarray(image)} for image in images]
        return [
            Encoding({**_prefixed("fast", one), **more}, one.size_hw, self.fingerprint)
            for one, more in zip(first, rest, strict=True)
        ]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """Prompts with a text, and those whose prior is the better one's logits, go straight to the better one.

        `mask_threshold` counts in each segmenter's own logits. Logits have one row more than the segmenter's that made
        them and are good for nothing but a prior (see `whose`).
        """
        encoding.require(self.fingerprint, backend=self.name)
        routes = [_route(prompt.checked(encoding.size_hw)) for prompt in prompts]
        fast_encoding = self._part("fast", encoding)
        answers = self._sure(fast_encoding, routes, multimask, mask_threshold)
        escalated = [number for number in range(len(prompts)) if number not in answers]
        if escalated:
            again = [self._for_better(fast_encoding, routes[number]) for number in escalated]
            told = self._better.decode(
                self._part("better", encoding), again, multimask=multimask, mask_threshold=mask_threshold
            )
            answers |= {number: signed(entry, "better") for number, entry in zip(escalated, told, strict=True)}
        with self._lock:
            self._asked += len(prompts)
            self._escalated += len(escalated)
        return [answers[number] for number in range(len(prompts))]

    def _sure(
        self, encoding: Encoding, routes: Sequence[_Route], multimask: bool | None, mask_threshold: float
    ) -> dict[int, list[MaskPrediction]]:
        """Those answers of the fast one that stand, by the prompts' numbers."""
        numbers = [number for number, route in enumerate(routes) if route.first == "fast"]
        asked = [routes[number].prompt for number in numbers]
        if not asked:
            return {}
        told = self._fast.decode(encoding, asked, multimask=multimask, mask_threshold=mask_threshold)
        stands = self._stands(encoding, asked, [entry[0] for entry in told], mask_threshold)
        return {
            number: signed(entry, "fast")
            for number, entry, stays in zip(numbers, told, stands, strict=True)
            if stays
        }

    def _stands(
        self, encoding: Encoding, asked: Sequence[Prompt], told: Sequence[MaskPrediction], mask_threshold: float
    ) -> list[bool]:
        """Whether each of the fast one's best answers is good enough."""
        settings = self._settings
        stands = [
            answer.mask.area_px > 0
            and answer.predicted_iou >= settings.min_predicted_iou
            and answer.stability >= settings.min_stability
            for answer in told
        ]
        doubtful = [number for number, stays in enumerate(stands) if stays and settings.min_agreement > 0]
        if doubtful:
            again = [replace(asked[number], box=told[number].mask.box, prior=None) for number in doubtful]
            for number, [other, *_] in zip(
                doubtful,
                self._fast.decode(encoding, again, multimask=False, mask_threshold=mask_threshold),
                strict=True,
            ):
                stands[number] = other.mask.iou(told[number].mask) >= settings.min_agreement
        return stands

    def _for_better(self, encoding: Encoding, route: _Route) -> Prompt:
        """The prompt as the better one understands it: the fast one's logits as the mask that they stand for."""
        prompt = route.prompt
        if route.prior_of != "fast":
            return prompt
        [[meant]] = self._fast.decode(encoding, [Prompt(prior=prompt.prior)], multimask=False)
        says_more = prompt.box is not None or prompt.points_xy or prompt.text
        return replace(prompt, prior=None if says_more and not meant.mask.area_px else meant.mask)

    def _part(self, role: Role, encoding: Encoding) -> Encoding:
        """The encoding of one of the two."""
        if role == "better" and not self._settings.eager:
            return self._later.encoding(encoding.arrays[_PIXELS].astype(np.uint8, copy=False))
        begin = f"{role}."
        arrays = {
            name.removeprefix(begin): array for name, array in encoding.arrays.items() if name.startswith(begin)
        }
        return Encoding(arrays, encoding.size_hw, (self._fast if role == "fast" else self._better).fingerprint)


def _prefixed(role: Role, encoding: Encoding) -> dict[str, npt.NDArray[np.generic]]:
    return {f"{role}.{name}": array for name, array in encoding.arrays.items()}


def _route(prompt: Prompt) -> _Route:
    if prompt.prior is None or isinstance(prompt.prior, Mask):
        return _Route("better" if prompt.text else "fast", None, prompt)
    maker, logits = whose(prompt.prior)
    return _Route("better" if prompt.text else maker, maker, replace(prompt, prior=logits))
