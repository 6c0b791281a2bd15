"""Messages say what was meant, and nothing can be smuggled in by them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors.numpy import save

from connectors.remote.messages import (
    Question,
    Spoken,
    pack,
    pack_answers,
    pack_question,
    png_of,
    prompts_of,
    read_answers,
    read_png,
    unpack,
)
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Prompt
from pipeline.errors import DataError, ImageUnreadable, ShapeMismatch
from tests.unit.connectors.remote._tools import BOX, POINT, picture

SIZE_HW = (24, 32)
LOGITS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
SAID: dict[str, Any] = {"id": "a", "fingerprint": "f", "multimask": None, "mask_threshold": 0.25, "logits": True}


def raw(**document: Any) -> bytes:
    return save({"json": np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)})


def test_prompts_arrive_as_they_were_sent() -> None:
    mask = Mask.from_box(Box(1, 2, 9, 8), SIZE_HW)
    sent = [
        BOX,
        POINT,
        Prompt(box=Box(0.1, 0.2, 30.3, 20.7), points_xy=((1 / 3, 2.5), (4, 5)), point_labels=(True, False)),
        Prompt(prior=mask),
        Prompt(prior=LOGITS, text="a dog"),
    ]
    question, tensors = unpack(pack_question(sent, **SAID), Question)
    assert (question.mask_threshold, question.multimask, question.logits) == (0.25, None, True)
    told = prompts_of(question, tensors, SIZE_HW)
    assert told[:4] == sent[:4]
    assert told[4].text == "a dog"
    np.testing.assert_array_equal(told[4].prior, LOGITS)
    assert told[4].prior.flags.writeable  # type: ignore[union-attr]


def test_logits_that_are_a_view_arrive_as_they_look() -> None:
    question, tensors = unpack(pack_question([Prompt(prior=LOGITS.T)], **SAID), Question)
    [told] = prompts_of(question, tensors, SIZE_HW)
    np.testing.assert_array_equal(told.prior, LOGITS.T)


def test_labels_stay_at_home() -> None:
    data = pack_question([Prompt(box=BOX.box, label="secret disease")], **SAID)
    assert b"secret" not in data


@pytest.mark.parametrize("logits", [True, False])
def test_answers_arrive_as_they_were_given(logits: bool) -> None:
    mask = Mask.from_box(Box(1, 2, 9, 8), SIZE_HW)
    answers = [
        [MaskPrediction(mask, 1 / 3, 0.9, LOGITS), MaskPrediction(Mask.empty(SIZE_HW), 0.0, 0.0)],
        [MaskPrediction(mask, 1.0, 1.0, -LOGITS)],
    ]
    told = read_answers(pack_answers(answers, logits=logits), SIZE_HW)
    assert [[one.mask for one in entry] for entry in told] == [[one.mask for one in entry] for entry in answers]
    assert told[0][0].predicted_iou == 1 / 3
    assert told[0][1].logits is None
    if logits:
        np.testing.assert_array_equal(told[1][0].logits, -LOGITS)
    else:
        assert told[1][0].logits is None


def test_masks_of_another_size_are_refused() -> None:
    data = pack_answers([[MaskPrediction(Mask.empty((9, 9)), 0.0, 0.0)]], logits=True)
    with pytest.raises(ShapeMismatch):
        read_answers(data, SIZE_HW)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff" * 64,
        struct.pack("<Q", 2**62) + b"{}",
        save({"other": LOGITS}),
        save({"json": LOGITS}),
        save({"json": np.frombuffer(b"{", dtype=np.uint8)}),
        save({"json": np.frombuffer(b"[" * 100_000, dtype=np.uint8)}),
        save({"json": np.frombuffer(b"\xff\xfe", dtype=np.uint8)}),
        raw(**SAID),
        raw(**SAID, prompts=[], more=1),
        raw(**{**SAID, "mask_threshold": float("nan")}, prompts=[]),
        raw(**SAID, prompts=[{"points": [[1, 2]]}]),
        raw(**SAID, prompts=[{"points": [[1, 2, True]] * 1001}]),
        raw(**SAID, prompts=[{"box": [1, 2, 3]}]),
        raw(**SAID, prompts=[{"text": "a" * 1001}]),
        save(
            {
                "json": np.frombuffer(json.dumps({**SAID, "prompts": []}).encode(), dtype=np.uint8),
                "prior.0": LOGITS.astype(np.float64),
            }
        ),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        unpack(data, Question)


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"box": [5, 5, 1, 1]},
        {"points": [[float("nan"), 1, True]]},
        {"logits": "prior.7"},
        {"logits": "line"},
        {"counts": "\u00e9"},
        {"counts": "nonsense that is no mask"},
        {"counts": "~" * 200},
    ],
)
def test_prompts_that_cannot_be_are_refused(prompt: dict[str, Any]) -> None:
    question = Question(**SAID, prompts=(Spoken.model_validate(prompt),))
    data = pack(question, {"line": LOGITS[0]})
    with pytest.raises(DataError):
        prompts_of(*unpack(data, Question), SIZE_HW)


def test_what_cannot_be_sent_is_told_before_it_is() -> None:
    with pytest.raises(DataError, match="not finite"):
        pack_question([BOX], **{**SAID, "mask_threshold": float("inf")})
    with pytest.raises(ShapeMismatch):
        pack_question([Prompt(prior=LOGITS[None])], **SAID)


def test_bytes_changed_on_the_way_raise_nothing_but_our_errors() -> None:
    rng = np.random.default_rng(0)
    whole = pack_question([BOX, Prompt(prior=LOGITS), Prompt(prior=Mask.empty(SIZE_HW))], **SAID)
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            question, tensors = unpack(bytes(data[: rng.integers(8, len(data) + 1)]), Question)
            prompts_of(question, tensors, SIZE_HW)
        except DataError:
            continue


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (50, 1), (24, 32)])
def test_a_png_is_the_image(size_hw: tuple[int, int]) -> None:
    image = picture(1, size_hw)
    np.testing.assert_array_equal(read_png(png_of(image), 10_000), image)


def other_picture(mode: str, **options: Any) -> bytes:
    data = io.BytesIO()
    Pillow.new(mode, (4, 4)).save(data, "PNG", **options)
    return data.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    + chunk(b"IEND", b"")
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        BOMB,
        png_of(picture())[:-200],
        png_of(picture())[:40],
        other_picture("RGBA"),
        other_picture("I;16"),
        other_picture("RGB", save_all=True, append_images=[Pillow.new("RGB", (4, 4), "red")]),
        png_of(picture(0, (101, 100))),
    ],
)
def test_what_is_no_png_of_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        read_png(data, 10_000)
