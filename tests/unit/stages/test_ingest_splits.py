"""Ingest and splits: what looks the same stays together, and nothing that is there ever moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from pydantic import ValidationError

from pipeline.domain.ingested import SetAside
from pipeline.scenes import DEMO, scene_at
from pipeline.stages.ingest import SplitSettings
from tests.unit.stages.test_ingest import Pool

HALF: dict[str, Any] = {"train": 0.5, "val": 0.5}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def draw(path: Path, number: int, quality: int | None = None) -> None:
    """A scene as PNG, or a copy of it as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Pillow.fromarray(scene_at(DEMO, 3, number)[0])
    if quality is None:
        picture.save(path)
    else:
        picture.save(path, quality=quality)


def splits(pool: Pool) -> dict[str, str]:
    return {one.source.name: one.sample.split for one in pool.samples.values()}


def groups(pool: Pool) -> dict[str, str]:
    return {one.source.name: one.sample.group for one in pool.samples.values()}


def source(root: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "images", "path": root, **more}


def test_copies_share_a_split_however_they_arrive(tmp_path: Path) -> None:
    """All at once, or the copies later: to those that are there already."""
    for number in range(12):
        draw(tmp_path / f"all/{number}.png", number)
        draw(tmp_path / f"all/{number}.jpg", number, 80)
    at_once, in_two = Pool(tmp_path / "a"), Pool(tmp_path / "b")
    at_once.take(source(tmp_path / "all"), **HALF)
    hidden = [path.rename(path.with_suffix(".later")) for path in (tmp_path / "all").glob("*.jpg")]
    in_two.take(source(tmp_path / "all"), **HALF)
    before = splits(in_two)
    for path in hidden:
        path.rename(path.with_suffix(".jpg"))
    in_two.take(source(tmp_path / "all"), **HALF)
    assert set(before.values()) == {"train", "val"}
    for pool in (at_once, in_two):
        assert len(pool.samples) == 24
        assert all(splits(pool)[f"{number}.png"] == splits(pool)[f"{number}.jpg"] for number in range(12))
        assert all(groups(pool)[f"{number}.png"] == groups(pool)[f"{number}.jpg"] for number in range(12))
    assert before.items() <= splits(in_two).items()
    assert "ingest.alike" in at_once.events


def test_copies_go_by_their_own_hash_where_nobody_looks(pool: Pool, tmp_path: Path) -> None:
    for number in range(12):
        draw(tmp_path / f"all/{number}.png", number)
        draw(tmp_path / f"all/{number}.jpg", number, 80)
    pool.take(source(tmp_path / "all"), near_duplicates="off", **HALF)
    assert any(splits(pool)[f"{number}.png"] != splits(pool)[f"{number}.jpg"] for number in range(12))
    assert all(one.likeness is None and one.sample.group == one.sample.id for one in pool.samples.values())


def test_sources_in_another_order_give_the_same_splits(tmp_path: Path) -> None:
    for number in range(8):
        draw(tmp_path / f"one/{number}.png", number)
        draw(tmp_path / f"two/{number}.jpg", number, 80)
    first, second = Pool(tmp_path / "a"), Pool(tmp_path / "b")
    first.take(source(tmp_path / "one"), source(tmp_path / "two"), **HALF)
    second.take(source(tmp_path / "two"), source(tmp_path / "one"), **HALF)
    assert splits(first) == splits(second)
    assert groups(first) == groups(second)


def yolo(root: Path, **places: int) -> Path:
    """A dataset of one scene in each split, without objects."""
    lines = [f"path: {root}"]
    for split, number in places.items():
        draw(root / f"images/{split}/{split}.png", number)
        label = root / f"labels/{split}/{split}.txt"
        label.parent.mkdir(parents=True)
        label.touch()
        lines.append(f"{split}: images/{split}")
    (root / "data.yaml").write_text("\n".join([*lines, "names: [cat, dog]"]))
    return root


def test_a_copy_of_a_held_out_image_is_held_out(pool: Pool, tmp_path: Path) -> None:
    """Also where the fractions would have all in train."""
    root = yolo(tmp_path / "data", train=1, val=2)
    draw(tmp_path / "more/copy.jpg", 2, 70)
    pool.take(source(tmp_path / "more"), {"kind": "yolo", "path": root}, train=1.0, val=0.0)
    assert splits(pool) == {"train.png": "train", "val.png": "val", "copy.jpg": "val"}


def test_what_looks_like_two_splits_is_set_aside_with_both_named(pool: Pool, tmp_path: Path) -> None:
    """Two given splits hold the same scene: a leak of the dataset's own, and no place for a third copy."""
    root = yolo(tmp_path / "data", train=1, val=2)
    draw(root / "images/val/again.jpg", 1, 90)
    (root / "labels/val/again.txt").touch()
    draw(tmp_path / "more/third.jpg", 1, 70)
    draw(tmp_path / "more/other.png", 5)
    came = pool.take({"kind": "yolo", "path": root}, source(tmp_path / "more"))
    (aside,) = [one for one in came if isinstance(one, SetAside)]
    (row,) = aside.rows
    assert row.path.name == "third.jpg"
    assert "train.png (train)" in row.reason
    assert "again.jpg (val)" in row.reason
    assert came.index(aside) == 0, "before any sample, so that a crash cannot come between"
    assert splits(pool).keys() == {"train.png", "val.png", "again.jpg", "other.png"}
    assert pool.take({"kind": "yolo", "path": root}, source(tmp_path / "more")) == [], "nor is it read again"


def test_a_set_aside_image_takes_its_second_file_with_it(pool: Pool, tmp_path: Path) -> None:
    root = yolo(tmp_path / "data", train=1, val=2)
    draw(root / "images/val/again.jpg", 1, 90)
    (root / "labels/val/again.txt").touch()
    for name in ("third.jpg", "third-copy.jpg"):
        draw(tmp_path / "more" / name, 1, 70)
    came = pool.take({"kind": "yolo", "path": root}, source(tmp_path / "more"))
    rows = [sorted(row.path.name for row in one.rows) for one in came if isinstance(one, SetAside)]
    assert rows == [["third-copy.jpg", "third.jpg"]]


def test_what_cannot_be_read_or_is_too_small_has_no_likeness_and_stops_nothing(pool: Pool, tmp_path: Path) -> None:
    draw(tmp_path / "pool/good.png", 1)
    for size in ((1, 1), (1, 500), (7, 7)):
        Pillow.new("RGB", size).save(tmp_path / f"pool/small{size[0]}x{size[1]}.png")
    (tmp_path / "pool/cut.png").write_bytes((tmp_path / "pool/good.png").read_bytes()[:400])
    for number in range(3):  # flat pictures of one colour: equal hashes, and nothing to recognise
        Pillow.new("RGB", (40 + number, 40), "grey").save(tmp_path / f"pool/flat{number}.png")
    pool.take(source(tmp_path / "pool"))
    assert splits(pool).keys() == {"good.png", "flat0.png", "flat1.png", "flat2.png"}
    assert all(one.sample.group == one.sample.id for one in pool.samples.values())
    assert len(pool.rows) == 4


def test_frames_of_a_video_and_patients_stay_together(tmp_path: Path) -> None:
    for clip in range(6):
        for frame in range(3):
            draw(tmp_path / f"pool/p{clip}_{frame:04d}.png", 10 * clip + frame)
    video, pattern = Pool(tmp_path / "a"), Pool(tmp_path / "b")
    video.take(source(tmp_path / "pool"), group_by="video", **HALF)
    pattern.take(source(tmp_path / "pool"), group_by="pattern", pattern=r"p\d", **HALF)
    assert set(groups(video).values()) == {f"pool/./p{clip}" for clip in range(6)}
    assert set(groups(pattern).values()) == {f"p{clip}" for clip in range(6)}
    for pool in (video, pattern):
        assert set(splits(pool).values()) == {"train", "val"}
        assert all(len({splits(pool)[f"p{clip}_{frame:04d}.png"] for frame in range(3)}) == 1 for clip in range(6))


def test_a_known_group_keeps_its_split_when_the_fractions_change(pool: Pool, tmp_path: Path) -> None:
    for clip in range(6):
        draw(tmp_path / f"pool/p{clip}_0.png", 10 * clip)
    pool.take(source(tmp_path / "pool"), group_by="video", **HALF)
    before = splits(pool)
    for clip in range(6):
        draw(tmp_path / f"pool/p{clip}_1.png", 10 * clip + 1)
    pool.take(source(tmp_path / "pool"), group_by="video", train=1.0, val=0.0)
    assert "val" in before.values()
    assert all(splits(pool)[f"p{clip}_1.png"] == before[f"p{clip}_0.png"] for clip in range(6))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"group_by": "pattern"}, "needs a pattern"),
        ({"pattern": "a"}, "nothing else takes one"),
        ({"group_by": "pattern", "pattern": "("}, "not a regular expression"),
        ({"near_duplicates": "maybe"}, "'group' or 'off'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SplitSettings.model_validate(settings)


def test_an_interrupted_call_has_not_read_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before it ended is not decoded again, and what comes of it is the same."""
    for number in range(6):
        draw(tmp_path / f"pool/{number}.png", number)
    whole, parted = Pool(tmp_path / "a"), Pool(tmp_path / "b")
    whole.take(source(tmp_path / "pool"), **HALF)
    read = Path.read_bytes
    opened: list[str] = []
    interrupts = [4]

    def counted(self: Path) -> bytes:
        if len(opened) in interrupts:
            interrupts.clear()
            raise KeyboardInterrupt
        opened.append(self.name)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", counted)
    with pytest.raises(KeyboardInterrupt):
        parted.take(source(tmp_path / "pool"), **HALF)
    assert parted.samples == {}
    parted.take(source(tmp_path / "pool"), **HALF)
    assert sorted(opened) == [f"{number}.png" for number in range(6)], "each file once"
    assert parted.samples == whole.samples


def test_what_was_read_without_a_likeness_is_read_again_for_it(pool: Pool, tmp_path: Path) -> None:
    draw(tmp_path / "pool/0.png", 0)
    pool.take(source(tmp_path / "pool"), near_duplicates="off")
    pool.samples.clear()
    pool.known.clear()
    pool.take(source(tmp_path / "pool"))
    (found,) = pool.samples.values()
    assert found.likeness is not None
