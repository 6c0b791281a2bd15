"""Labels that are boxes only: the segmenter makes their masks, and the dataset says who made them."""

from __future__ import annotations

import json
import shutil
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


def test_boxes_that_come_in_while_a_round_waits_teach_in_that_round(tmp_path: Path) -> None:
    source, root = boxes_only(tmp_path / "pool"), tmp_path / "ws"
    values = (
        f"ingest.sources=[{{kind: coco, path: {source}, labels_are: truth}}]",
        "annotator={kind: folder, settle_s: 0}",
        "segmenter.kind=ellipse",
        "rounds=1",
    )
    overrides = [word for value in values for word in ("--set", value)]
    assert pipeline("run", TINY, "--workspace", root, *overrides).exit_code == 3
    file = source / "annotations.json"
    told = pipeline("import", TINY, file, "--format", "coco", "--workspace", root, *overrides, "--json")
    fresh = json_of(told)["images"]
    assert fresh > 3, "more than are asked about"
    work = root / "work" / "annotators-folder"
    for task in (work / "outbox").iterdir():
        shutil.copy(task / "instances.json", work / "inbox" / f"{task.name}.json")
    result = pipeline("run", TINY, "--workspace", root, *overrides)
    assert result.exit_code == 0, result.stderr
    assert json_of(pipeline("status", TINY, "--workspace", root, *overrides, "--json"))["quarantined"] == 0
    (folder,) = (root / "datasets").iterdir()
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()[1:]]
    assert sum(entry["split"] == "train" for entry in entries) == fresh
    assert all(instance["counts"] for entry in entries for instance in entry["instances"])
