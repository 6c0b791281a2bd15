"""One prompt on one image: asked, told, and written down."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from pydantic import ValidationError

from pipeline.cli.common import as_json, short
from pipeline.cli.preview import picture
from pipeline.config import problems_of, raise_problems, settings_from
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Prompt
from pipeline.errors import DataError
from pipeline.files import whole_file
from pipeline.formats.image import png_bytes, read_image
from pipeline.segmenting.cleaning import MaskSettings
from pipeline.segmenting.spelling import box_from_text, point_from_text
from pipeline.wiring import open_segmenter

__all__ = ["Asked", "ask"]

_WHITE = 128
"""From this value on a pixel in the picture of a mask is object."""


@dataclass(frozen=True)
class Asked:
    """A prompt as it was typed: at most one box; `mask` is a picture's path."""

    boxes: Sequence[str]
    points: Sequence[str]
    text: str | None
    mask: Path | None

    def prompt(self) -> Prompt:
        """A mask says where its object is, too: without a box the prompt gets the mask's. Raises DataError."""
        points = [point_from_text(text) for text in self.points]
        box = box_from_text(self.boxes[0]) if self.boxes else None
        prior = _prior(self.mask) if self.mask is not None else None
        return Prompt(
            box=prior.box if box is None and prior is not None else box,
            points_xy=tuple(xy for xy, _ in points),
            point_labels=tuple(positive for _, positive in points),
            prior=prior,
            text=self.text,
        )


def ask(
    path: Path,
    asked: Asked,
    *,
    kind: str,
    overrides: Sequence[str],
    masks: Mapping[str, float],
    multimask: bool,
    out: Path | None,
    preview: Path | None,
    json_: bool,
) -> None:
    """Everything is read and checked before the segmenter is loaded. Raises ConfigError, DataError, BackendError."""
    settings = _mask_settings(masks)
    # `device=cpu` and `segmenter.device=cpu`, as a configuration has it, are the same here.
    own = settings_from([one.removeprefix("segmenter.") for one in overrides])
    prompt = asked.prompt()
    image = read_image(path).image
    prompt = prompt.checked((int(image.shape[0]), int(image.shape[1])))
    if sys.stderr.isatty():
        click.echo(f"{kind} looks at {short(path)} …", err=True)
    segmenter = open_segmenter(kind, own, masks=settings)
    [encoding] = segmenter.encode([image])
    [answers] = segmenter.decode(encoding, [prompt], multimask=True if multimask else None)
    answers = answers if multimask else answers[:1]
    best = answers[0]
    if out is not None:
        _write(out, png_bytes(best.mask.bitmap().astype(np.uint8) * 255))
    if preview is not None:
        _write(preview, png_bytes(picture(image, best.mask, prompt, f"{_told(best)}  {segmenter.name}")))
    if json_:
        candidates = [_row(answer) for answer in answers]
        told = {"image": path, "segmenter": segmenter.name, "mask": out, "preview": preview}
        click.echo(as_json({**told, "candidates": candidates}))
        return
    for answer in answers:
        click.echo(_told(answer))
    for name, place in (("mask", out), ("preview", preview)):
        if place is not None:
            click.echo(f"{name}: {short(place)}")


def _mask_settings(values: Mapping[str, float]) -> MaskSettings:
    try:
        return MaskSettings.model_validate(values)
    except ValidationError as exc:
        raise_problems(problems_of(exc, MaskSettings, ""), None)
        raise


def _prior(path: Path) -> Mask:
    mask = Mask.from_bitmap(read_image(path).image.max(axis=2) >= _WHITE)
    if mask.area_px == 0:
        raise DataError("the mask is all black: what is white in it is the object", path=path)
    return mask


def _write(place: Path, data: bytes) -> None:
    whole_file(place, lambda file: file.write(data))


def _row(answer: MaskPrediction) -> dict[str, object]:
    return {
        "area_px": answer.mask.area_px,
        "box": answer.mask.box,
        "predicted_iou": answer.predicted_iou,
        "stability": answer.stability,
        "rle": answer.mask.rle | {"counts": answer.mask.counts.decode("ascii")},
    }


def _told(answer: MaskPrediction) -> str:
    box = answer.mask.box
    if box is None:
        return "no mask there"
    corners = ",".join(f"{value:g}" for value in box)
    scores = f"predicted IoU {answer.predicted_iou:.2f}  stability {answer.stability:.2f}"
    return f"{scores}  {answer.mask.area_px:,} px in {corners}"
