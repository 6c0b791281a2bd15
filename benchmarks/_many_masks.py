"""Many simulated instances: as annotations, as a dataset version, as COCO's JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample, State

__all__ = ["CLASSES", "SIZE_HW", "blob", "entries", "histories", "sample", "write_coco"]

CLASSES = tuple(f"class {number}" for number in range(20))
SIZE_HW = (480, 640)
_MOST_SHAPES = 20_000
"""Enough that no file format gains by there being few."""
_START = datetime(2026, 1, 1, tzinfo=UTC)
_MODEL = Origin(OriginKind.MODEL, "yolo-0123456789ab + nano_sam-0123456789ab", "box 12.0,3.5,90.1,70.0", 1)


def blob(size_hw: tuple[int, int], share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """`bool (h, w)`: one smooth shape somewhere, which covers about `share` of the frame."""
    radius = np.sqrt(share * size_hw[0] * size_hw[1] / np.pi)
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    waves = sum(rng.uniform(-0.1, 0.1) * np.sin(k * angles + rng.uniform(0, 6)) for k in range(2, 9))
    room = np.array(size_hw[::-1]) - 2.6 * radius
    centre = 1.3 * radius + rng.uniform(0, 1, 2) * np.maximum(room, 0)
    points = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * (radius * (1 + waves))[:, None]
    canvas = np.zeros(size_hw, dtype=np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
    return canvas > 0


def sample(number: int, split: str = "") -> Sample:
    chosen = "val" if split == "val" or (not split and number % 5 == 0) else "train"
    name = hashlib.sha256(str(number).encode()).hexdigest()
    return Sample(name, Path(f"{name}.jpg"), SIZE_HW, "val" if chosen == "val" else "train", name[:16])


def histories(annotations: int, rng: np.random.Generator) -> list[list[Annotation]]:
    """Of every image a model's word and a person's; of every other one of its objects a single word, or a second
    person's on all. Five objects an image; a person corrects one in five, and rejects one in ten.
    """
    masks = _masks(annotations, rng)
    told: list[list[Annotation]] = []
    count = 0
    while count < annotations:
        number = len(told)
        made = _proposed(number, masks, rng)
        words = [Annotation(sample(number).id, 1, made, _MODEL, 1, _START)]
        for author in ("ann", "bea")[: 1 + (number % 4 == 0)]:
            words.append(_word(words[0], author, len(words) + 1, masks, rng, partial=False))
        if number % 4 == 2:
            words.append(_word(words[0], "carl", len(words) + 1, masks, rng, partial=True))
        told.append(words[: annotations - count])
        count += len(told[-1])
    return told


def entries(instances: int, rng: np.random.Generator) -> Iterator[DatasetEntry]:
    """Images of a version with ten accepted objects each."""
    masks = _masks(instances, rng)
    person = Origin(OriginKind.HUMAN, "ann")
    for number in range(instances // 10):
        whose = sample(number)
        items = tuple(
            replace(item, origin=person, state=State.ACCEPTED) for item in _proposed(number, masks, rng, 10)
        )
        kept = {item.id: 1.0 for item in items}
        yield DatasetEntry(whose.id, SIZE_HW, whose.split, whose.group, 2, items, None, kept)


def write_coco(rows: Iterator[DatasetEntry] | Sequence[DatasetEntry], path: Path) -> None:
    """The same instances as COCO's annotations, masks as run lengths; their ids count, their names are left out."""
    images, number = [], 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"annotations":[')
        for image, entry in enumerate(rows, start=1):
            height, width = entry.size_hw
            images.append({"id": image, "file_name": entry.sample_id, "height": height, "width": width})
            for item in sorted(entry.instances, key=lambda item: item.id):
                if item.mask is None:
                    raise ValueError("every simulated object has a mask")
                number += 1
                row = {
                    "id": number,
                    "image_id": image,
                    "category_id": CLASSES.index(item.label) + 1,
                    "bbox": [item.box.x1, item.box.y1, item.box.width, item.box.height],
                    "area": item.mask.area_px,
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": item.mask.counts.decode()},
                }
                file.write(("," if number > 1 else "") + json.dumps(row))
        categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, start=1)]
        file.write(f'],"images":{json.dumps(images)},"categories":{json.dumps(categories)}}}')


def _masks(wanted: int, rng: np.random.Generator) -> list[Mask]:
    shares = rng.uniform(0.001, 0.03, min(wanted, _MOST_SHAPES))
    return [Mask.from_bitmap(blob(SIZE_HW, float(share), rng)) for share in shares]


def _fresh(mask: Mask) -> Mask:
    """As from a file: nothing of it is worked out yet."""
    return Mask(mask.counts, mask.size_hw)


def _proposed(
    number: int, masks: Sequence[Mask], rng: np.random.Generator, objects: int = 5
) -> tuple[Instance, ...]:
    made = []
    for index, chosen in enumerate(rng.integers(0, len(masks), objects)):
        mask = masks[chosen]
        if mask.box is None:
            raise ValueError("a shape without pixels")
        label, sure = CLASSES[int(rng.integers(len(CLASSES)))], round(float(rng.random()), 6)
        made.append(
            Instance(
                f"{number:07d}-{index}", label, mask.box, _fresh(mask), _MODEL, State.PROPOSED, sure, sure, sure
            )
        )
    return tuple(made)


def _word(
    shown: Annotation,
    author: str,
    revision: int,
    masks: Sequence[Mask],
    rng: np.random.Generator,
    *,
    partial: bool,
) -> Annotation:
    """A person's: of one object where it is `partial`."""
    person, said = Origin(OriginKind.HUMAN, author), []
    for item in shown.instances[: 1 if partial else None]:
        luck = rng.random()
        state = State.REJECTED if luck < 0.1 else State.EDITED if luck < 0.3 else State.ACCEPTED
        mask = masks[int(rng.integers(len(masks)))] if state is State.EDITED else item.mask
        said.append(replace(item, origin=person, state=state, mask=mask and _fresh(mask)))
    at = _START + timedelta(minutes=revision)
    return Annotation(shown.sample_id, revision, tuple(said), person, 1, at, partial=partial)
