"""Instance maps: exact for whatever overlaps, and as PNG tools see them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import DataError
from pipeline.formats.labels import Found, LabelProblem, imported
from pipeline.formats.planes import find_planes, plane_bytes, planes_of, sidecar_bytes

SIZE_HW = (40, 50)


def instances(seed: int, count: int = 12) -> list[Instance]:
    rng = np.random.default_rng(seed)
    masks = [Mask.from_bitmap(rng.random(SIZE_HW) < share) for share in rng.uniform(0.001, 0.4, count)]
    return [imported("cat", None, mask, key="k", index=n, source=Path("s")) for n, mask in enumerate(masks)]


def write(folder: Path, rows: list[Instance]) -> Path:
    below = folder / "masks" / "val"
    below.mkdir(parents=True)
    planes, places = planes_of(rows, SIZE_HW)
    names = [f"x.{number}.png" for number in range(len(planes))]
    for name, plane in zip(names, planes, strict=True):
        (below / name).write_bytes(plane_bytes(plane))
    (below / "x.json").write_bytes(sidecar_bytes("x.jpg", SIZE_HW, names, rows, places))
    return folder


@pytest.mark.parametrize("seed", range(5))
def test_noise_comes_back_to_the_pixel(seed: int, tmp_path: Path) -> None:
    rows = instances(seed)
    (found,) = find_planes(write(tmp_path, rows), tmp_path / "images")
    assert isinstance(found, Found)
    assert found.labels is not None
    assert (found.image, found.split) == (tmp_path / "images" / "val" / "x.jpg", "val")
    labels = found.labels.read(SIZE_HW, "key")
    assert labels.complete
    assert [item.mask for item in labels.instances] == [item.mask for item in rows]


def test_what_does_not_overlap_is_one_picture_as_others_see_it(tmp_path: Path) -> None:
    boxes = (Box(0, 0, 5, 5), Box(10, 10, 20, 20))
    rows = [
        imported("cat", None, Mask.from_box(box, SIZE_HW), key="k", index=n, source=Path("s"))
        for n, box in enumerate(boxes)
    ]
    write(tmp_path, rows)
    with PIL.Image.open(tmp_path / "masks/val/x.0.png") as picture:
        assert np.unique(np.asarray(picture)).tolist() == [0, 1, 2]
    assert not (tmp_path / "masks/val/x.1.png").exists()


def test_nothing_is_an_empty_picture(tmp_path: Path) -> None:
    (found,) = find_planes(write(tmp_path, []), tmp_path)
    assert isinstance(found, Found)
    assert found.labels is not None
    assert found.labels.read(SIZE_HW, "key").instances == ()
    assert not (found.labels.read(SIZE_HW, "key")).problems


def test_what_cannot_be_drawn() -> None:
    box = imported("cat", Box(1, 1, 3, 3), None, key="k", index=0, source=Path("s"))
    with pytest.raises(DataError, match="has no mask"):
        planes_of([box], SIZE_HW)


def test_a_picture_of_another_size_is_not_decoded(tmp_path: Path) -> None:
    write(tmp_path, instances(1, 2))
    target = tmp_path / "masks/val/x.json"
    target.write_text(json.dumps(json.loads(target.read_text()) | {"size_hw": [7, 7]}))
    (found,) = find_planes(tmp_path, tmp_path)
    assert not isinstance(found, LabelProblem)
    assert found.labels is not None
    with pytest.raises(DataError, match="not a grey picture"):
        found.labels.read((7, 7), "key")
