"""The client side of the protocol: a segmenter that is elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.calling import Caller, json_of
from connectors.remote.messages import logits_of, pack_logits, pack_question, png_of, read_answers
from connectors.remote.protocol import MESSAGE, PNG, VERSION
from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt
from pipeline.errors import (
    BackendRejected,
    BackendUnavailable,
    DataError,
    ImageUnreadable,
    PipelineError,
    ShapeMismatch,
)

__all__ = ["RemoteSegmenter"]

_DATA_ERRORS: dict[str, type[DataError]] = {
    one.__name__: one for one in (DataError, ImageUnreadable, ShapeMismatch)
}


class _Bounds(BaseModel):
    """Of a server's limits, those that a client keeps to."""

    model_config = ConfigDict(frozen=True)

    max_pixels: Annotated[int, Field(gt=0)]
    max_body_bytes: Annotated[int, Field(gt=0)]
    max_prompts: Annotated[int, Field(gt=0)]


class _Description(BaseModel):
    """What a server says it is; what later servers say besides does no harm."""

    model_config = ConfigDict(frozen=True)

    protocol: int
    name: str
    fingerprint: str
    limits: _Bounds


class _Forgotten(Exception):
    """The server does not know the encoding."""


class RemoteSegmenter:
    """The segmenter that `caller`'s server has. An encoding holds the image as PNG, and what the server calls it; the
    server has the arrays. One that the server has forgotten is sent again, once, unseen.

    Errors are those of the served segmenter, and BackendUnavailable when the server cannot be reached. With
    `logits` False answers come without logits, which makes them small.
    """

    storable = False

    def __init__(self, caller: Caller, *, logits: bool = True) -> None:
        self._caller = caller
        self._logits = logits
        self._served = _described(caller)
        self._bounds = self._served.limits
        self.name = f"remote-{self._served.name}"
        self.fingerprint = f"remote/{VERSION}:{self._served.fingerprint}"
        caller.backend = self.name

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Sends every image. Raises BackendRejected for one that is larger than the server takes."""
        return [self._encode(image) for image in images]

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """As many requests as the server's limit of prompts makes of it, one after the other."""
        encoding.require(self.fingerprint, backend=self.name)
        checked = [prompt.checked(encoding.size_hw) for prompt in prompts]
        answers: list[list[MaskPrediction]] = []
        for start in range(0, len(checked), self._bounds.max_prompts):
            question = pack_question(
                checked[start : start + self._bounds.max_prompts],
                id=encoding.arrays["id"].tobytes().hex(),
                fingerprint=self._served.fingerprint,
                multimask=multimask,
                mask_threshold=mask_threshold,
                logits=self._logits,
            )
            answers += self._answers(encoding, question)
        if len(answers) != len(prompts):
            raise self._rejected(f"{len(answers)} answers to {len(prompts)} prompts", "decode")
        return answers

    def enlarge(self, logits: Logits, size_hw: SizeHW) -> npt.NDArray[np.float32]:
        """As the served segmenter does it. Raises BackendRejected if it cannot."""
        answer = self._post("/v1/enlarge", pack_logits(logits, size_hw), MESSAGE, "enlarge")
        try:
            told, large = logits_of(answer.content)
        except DataError as exc:
            raise self._rejected(f"the server's answer cannot be read: {exc}", "enlarge") from exc
        if told != size_hw or large.shape != size_hw:
            raise self._rejected(f"the server answers {large.shape} where {size_hw} was asked for", "enlarge")
        return large

    def _encode(self, image: Image) -> Encoding:
        height, width = int(image.shape[0]), int(image.shape[1])
        if height * width > self._bounds.max_pixels:
            raise self._rejected(
                f"the image has {height * width} pixels, the server takes {self._bounds.max_pixels}", "encode"
            )
        png = png_of(image)
        self._upload(png)
        arrays = {
            "png": np.frombuffer(png, dtype=np.uint8).copy(),
            "id": np.frombuffer(hashlib.sha256(png).digest(), dtype=np.uint8).copy(),
        }
        return Encoding(arrays, (height, width), self.fingerprint)

    def _upload(self, png: bytes) -> None:
        if len(png) > self._bounds.max_body_bytes:
            raise self._rejected(
                f"the image is {len(png)} bytes as PNG, the server takes {self._bounds.max_body_bytes}", "encode"
            )
        answer = self._post("/v1/encodings", png, PNG, "encode")
        told = json_of(answer)
        wanted = {"id": hashlib.sha256(png).hexdigest(), "fingerprint": self._served.fingerprint}
        if not isinstance(told, dict) or any(told.get(key) != value for key, value in wanted.items()):
            raise self._rejected(
                "another segmenter is served now than when this one was built: build it again", "encode"
            )

    def _answers(self, encoding: Encoding, question: bytes) -> list[list[MaskPrediction]]:
        try:
            answer = self._post("/v1/decode", question, MESSAGE, "decode")
        except _Forgotten:
            self._upload(encoding.arrays["png"].astype(np.uint8, copy=False).tobytes())
            try:
                answer = self._post("/v1/decode", question, MESSAGE, "decode")
            except _Forgotten as exc:
                raise BackendUnavailable(
                    "the server forgets encodings faster than it can be asked: fewer clients, or more memory for it",
                    backend=self.name,
                    operation="decode",
                ) from exc
        try:
            return read_answers(answer.content, encoding.size_hw)
        except DataError as exc:
            raise self._rejected(f"the server's answer cannot be read: {exc}", "decode") from exc

    def _post(self, path: str, body: bytes, content_type: str, operation: str) -> httpx.Response:
        answer = self._caller.send("POST", path, operation, content=body, content_type=content_type)
        if answer.status_code != 200:
            raise _error(self._caller, answer, operation)
        return answer

    def _rejected(self, message: str, operation: str) -> BackendRejected:
        return BackendRejected(message, backend=self.name, operation=operation)


def _described(caller: Caller) -> _Description:
    answer = caller.send("GET", "/v1/segmenter", "connect")
    if answer.status_code != 200:
        raise _error(caller, answer, "connect")
    try:
        told = _Description.model_validate(json_of(answer))
    except ValidationError as exc:
        raise BackendRejected(
            "what answers there is no `pipeline serve-segmenter`: check the url and the protocol",
            backend=caller.backend,
            operation="connect",
        ) from exc
    if told.protocol != VERSION:
        raise BackendRejected(
            f"the server speaks version {told.protocol} of the protocol, this client {VERSION}: install the same "
            "version of maskloop on both sides",
            backend=caller.backend,
            operation="connect",
        )
    return told


def _error(caller: Caller, answer: httpx.Response, operation: str) -> PipelineError | _Forgotten:
    """What an answer that is no success means here."""
    body: Any = json_of(answer)
    error = body.get("error") if isinstance(body, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    if kind == "UnknownEncoding":
        return _Forgotten()
    if kind in _DATA_ERRORS and isinstance(error, dict):
        return _DATA_ERRORS[kind](str(error.get("message")))
    if answer.status_code == 401:
        return BackendRejected(
            "the server wants a secret, the one that it was started with: put it into the environment",
            backend=caller.backend,
            operation=operation,
        )
    return caller.refused(answer, operation)
