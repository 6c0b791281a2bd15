"""Questions and answers as bytes: what both ends of the protocol share."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import PngImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.domain.geometry import Box, Image, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Logits, MaskPrediction, Prompt
from pipeline.errors import DataError, ImageUnreadable, ShapeMismatch

__all__ = [
    "Answers",
    "Question",
    "Said",
    "Size",
    "Spoken",
    "logits_of",
    "pack",
    "pack_answers",
    "pack_logits",
    "pack_question",
    "png_of",
    "prompts_of",
    "read_answers",
    "read_png",
    "unpack",
]

Arrays = Mapping[str, npt.NDArray[np.float32]]
Body = TypeVar("Body", bound=BaseModel)

_JSON = "json"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class Spoken(BaseModel):
    """One prompt. `points` are (x, y, on the object); a prior is `counts` (run lengths of a mask), or `logits` (the
    name of a tensor)."""

    model_config = _STRICT

    box: tuple[float, float, float, float] | None = None
    points: Annotated[tuple[tuple[float, float, bool], ...], Field(max_length=1000)] = ()
    counts: str | None = None
    logits: str | None = None
    text: Annotated[str, Field(max_length=1000)] | None = None


class Question(BaseModel):
    """Prompts about the image `id`. `logits`: whether the answer shall hold any."""

    model_config = _STRICT

    id: str
    fingerprint: str
    multimask: bool | None
    mask_threshold: Annotated[float, Field(allow_inf_nan=False)]
    logits: bool
    prompts: tuple[Spoken, ...]


class Said(BaseModel):
    """One candidate; `logits` is the name of a tensor."""

    model_config = _STRICT

    counts: str
    predicted_iou: Annotated[float, Field(ge=0, le=1)]
    stability: Annotated[float, Field(ge=0, le=1)]
    logits: str | None


class Answers(BaseModel):
    """The candidates of each prompt, in order."""

    model_config = _STRICT

    answers: tuple[tuple[Said, ...], ...]


class Size(BaseModel):
    """(height, width) of an image, in pixels."""

    model_config = _STRICT

    size_hw: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]


def pack(body: BaseModel, tensors: Arrays) -> bytes:
    """A message."""
    text = np.frombuffer(body.model_dump_json().encode(), dtype=np.uint8)
    return save({**{name: np.ascontiguousarray(array) for name, array in tensors.items()}, _JSON: text})


def unpack(data: bytes, kind: type[Body]) -> tuple[Body, Arrays]:
    """The reverse; tensors are float32 and writable. Raises DataError for anything else."""
    try:
        tensors = load(data)
        text = tensors.pop(_JSON)
        if text.dtype != np.uint8:
            raise DataError("a message's JSON must be bytes")
        body = kind.model_validate_json(text.tobytes())
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"a message's JSON is wrong: {where}: {first['msg']}") from exc
    except (SafetensorError, KeyError, ValueError, TypeError) as exc:
        raise DataError(f"not a message of this protocol: {type(exc).__name__}") from exc
    if any(array.dtype != np.float32 for array in tensors.values()):
        raise DataError("a message's tensors must be float32")
    return body, {name: array.copy() for name, array in tensors.items()}


def pack_question(
    prompts: Sequence[Prompt],
    *,
    id: str,  # noqa: A002  # the field's name in the protocol
    fingerprint: str,
    multimask: bool | None,
    mask_threshold: float,
    logits: bool,
) -> bytes:
    """Labels stay at home: they change nothing. Raises DataError for a threshold that is not finite, ShapeMismatch
    for a prior that is not `(h, w)`."""
    if not np.isfinite(mask_threshold):
        raise DataError(f"the mask threshold {mask_threshold} is not finite")
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    spoken = [_spoken(prompt, f"prior.{number}", tensors) for number, prompt in enumerate(prompts)]
    question = Question(
        id=id,
        fingerprint=fingerprint,
        multimask=multimask,
        mask_threshold=mask_threshold,
        logits=logits,
        prompts=tuple(spoken),
    )
    return pack(question, tensors)


def prompts_of(question: Question, tensors: Arrays, size_hw: SizeHW) -> list[Prompt]:
    """What is asked about an image of `size_hw`. Raises DataError for a prompt that cannot be one."""
    return [_prompt(spoken, tensors, size_hw) for spoken in question.prompts]


def pack_answers(answers: Sequence[Sequence[MaskPrediction]], *, logits: bool) -> bytes:
    """With `logits` only where they are wanted."""
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    said: list[tuple[Said, ...]] = []
    for row, entry in enumerate(answers):
        told: list[Said] = []
        for column, one in enumerate(entry):
            name = f"logits.{row}.{column}" if logits and one.logits is not None else None
            if name is not None and one.logits is not None:
                tensors[name] = one.logits
            told.append(
                Said(
                    counts=one.mask.counts.decode("ascii"),
                    predicted_iou=one.predicted_iou,
                    stability=one.stability,
                    logits=name,
                )
            )
        said.append(tuple(told))
    return pack(Answers(answers=tuple(said)), tensors)


def read_answers(data: bytes, size_hw: SizeHW) -> list[list[MaskPrediction]]:
    """Answers about an image of `size_hw`. Raises DataError, ShapeMismatch for masks of another size among it."""
    body, tensors = unpack(data, Answers)
    return [
        [
            MaskPrediction(
                Mask.from_rle(one.counts, size_hw),
                one.predicted_iou,
                one.stability,
                _tensor(tensors, one.logits) if one.logits is not None else None,
            )
            for one in entry
        ]
        for entry in body.answers
    ]


def pack_logits(logits: npt.NDArray[np.float32], size_hw: SizeHW) -> bytes:
    """Raises ShapeMismatch for logits that are not `(h, w)`."""
    if logits.ndim != 2:
        raise ShapeMismatch(f"logits must be (h, w), not {logits.shape}")
    return pack(Size(size_hw=size_hw), {"logits": logits.astype(np.float32)})


def logits_of(data: bytes) -> tuple[SizeHW, Logits]:
    """The reverse. Raises DataError."""
    size, tensors = unpack(data, Size)
    return size.size_hw, _tensor(tensors, "logits")


def png_of(image: Image) -> bytes:
    """The image as a PNG, packed quickly rather than small."""
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), fast)
    if not done:
        raise DataError(f"an image of {image.shape} cannot be written as a PNG")
    return data.tobytes()


def read_png(data: bytes, max_pixels: int) -> Image:
    """The reverse. Nothing is unpacked before its size is known. Raises ImageUnreadable."""
    try:
        picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
        if picture.mode != "RGB" or getattr(picture, "n_frames", 1) != 1:
            raise ImageUnreadable("the image must be one RGB picture of 8 bits a channel")
        if picture.width * picture.height > max_pixels:
            raise ImageUnreadable(f"{picture.width} x {picture.height} is more than {max_pixels} pixels")
        return np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as exc:
        raise ImageUnreadable("the body is not a whole PNG") from exc


def _spoken(prompt: Prompt, name: str, tensors: dict[str, npt.NDArray[np.float32]]) -> Spoken:
    prior = prompt.prior
    if prior is not None and not isinstance(prior, Mask):
        if prior.ndim != 2:
            raise ShapeMismatch(f"prior logits must be (h, w), not {prior.shape}")
        tensors[name] = prior.astype(np.float32)
    return Spoken(
        box=None if prompt.box is None else tuple(float(value) for value in prompt.box),
        points=tuple(
            (float(x), float(y), bool(on))
            for (x, y), on in zip(prompt.points_xy, prompt.point_labels, strict=True)
        ),
        counts=prior.counts.decode("ascii") if isinstance(prior, Mask) else None,
        logits=name if name in tensors else None,
        text=prompt.text,
    )


def _prompt(spoken: Spoken, tensors: Arrays, size_hw: SizeHW) -> Prompt:
    prior: Mask | Logits | None = None
    if spoken.logits is not None:
        prior = _tensor(tensors, spoken.logits)
    elif spoken.counts is not None:
        prior = Mask.from_rle(spoken.counts, size_hw)
    return Prompt(
        box=Box(*spoken.box) if spoken.box is not None else None,
        points_xy=tuple((x, y) for x, y, _ in spoken.points),
        point_labels=tuple(on for _, _, on in spoken.points),
        prior=prior,
        text=spoken.text,
    )


def _tensor(tensors: Arrays, name: str) -> Logits:
    if name not in tensors or tensors[name].ndim != 2 or 0 in tensors[name].shape:
        raise DataError(f"the message holds no logits (h, w) called {name!r:.80}")
    return tensors[name]
