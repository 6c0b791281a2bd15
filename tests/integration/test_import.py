"""`pipeline import`, and what `pipeline export` takes out, as a person meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.domain.dataset import parse_manifest
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, OriginKind
from pipeline.formats.losses import LOSSES
from pipeline.wiring import open_house
from tests.integration.commands import TINY, import_, imported, json_of, pipeline, places

FORMATS = [*LOSSES]


def export(workspace: Path, kind: str, out: Path, *more: str) -> dict[str, Any]:
    return json_of(
        pipeline("export", TINY, "--workspace", workspace, "--format", kind, "--out", out, "--json", *more)
    )


def masks(annotations: dict[str, Annotation]) -> dict[str, list[tuple[str, Mask | None]]]:
    return {
        key: sorted(((item.label, item.mask) for item in said.instances), key=str)
        for key, said in annotations.items()
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_takes_masks_along(kind: str, finished: Path, fresh: Path, tmp_path: Path) -> None:
    """From one workspace into another: exact, once, and as imports, whoever made the masks."""
    told = export(finished, kind, tmp_path / "out")
    _, opened, _ = open_house(TINY, workspace=finished, create=False)
    _, entries = parse_manifest(opened.blobs.read(told["version"]))
    wanted = {
        entry.sample_id: sorted(((item.label, item.mask) for item in entry.instances), key=str)
        for entry in entries
    }
    found = import_(fresh, tmp_path / "out", kind)
    assert (found["images"], found["unchanged"], found["problems"]) == (len(entries), 0, [])
    assert masks(imported(fresh)) == wanted
    assert all(
        item.origin.kind is OriginKind.IMPORTED for said in imported(fresh).values() for item in said.instances
    )
    again = import_(fresh, tmp_path / "out", kind)
    assert (again["images"], again["unchanged"]) == (0, len(entries)), "the second changes nothing, and says so"


def test_coco_polygons_too(finished: Path, fresh: Path, tmp_path: Path) -> None:
    export(finished, "coco", tmp_path / "rle")
    export(finished, "coco", tmp_path / "polygons", "--segmentation", "polygons")
    import_(fresh, tmp_path / "rle", "coco")
    before = masks(imported(fresh))
    assert import_(fresh, tmp_path / "polygons", "coco")["images"] == len(before), "another file is another word"
    assert masks(imported(fresh)) == before


def test_what_was_imported_enters_the_next_version(finished: Path, fresh: Path, tmp_path: Path) -> None:
    export(finished, "masks", tmp_path / "out")
    import_(fresh, tmp_path / "out", "masks")
    assert pipeline("run", TINY, "--workspace", fresh, "--set", "rounds=1").exit_code == 0
    _, opened, _ = open_house(TINY, workspace=fresh, create=False)
    version = opened.ledger.versions.all()[-1]
    _, entries = parse_manifest(opened.blobs.read(version.id))
    kinds = {item.origin.kind for entry in entries for item in entry.instances}
    assert OriginKind.IMPORTED in kinds


@pytest.mark.skipif("MASKLOOP_DATA" not in os.environ, reason="no real data: MASKLOOP_DATA names the folder")
def test_a_published_dataset_comes_in_whole(tmp_path: Path) -> None:
    """74 photographs and 305 balloons, images and labels, into a workspace that knows none of them."""
    data = Path(os.environ["MASKLOOP_DATA"]) / "balloon"
    config = tmp_path / "config.yaml"
    config.write_text(TINY.read_text().replace("[coin, ring, leaf, star]", "[coin, ring, leaf, star, ballon]"))
    more = ("--images", data / "images", "--rename", "balloon=ballon")
    found = import_(tmp_path / "ws", data / "annotations.json", "coco", *more, config=config)
    assert (found["images"], found["instances"], found["problems"]) == (74, 305, [])
    export = ("export", config, "--workspace", tmp_path / "ws", "--out", tmp_path / "out")
    assert "no dataset version yet" in pipeline(*export).stderr


# --- splits and groups ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--rename", "ring=star")])
@pytest.mark.parametrize("kind", FORMATS)
def test_splits_and_groups_come_along_into_a_new_workspace(
    kind: str, more: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    export(finished, kind, tmp_path / "out")
    images = finished / "scenes" if kind == "table" else tmp_path / "out/images"
    new, salt = tmp_path / "new", ("--set", "ingest.split.salt=another")
    told = import_(new, tmp_path / "out", kind, "--images", images, *salt, *more)
    assert told["problems"] == []
    assert not any("another split" in note for note in told["notes"])
    named, here = places(finished), places(new)
    assert told["joined"] == len(here)
    moved = {key for key in here if here[key] != named[key]}
    exported = {path.stem for path in (tmp_path / "out").rglob("*.png")} or {key[:16] for key in here}
    assert not {key[:16] for key in moved} & exported, "only what is in no version goes by its hash"
    assert {split for split, _ in here.values()} == {"train", "val"}


def test_a_video_stays_together(finished: Path, tmp_path: Path) -> None:
    """Its name comes from the manifest, and images that are there already keep their split, with a note."""
    export(finished, "coco", tmp_path / "out")
    manifest = tmp_path / "out/manifest.jsonl"
    header, *lines = manifest.read_text().splitlines()
    rows = [json.loads(line) | {"group": "clip", "split": "val"} for line in lines]
    manifest.write_text("\n".join([header, *(json.dumps(row, separators=(",", ":")) for row in rows)]))
    for path in (tmp_path / "out/annotations").glob("*.json"):
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["split"] = "val"
        path.write_text(json.dumps(content))
    images = ("--images", tmp_path / "out/images")
    told = import_(tmp_path / "new", tmp_path / "out", "coco", *images)
    assert set(places(tmp_path / "new").values()) == {("val", "clip")}
    before = places(finished)
    count = sum(before[row["sample"]][0] != "val" for row in rows)
    known = import_(finished, tmp_path / "out", "coco", *images)
    assert (told["joined"], known["joined"]) == (len(rows), 0)
    assert f"{count} images are in another split here than the file says: a split never moves" in known["notes"]
    assert places(finished) == before


def test_an_exported_folder_is_a_source_with_its_splits(finished: Path, tmp_path: Path) -> None:
    export(finished, "coco", tmp_path / "out")
    source = f"- {{kind: coco, path: {tmp_path / 'out'}}}"
    (tmp_path / "config.yaml").write_text(re.sub(r"- \{kind: scenes.*\}", source, TINY.read_text()))
    assert pipeline("ingest", tmp_path / "config.yaml", "--workspace", tmp_path / "new").exit_code == 0
    here = places(tmp_path / "new")
    assert here == {key: place for key, place in places(finished).items() if key in here}
    assert len(imported(tmp_path / "new")) == len(here)


# --- labels of which nobody has heard -------------------------------------------------------------------------


def test_a_label_renamed_in_the_middle_of_a_project(finished: Path, tmp_path: Path) -> None:
    """The way that the refusal names: out of the old workspace, into a new one under new names."""
    renamed = TINY.read_text().replace("classes: [coin, ring, leaf, star]", "classes: [coin, hoop, leaf, star]")
    config = tmp_path / "renamed.yaml"
    config.write_text(renamed.replace("kind: scenes,", "kind: scenes, ignore: [ring],"))
    refused = pipeline("run", config, "--workspace", finished)
    assert refused.exit_code == 2
    assert "`pipeline export`" in refused.stderr
    assert "--rename OLD=NEW" in refused.stderr
    export(finished, "coco", tmp_path / "out")
    into_the_old = ("--workspace", finished, "--format", "coco", "--rename", "ring=hoop")
    assert pipeline("import", config, tmp_path / "out", *into_the_old).exit_code == 2
    new = tmp_path / "new"
    assert pipeline("ingest", config, "--workspace", new).exit_code == 0
    unknown = pipeline("import", config, tmp_path / "out", "--workspace", new, "--format", "coco")
    assert unknown.exit_code == 2
    assert "'ring'" in unknown.stderr
    assert "nothing was imported" in unknown.stderr
    before = masks(imported(new))
    told = import_(new, tmp_path / "out", "coco", "--rename", "ring=hoop", config=config)
    assert told["problems"] == []
    labels = {label for rows in masks(imported(new)).values() for label, _ in rows}
    assert "hoop" in labels
    assert "ring" not in labels
    assert len(before) < len(imported(new))


def test_labels_that_nobody_wants(finished: Path, fresh: Path, tmp_path: Path) -> None:
    export(finished, "yolo", tmp_path / "out")
    told = import_(fresh, tmp_path / "out", "yolo", "--ignore", "ring", "--ignore", "unicorn")
    assert told["notes"] == ["no label is called 'unicorn'"]
    assert "ring" not in {label for rows in masks(imported(fresh)).values() for label, _ in rows}


@pytest.mark.parametrize("words", [["ring"], ["=hoop"], ["ring="], ["ring=a", "ring=b"]])
def test_renaming_that_means_nothing(words: list[str], fresh: Path, tmp_path: Path) -> None:
    options = [part for word in words for part in ("--rename", word)]
    result = pipeline("import", TINY, tmp_path, "--workspace", fresh, "--format", "yolo", *options)
    assert result.exit_code == 2
    assert "--rename" in result.stderr


# --- whose labels are they? -----------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A configuration for a folder of three images, two of which share a name."""
    for number, name in enumerate(("a/x.png", "b/x.png", "b/y.png")):
        picture(tmp_path / "pool" / name, number)
    source = f"{{kind: images, path: {tmp_path / 'pool'}}}"
    text = re.sub(r"- \{kind: scenes.*\}", f"- {source}", TINY.read_text()).replace("[coin, ring", "[cat, ring")
    text = text.replace("kind: ground_truth, skill: 0.6", "kind: ground_truth")
    (tmp_path / "config.yaml").write_text(text)
    assert pipeline("ingest", tmp_path / "config.yaml", "--workspace", tmp_path / "ws").exit_code == 0
    return tmp_path / "config.yaml"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (32, 48, 3), dtype=np.uint8))


def coco(folder: Path, *names: str, size_hw: tuple[int, int] = (32, 48)) -> Path:
    """One cat in each image."""
    ring = [2, 2, 20, 2, 20, 20, 2, 20]
    height, width = size_hw
    content = {
        "images": [{"id": n, "file_name": name, "height": height, "width": width} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "segmentation": [ring]} for n, _ in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps(content))
    return folder / "labels.json"


def told(project: Path, path: Path, *more: str | Path) -> dict[str, Any]:
    """What an import says, whatever its exit code."""
    place = ("--workspace", project.parent / "ws", "--format", "coco", "--json")
    return json_of(pipeline("import", project, path, *place, *more))


def test_a_name_counts_where_one_image_has_it(project: Path, tmp_path: Path) -> None:
    found = told(project, coco(tmp_path / "l", "y.png", "x.png", "z.png"))
    assert (found["images"], found["instances"]) == (1, 1)
    assert "2 images of the workspace have this name" in found["problems"][0]
    assert "knows no image of this name" in found["problems"][1]


def test_content_tells_what_a_name_does_not(project: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "pool", tmp_path / "l" / "images")
    (tmp_path / "l/images/b/y.png").rename(tmp_path / "l/images/b/other.png")
    found = told(project, coco(tmp_path / "l", "a/x.png", "b/x.png", "b/other.png"))
    assert (found["images"], found["problems"]) == (3, [])


def test_nothing_usable_is_an_error(project: Path, tmp_path: Path) -> None:
    path = coco(tmp_path / "l", "x.png")
    result = pipeline("import", project, path, "--workspace", tmp_path / "ws", "--format", "coco")
    assert result.exit_code == 1
    assert "nothing was imported" in result.stdout
    assert "not used" in result.stdout


def test_a_folder_of_another_format_is_an_error(finished: Path, fresh: Path, tmp_path: Path) -> None:
    export(finished, "coco", tmp_path / "out")
    result = pipeline("import", TINY, tmp_path / "out", "--workspace", fresh, "--format", "yolo")
    assert result.exit_code == 1
    assert "nothing was imported" in result.stdout
    assert "are they of another format?" in result.stdout


def test_numbers_without_names_are_told(finished: Path, fresh: Path, tmp_path: Path) -> None:
    export(finished, "yolo", tmp_path / "out")
    (tmp_path / "out/data.yaml").unlink()
    (note,) = import_(fresh, tmp_path / "out", "yolo")["notes"]
    assert "class numbers were taken as 0 coin, 1 ring, 2 leaf, 3 star, by project.classes" in note


def test_new_images_join_the_pool_first(project: Path, tmp_path: Path) -> None:
    picture(tmp_path / "more/new.png", 9)
    (tmp_path / "more/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    path = coco(tmp_path / "l", "new.png", "broken.png")
    assert told(project, path)["images"] == 0
    place = ("--workspace", project.parent / "ws", "--format", "coco", "--images", tmp_path / "more")
    refused = pipeline("import", project, path, *place, "--rename", "cat=cow")
    assert refused.exit_code == 2
    assert "no labels were imported, but images joined the pool (1)" in refused.stderr
    found = told(project, path, "--images", tmp_path / "more")
    assert found["images"] == 1
    assert found["problems"] == [
        "broken.png: the workspace does not have this image: `--images DIR` takes in those of a folder"
    ]
    assert told(project, path, "--images", tmp_path / "more")["unchanged"] == 1


def test_an_image_that_was_replaced_under_the_same_name_takes_no_labels(project: Path, tmp_path: Path) -> None:
    picture(tmp_path / "pool/b/y.png", 77)
    path = coco(tmp_path / "l", "y.png")
    (problem,) = told(project, path)["problems"]
    assert "labels of which image?" in problem
    assert "another image lies in its file's place" in problem
    # Also once the new one has come in: the labels may be older than that.
    assert len(told(project, path, "--images", tmp_path / "pool")["problems"]) == 1
    assert told(project, path, "--images", tmp_path / "pool" / "b")["problems"] == [], "the file itself tells"


def test_an_image_beside_the_labels_that_is_another_takes_none(project: Path, tmp_path: Path) -> None:
    picture(tmp_path / "l/images/y.png", 78)
    (problem,) = told(project, coco(tmp_path / "l", "y.png"))["problems"]
    assert "is not the one that the workspace knows by this name" in problem


def test_labels_of_another_size_are_refused(project: Path, tmp_path: Path) -> None:
    (problem,) = told(project, coco(tmp_path / "l", "y.png", size_hw=(64, 96)))["problems"]
    assert "labels are for height x width (64, 96)" in problem


def test_masks_that_a_tool_marks_as_crowds(project: Path, tmp_path: Path) -> None:
    """As CVAT writes what was painted with a brush."""
    path = coco(tmp_path / "l", "y.png")
    content = json.loads(path.read_text())
    painted = {"counts": [32 * 4, 32 * 6, 32 * 38], "size": [32, 48]}
    content["annotations"][0] |= {"segmentation": painted, "iscrowd": 1, "attributes": {"occluded": False}}
    path.write_text(json.dumps(content))
    (problem,) = told(project, path)["problems"]
    assert "`--crowd objects`" in problem
    assert told(project, path, "--crowd", "objects")["instances"] == 1
    (said,) = imported(tmp_path / "ws").values()
    assert said.instances[0].box == Box(4, 0, 10, 32)
    other = pipeline("import", project, path, "--format", "yolo", "--crowd", "objects")
    assert other.exit_code == 2
    assert "--crowd is about COCO files" in other.stderr


def test_labels_for_one_image_twice_are_refused(project: Path, tmp_path: Path) -> None:
    (problem,) = told(project, coco(tmp_path / "l", "y.png", "c/y.png"))["problems"]
    assert problem == "y.png: there are labels for it more than once"
    assert imported(tmp_path / "ws") == {}


def test_people_still_beat_what_is_imported(finished: Path, tmp_path: Path) -> None:
    """Labels for images that people have spoken of are kept, and change nothing of the next version."""
    export(finished, "coco", tmp_path / "out")
    told = import_(finished, tmp_path / "out", "coco", "--ignore", "star")
    assert any("all 2 rounds are finished" in note for note in told["notes"])
    assert any("6 of these images were answered by people, whose word stands" in note for note in told["notes"])
    _, opened, _ = open_house(TINY, workspace=finished, create=False)
    kinds = [said.origin.kind for said in opened.ledger.annotations.history()]
    assert OriginKind.HUMAN in kinds
    _, before = parse_manifest(opened.blobs.read(opened.ledger.versions.all()[-1].id))
    assert pipeline("run", TINY, "--workspace", finished, "--set", "rounds=3").exit_code == 0
    _, opened, _ = open_house(TINY, workspace=finished, create=False)
    _, after = parse_manifest(opened.blobs.read(opened.ledger.versions.all()[-1].id))
    by_people = {
        entry.sample_id: [item.mask for item in entry.instances if item.origin.kind is OriginKind.HUMAN]
        for entry in before
    }
    for entry in after:
        for mask in by_people.get(entry.sample_id, []):
            assert mask in [item.mask for item in entry.instances]


# --- export ---------------------------------------------------------------------------------------------------


def spread(workspace: Path) -> None:
    """Give one sample an object of two far, small parts."""
    _, opened, _ = open_house(TINY, workspace=workspace, create=False)
    sample = opened.ledger.samples.all()[0]
    bitmap = np.zeros(sample.size_hw, dtype=np.bool_)
    bitmap[2:4, 2:4] = bitmap[60:62, 60:62] = True
    content = {
        "images": [{"id": 1, "file_name": sample.id[:16] + ".png", "height": 64, "width": 64}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": {"size": [64, 64], "counts": Mask.from_bitmap(bitmap).counts.decode()},
            }
        ],
        "categories": [{"id": 1, "name": "star"}],
    }
    path = workspace.parent / "spread.json"
    path.write_text(json.dumps(content))
    assert import_(workspace, path, "coco")["images"] == 1


def test_masks_that_a_yolo_row_spoils_are_listed_and_shown(fresh: Path, tmp_path: Path) -> None:
    spread(fresh)
    assert pipeline("run", TINY, "--workspace", fresh, "--set", "rounds=1").exit_code == 0
    out = tmp_path / "yolo"
    found = export(fresh, "yolo", out)
    (row,) = found["under_floor"]
    assert row["iou"] < 0.2
    page = Path(found["sheet"]).read_text()
    assert Path(found["sheet"]) == tmp_path / "yolo-round-trip.html"
    assert page.count('src="data:image/jpeg;base64,') == 2, "before and after"
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert not list(out.rglob("*.html")), "nothing foreign inside a training folder"
    spoken = pipeline("export", TINY, "--workspace", fresh, "--out", tmp_path / "again")
    assert "1 mask under an IoU of 0.95" in spoken.stdout
    assert row["instance"] in spoken.stdout
    assert export(fresh, "yolo", tmp_path / "third", "--floor", "0.01")["under_floor"] == []
    assert not (tmp_path / "third-round-trip.html").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_nothing_half_written(
    kind: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = Path.write_bytes, [0]

    def full(path: Path, data: bytes) -> int:
        count[0] += 1
        if count[0] > 2:
            write(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    def no_table(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("pipeline.stages.export.write_table", no_table)
    before = sorted(tmp_path.iterdir())
    result = pipeline("export", TINY, "--workspace", finished, "--format", kind, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_the_help_names_every_loss() -> None:
    page = re.sub(r"\s+", " ", pipeline("export", "--help").stdout)
    assert all(loss in page for loss in LOSSES.values())
