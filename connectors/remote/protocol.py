"""The protocol between a segmenter that is served and the peer that asks it: HTTP, version 1.

    GET  /v1/health      -> {"status": "ok"}; the only answer that needs no secret
    GET  /v1/segmenter   -> {"protocol": 1, "name", "fingerprint", "storable", "limits": {…}}
    POST /v1/encodings   <- the image as an RGB PNG, `image/png`
                         -> {"id", "fingerprint", "size_hw"}
    POST /v1/decode      <- a message, `application/vnd.maskloop.message`: a `Question` and the prior logits
                         -> a message: `Answers` and their logits
    POST /v1/enlarge     <- a message: a `Size` and the tensor `logits`, as an answer held them
                         -> a message: the same, at the size of the image

A message is a safetensors file (https://github.com/huggingface/safetensors): numbers in named tensors, everything
else as JSON in the tensor `json` (uint8). Its header is checked before a byte is believed, and nothing in it is code.
Numbers are float32 as they are, masks are COCO run lengths, scores are JSON's doubles: a mask from afar is the mask
of the same segmenter at home, bit by bit.

An encoding's id is the SHA-256 of the PNG. Encodings stay at the server, which forgets those that were used least
recently; whoever asks about a forgotten one is told 404 `UnknownEncoding`, and sends the image again. So a restart of
the server costs a client one upload per image, and no request changes what another one is answered: all of them may
be repeated.

Errors are JSON, `{"error": {"type", "message", …}}`. `type` is the class of `pipeline.errors` to be raised, or one of

    401 Unauthorized      the secret is missing or wrong           404 UnknownEncoding    send the image again
    403 ForbiddenHost     without a secret, only loopback names    408 TooSlow            the body did not come in time
    409 OtherSegmenter    the encoding is of another segmenter     413 TooLarge           `limit` says what is taken
    415 WrongType         the body's content type                  500 Internal           `id` is in the server's log
    503 Busy              all places are taken: see `Retry-After`

With a secret every request carries `Authorization: Bearer SECRET`. It travels as the rest does: over a network that
others share, through an SSH tunnel or a proxy that speaks HTTPS.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MESSAGE", "PNG", "VERSION", "Limits"]

VERSION = 1
PNG = "image/png"
MESSAGE = "application/vnd.maskloop.message"
"""Neither type can be sent by a page of another site without asking first, and the server answers no such question."""


@dataclass(frozen=True)
class Limits:
    """What a server takes: pixels of an image, bytes of a body, prompts of a question, seconds that a body may take
    to come; `waiting` requests beside those being worked on; `kept_bytes` of encodings."""

    max_pixels: int = 64_000_000
    max_body_bytes: int = 256 * 2**20
    max_prompts: int = 64
    body_timeout_s: float = 60.0
    waiting: int = 32
    kept_bytes: int = 2 * 2**30
