"""Ingest: what becomes a sample, with which labels, in which split, and that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import ValidationError

from connectors.executors import serial, threads
from pipeline.domain.ingested import Frame, IngestedSample, Quarantined, SetAside
from pipeline.domain.likeness import Likeness
from pipeline.errors import ConfigError, DataError
from pipeline.formats.image import read_frame
from pipeline.ports import Executor
from pipeline.scenes import DEMO, scene_at
from pipeline.stages import ingest as stage
from pipeline.stages.ingest import SourceSettings, SplitSettings
from tests.fakes.people import resources

Known = Mapping[str, tuple[str, tuple[int, int]]]


class Pool:
    """What a workspace would remember between calls."""

    def __init__(self, root: Path, executor: Executor | None = None) -> None:
        self.root = root.resolve()
        self.executor = executor or serial.build(serial.Settings(), resources(root))
        self.samples: dict[str, IngestedSample] = {}
        self.known: dict[str, tuple[str, tuple[int, int]]] = {}
        self.quarantined: dict[str, tuple[int, int]] = {}
        self.rows: list[Quarantined] = []
        self.events: list[str] = []
        self.frames: dict[tuple[Path, tuple[int, int]], Frame] = {}

    def take(
        self,
        *sources: Mapping[str, Any],
        classes: Sequence[str] = ("cat", "dog"),
        stop_after: int | None = None,
        **splits: Any,
    ) -> list[IngestedSample | Quarantined | SetAside]:
        """Ingest, remember as the ledger does, and return what came. `stop_after` plays a crash."""
        came: list[IngestedSample | Quarantined | SetAside] = []
        for found in stage.ingest(
            [SourceSettings.model_validate(source) for source in sources],
            SplitSettings.model_validate(splits),
            classes,
            known=dict(self.known),
            quarantined=dict(self.quarantined),
            executor=self.executor,
            store_image=self._store,
            scenes_folder=self.root / "scenes",
            pool={key: one.sample for key, one in self.samples.items()},
            looks=self._looks,
            recall=lambda path, stamp: self.frames.get((path, stamp)),
            remember=lambda path, stamp, frame: self.frames.update({(path, stamp): frame}),
            emit=self._hear,
        ):
            came.append(found)
            if isinstance(found, IngestedSample):
                self.samples.setdefault(found.sample.id, found)
                self.known[str(found.source)] = (found.sample.id, found.source_stamp)
            else:
                for row in found.rows if isinstance(found, SetAside) else (found,):
                    self.rows.append(row)
                    self.quarantined[str(row.path)] = row.stamp
            if stop_after is not None and len(came) == stop_after:
                break
        return came

    def _hear(self, name: str, /, **data: object) -> None:
        self.events.append(name)

    def _looks(self) -> dict[str, Likeness]:
        return {key: one.likeness for key, one in self.samples.items() if one.likeness is not None}

    def _store(self, png: bytes) -> Path:
        path = self.root / "copies" / f"{len(png)}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png)
        return path

    def seeds(self) -> set[str]:
        return {key for key, one in self.samples.items() if one.labels is not None}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(path)


def coco(root: Path, count: int, **first: Any) -> Path:
    """A dataset of `count` images with one cat each; `first` changes the first image's entry."""
    images = [{"id": n, "file_name": f"{n:03d}.png", "width": 24, "height": 16} for n in range(count)]
    images[0] |= first
    rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [n % 5, 2, 9, 8]} for n in range(count)]
    for number in range(count):
        draw(root / "images" / f"{number:03d}.png", number)
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def test_a_folder_becomes_samples_and_a_second_call_does_nothing(pool: Pool, tmp_path: Path) -> None:
    for number, name in enumerate(("b/2.png", "a.png", "b/1.png")):
        draw(tmp_path / "pool" / name, number)
    source = {"kind": "images", "path": tmp_path / "pool"}
    came = pool.take(source)
    assert [one.source.name for one in came if isinstance(one, IngestedSample)] == ["a.png", "1.png", "2.png"]
    assert {one.labels for one in pool.samples.values()} == {None}
    assert pool.take(source) == []


def test_a_known_file_is_not_opened(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "pool/a.png", 1)
    (tmp_path / "pool/bad.png").write_bytes(b"bad")
    source = {"kind": "images", "path": tmp_path / "pool"}
    assert len(pool.take(source)) == 2

    def explode(self: Path) -> bytes:
        raise AssertionError(f"{self} was opened")

    monkeypatch.setattr(Path, "read_bytes", explode)
    assert pool.take(source) == []


def test_a_mended_file_is_taken(pool: Pool, tmp_path: Path) -> None:
    draw(tmp_path / "pool/a.png", 1)
    (tmp_path / "pool/bad.png").write_bytes(b"bad")
    source = {"kind": "images", "path": tmp_path / "pool"}
    pool.take(source)
    draw(tmp_path / "pool/bad.png", 2)
    (taken,) = pool.take(source)
    assert isinstance(taken, IngestedSample)
    assert taken.source.name == "bad.png"


def test_the_same_bytes_are_one_sample(pool: Pool, tmp_path: Path) -> None:
    for name in ("one.png", "sub/two.png", "three.png"):
        draw(tmp_path / "pool" / name, 7)
    came = pool.take({"kind": "images", "path": tmp_path / "pool"})
    assert len(came) == 3
    assert len(pool.samples) == 1
    assert len({one.sample for one in came if isinstance(one, IngestedSample)}) == 1
    assert pool.events.count("ingest.duplicate") == 2


def test_a_labelled_source_goes_before_a_folder_that_holds_the_same_images(pool: Pool, tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 3)
    pool.take({"kind": "images", "path": root / "images"}, {"kind": "coco", "path": root})
    assert [len(one.labels or ()) for one in pool.samples.values()] == [1, 1, 1]


def test_labels_for_an_image_that_is_in_the_pool_already_are_told(pool: Pool, tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 2)
    draw(tmp_path / "pool/x.png", 0)
    pool.take({"kind": "images", "path": tmp_path / "pool"})
    pool.take({"kind": "coco", "path": root})
    assert ["in the pool already" in row.reason for row in pool.rows] == [True]


def test_seed_labels_are_labels_and_no_truth(pool: Pool, tmp_path: Path) -> None:
    pool.take({"kind": "coco", "path": coco(tmp_path / "data", 4)})
    assert all(one.labels is not None and one.truth is None for one in pool.samples.values())


def test_truth_is_hidden_but_for_the_held_out_and_the_seeds(pool: Pool, tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 40)
    source = {"kind": "coco", "path": root, "labels_are": "truth", "seed_images": 3}
    pool.take(source, train=0.5, val=0.25, test=0.25)
    by_split: dict[str, list[IngestedSample]] = {"train": [], "val": [], "test": []}
    for one in pool.samples.values():
        by_split[one.sample.split].append(one)
    assert all(one.truth is not None for one in pool.samples.values())
    assert all(one.labels == one.truth for name in ("val", "test") for one in by_split[name])
    assert sum(one.labels is not None for one in by_split["train"]) == 3
    assert len(by_split["train"]) > 10


@pytest.mark.parametrize("stop_after", [1, 11, 17, 18, 19])
def test_seeds_are_the_same_after_a_crash(stop_after: int, tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 20)
    source = {"kind": "coco", "path": root, "labels_are": "truth", "seed_images": 4}
    whole, torn = Pool(tmp_path / "whole"), Pool(tmp_path / "torn")
    whole.take(source, train=1, val=0)
    torn.take(source, stop_after=stop_after, train=1, val=0)
    torn.take(source, train=1, val=0)
    assert torn.samples == whole.samples
    assert len(whole.seeds()) == 4


def test_duplicates_of_a_seed_do_not_hide_its_labels(pool: Pool, tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 3)
    for number in range(3):
        draw(tmp_path / "pool" / f"{number}.png", number)
    source = {"kind": "coco", "path": root, "labels_are": "truth", "seed_images": 3}
    pool.take({"kind": "images", "path": tmp_path / "pool"}, source, train=1, val=0)
    assert len(pool.seeds()) == 3


@pytest.mark.parametrize("more", [1, 10, 100, 1000])
def test_more_files_move_no_sample(more: int, tmp_path: Path) -> None:
    """Half of the new files sort before the old ones, half after."""
    pool = Pool(tmp_path)
    folder = tmp_path / "pool"
    for number in range(30):
        draw(folder / f"m{number:04d}.png", number)
    source = {"kind": "images", "path": folder}
    pool.take(source, train=0.6, val=0.2, test=0.2)
    before = {key: one.sample for key, one in pool.samples.items()}
    for number in range(more):
        draw(folder / f"{'az'[number % 2]}{number:04d}.png", 1000 + number)
    fresh = Pool(tmp_path)
    fresh.take(source, train=0.6, val=0.2, test=0.2)
    assert len(fresh.samples) == 30 + more
    assert {key: fresh.samples[key].sample for key in before} == before
    assert {sample.split for sample in before.values()} == {"train", "val", "test"}


def test_given_splits_win(pool: Pool, tmp_path: Path) -> None:
    pool.take({"kind": "coco", "path": coco(tmp_path / "data", 3, split="test")}, train=1, val=0)
    assert sorted(one.sample.split for one in pool.samples.values()) == ["test", "train", "train"]


def test_folders_stay_together_if_asked(pool: Pool, tmp_path: Path) -> None:
    for number in range(60):
        draw(tmp_path / "pool" / f"patient-{number % 12}" / f"{number}.png", number)
    pool.take({"kind": "images", "path": tmp_path / "pool"}, group_by="folder", train=0.5, val=0.5)
    folders: dict[str, set[str]] = {}
    for one in pool.samples.values():
        folders.setdefault(one.sample.group, set()).add(one.sample.split)
    assert len(folders) == 12
    assert {len(splits) for splits in folders.values()} == {1}
    assert "pool/patient-3" in folders


def test_threads_give_what_one_thread_gives(tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 25)
    (root / "images/007.png").write_bytes(b"bad")
    source = {"kind": "coco", "path": root, "labels_are": "truth", "seed_images": 5}
    one = Pool(tmp_path)
    many = Pool(tmp_path, threads.build(threads.Settings(workers=4), resources(tmp_path)))
    assert one.take(source) == many.take(source)


def test_every_file_is_read_before_the_first_sample_comes(pool: Pool, tmp_path: Path) -> None:
    """What comes last may look like what comes first: nothing has a split before all are known."""
    for number in range(3):
        draw(tmp_path / f"pool/{number}.png", number)
    pool.take({"kind": "images", "path": tmp_path / "pool"}, stop_after=1)
    assert pool.events.count("ingest.image") == 3
    assert pool.events.count("ingest.sample") == 1


def test_ignored_classes_leave_the_labels_complete(pool: Pool, tmp_path: Path) -> None:
    root = coco(tmp_path / "data", 2)
    pool.take({"kind": "coco", "path": root, "ignore": ["cat"]}, classes=["dog"])
    assert [one.labels for one in pool.samples.values()] == [(), ()]
    assert pool.rows == []


def test_a_row_about_labels_comes_before_its_sample_and_does_not_hide_it(pool: Pool, tmp_path: Path) -> None:
    """A crash between the two must lose neither."""
    source = {"kind": "coco", "path": coco(tmp_path / "data", 2)}
    first = pool.take(source, classes=["dog"], stop_after=1)
    assert isinstance(first[0], Quarantined)
    assert "class 'cat'" in first[0].reason
    rest = pool.take(source, classes=["dog"])
    assert len([one for one in rest if isinstance(one, IngestedSample)]) == 2


SCENES = {"kind": "scenes", "count": 5, "seed": 3, "size": 96, "labels_are": "truth", "seed_images": 1}


def test_scenes_are_drawn_once_and_their_truth_is_exact(pool: Pool) -> None:
    pool.take(SCENES, classes=DEMO.classes)
    names = sorted(one.source.name for one in pool.samples.values())
    assert names == [f"scene-{number:05d}.png" for number in range(5)]
    spec = type(DEMO)(**{**vars(DEMO), "size_hw": (96, 96)})
    for one in pool.samples.values():
        image, objects = scene_at(spec, 3, int(one.source.stem[-5:]))
        assert np.array_equal(read_frame(one.sample.path), image)
        assert one.truth is not None
        assert [truth.label for truth in one.truth] == [thing.label for thing in objects]
        for truth, thing in zip(one.truth, objects, strict=True):
            assert truth.mask is not None
            assert np.array_equal(truth.mask.bitmap(), thing.visible)
    assert pool.take(SCENES, classes=DEMO.classes) == []


def test_scenes_that_were_written_before_a_crash_are_used(pool: Pool) -> None:
    pool.take(SCENES, classes=DEMO.classes, stop_after=2)
    pool.take(SCENES, classes=DEMO.classes)
    whole = Pool(pool.root / "whole")
    whole.take(SCENES, classes=DEMO.classes)
    assert whole.samples.keys() == pool.samples.keys()
    assert whole.seeds() == pool.seeds()


def test_scenes_of_another_seed_are_not_taken_for_these(pool: Pool) -> None:
    pool.take(SCENES, classes=DEMO.classes)
    pool.known.clear()
    with pytest.raises(DataError, match="another seed or size"):
        pool.take({**SCENES, "seed": 4}, classes=DEMO.classes)


def test_scenes_need_their_classes(pool: Pool) -> None:
    with pytest.raises(ConfigError, match="scenes hold coin"):
        pool.take(SCENES, classes=["coin"])


@pytest.mark.parametrize("key", ["path", "labels"])
def test_a_source_that_is_not_there_is_named(key: str, pool: Pool, tmp_path: Path) -> None:
    source = {"kind": "coco", "path": tmp_path, key: tmp_path / "nowhere"}
    with pytest.raises(ConfigError, match="does not exist") as raised:
        pool.take(source)
    assert raised.value.key == f"ingest.sources.0.{key}"


def test_a_folder_without_images_is_an_error(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    with pytest.raises(ConfigError, match="no images were found"):
        pool.take({"kind": "images", "path": tmp_path / "pool"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "images"}, "needs a path"),
        ({"kind": "scenes"}, "count of at least 1"),
        ({"kind": "scenes", "count": 1, "path": "x"}, "takes no path"),
        ({"kind": "images", "path": "x", "count": 3}, "takes no count"),
        ({"kind": "images", "path": "x", "labels": "y"}, "only kind coco"),
        ({"kind": "yolo", "path": "x", "crowd": "objects"}, "crowd is about COCO"),
        ({"kind": "images", "path": "x", "labels_are": "truth"}, "no labels to be truth"),
        ({"kind": "coco", "path": "x", "seed_images": 3}, "labels_are: truth"),
        ({"kind": "coco", "path": "x", "colour": 3}, "colour"),
    ],
)
def test_fields_that_do_not_fit_the_kind_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SourceSettings.model_validate(fields)


def test_fractions_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="must be 1, not"):
        SplitSettings(train=0.5, val=0.2)
