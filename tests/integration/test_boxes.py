"""Labels that are boxes only: the segmenter makes their masks, and the dataset says who made them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from tests.integration.commands import TINY, json_of, pipeline

BOXES = 3
IMAGES = 12


def boxes_only(folder: Path) -> Path:
    """A COCO dataset of noise pictures without a single segmentation."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(IMAGES):
        name = f"{number}.png"
        Pillow.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": 64, "height": 64})
        for index in range(BOXES):
            box = [4 + 20 * index, 8, 16, 20]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": 1, "bbox": box, "iscrowd": 0}
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "coin"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def test_boxes_become_masks_that_name_their_maker(tmp_path: Path) -> None:
    source = boxes_only(tmp_path / "pool")
    sources = f"ingest.sources=[{{kind: coco, path: {source}, labels_are: truth, seed_images: 2}}]"
    place = (
        "--workspace",
        tmp_path / "ws",
        "--set",
        sources,
        "--set",
        "segmenter.kind=ellipse",
        "--set",
        "rounds=1",
    )
    result = pipeline("run", TINY, *place)
    assert result.exit_code == 0, result.stderr
    report = json_of(pipeline("status", TINY, *place, "--json"))
    assert report["quarantined"] == 0
    (folder,) = (tmp_path / "ws" / "datasets").iterdir()
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()[1:]]
    instances = [instance for entry in entries for instance in entry["instances"]]
    assert len(instances) == BOXES * len(entries)
    assert all(instance["counts"] for instance in instances), "a box without a mask"
    imported = [instance["origin"][1] for instance in instances if instance["origin"][0] == "imported"]
    assert imported
    assert all(name.startswith("annotations.json + ellipse-") for name in imported)
