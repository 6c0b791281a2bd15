"""Do splits stay where they are? `python -m benchmarks.splits [--repeats 3] [--json]`.

A folder of 1,000 images is divided 90 : 10 : 0, and then 1, 10, 100 and 10,000 images more come into it, under names
that lie anywhere among the old ones. Told is the share of the old validation images that are train images afterwards:
for `pipeline ingest`, which remembers, and for Ultralytics' `autosplit`, which draws again over the sorted names.

Then copies (JPEG at quality 50, half the size, darker) of generated scenes come into a folder with their originals:
told is the share of copies that lie in the split of their original, and how many pairs of different scenes were taken
for copies. The peer is `autosplit` again, which does not look.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._harness import machine
from connectors.executors import serial
from pipeline.domain.geometry import Image
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.records import Sample
from pipeline.errors import DataError
from pipeline.ports import Executor, Resources
from pipeline.scenes import DEMO, scene_at
from pipeline.stages.ingest import SourceSettings, SplitSettings, ingest

FIRST = 1000
ADDED = (1, 10, 100, 10_000)
SCENES = 300
WEIGHTS = (0.9, 0.1, 0.0)
SIDE = 16
COPIES: dict[str, Callable[[Image], Image]] = {
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8),
    "darker": lambda image: (image * 0.85).astype(np.uint8),
    "quality50": lambda image: image,
}


class Pool:
    """What a workspace remembers of a folder between calls."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder = folder
        self._executor = _executor(work)
        self._known: dict[str, tuple[str, tuple[int, int]]] = {}
        self._taken: dict[str, IngestedSample] = {}

    def take(self) -> dict[str, str]:
        """Ingest what is new; the split of every file by its name."""
        for found in ingest(
            [SourceSettings(kind="images", path=self._folder)],
            SplitSettings(train=WEIGHTS[0], val=WEIGHTS[1], test=WEIGHTS[2]),
            ("object",),
            known=dict(self._known),
            quarantined={},
            executor=self._executor,
            store_image=_no_copy,
            scenes_folder=self._folder / "scenes",
            pool={key: one.sample for key, one in self._taken.items()},
            looks=lambda: {key: one.likeness for key, one in self._taken.items() if one.likeness is not None},
        ):
            if isinstance(found, IngestedSample):
                self._known[str(found.source)] = (found.sample.id, found.source_stamp)
                self._taken.setdefault(found.sample.id, found)
        return {Path(path).name: self._taken[key].sample.split for path, (key, _) in self._known.items()}

    def samples(self) -> dict[str, Sample]:
        """The samples by file name."""
        return {one.source.name: one.sample for one in self._taken.values()}


def autosplit_of(folder: Path) -> dict[str, str]:
    """The split of every file by its name, as Ultralytics draws it."""
    from ultralytics.data.split import autosplit

    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        autosplit(folder, weights=WEIGHTS)
    found = {}
    for split in ("train", "val", "test"):
        listed = folder.parent / f"autosplit_{split}.txt"
        for line in listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []:
            found[Path(line).name] = split
    return found


def moved(before: dict[str, str], after: dict[str, str]) -> float:
    """The share of what was in val that is in train now."""
    held_out = [name for name, split in before.items() if split == "val"]
    return sum(after[name] == "train" for name in held_out) / len(held_out)


def growing(seed: int) -> list[dict[str, float]]:
    """For each number of images added, the share of old validation images that moved, ours and the peer's."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        pool = Pool(folder, Path(name))

        def add(count: int) -> None:
            for _ in range(count):
                picture = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / f"{rng.bytes(8).hex()}.png"), picture)

        add(FIRST)
        ours, peer = pool.take(), autosplit_of(folder)
        rows, there = [], 0
        for more in ADDED:
            add(more - there)
            there = more
            rows.append({"ours": moved(ours, pool.take()), "peer": moved(peer, autosplit_of(folder))})
        return rows


def copying(scenes: int) -> dict[str, float]:
    """The share of copies in the split of their original, ours and the peer's; and false pairs of ours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        for number in range(scenes):
            image = scene_at(DEMO, 1, number)[0][:, :, ::-1]
            cv2.imwrite(str(folder / f"{number:05d}.png"), image)
            for kind, changed in COPIES.items():
                cv2.imwrite(
                    str(folder / f"{kind}-{number:05d}.jpg"), changed(image), [cv2.IMWRITE_JPEG_QUALITY, 50]
                )
        pool = Pool(folder, Path(name))
        divided = {"ours": pool.take(), "peer": autosplit_of(folder)}
        shares = {
            side: float(
                np.mean(
                    [
                        splits[f"{kind}-{number:05d}.jpg"] == splits[f"{number:05d}.png"]
                        for kind in COPIES
                        for number in range(scenes)
                    ]
                )
            )
            for side, splits in divided.items()
        }
        groups: dict[str, set[str]] = {}
        for file, sample in pool.samples().items():
            groups.setdefault(sample.group, set()).add(Path(file).stem.split("-")[-1])
        grouped = {sample.group for sample in pool.samples().values()}
        return {**shares, "scenes_mixed_up": sum(len(one) > 1 for one in groups.values()), "groups": len(grouped)}


def _executor(work: Path) -> Executor:
    lent = Resources(
        classes=("object",),
        seed=0,
        work=work,
        find_weights=_unused,
        read_image=_unused,
        truth=_unused,
        segmenter=_unused,
        build_segmenter=_unused,
        now=lambda: datetime.now(UTC),
    )
    return serial.build(serial.Settings(), lent)


def _unused(*_: object) -> Any:
    raise DataError("the benchmark lends nothing")


def _no_copy(_png: bytes) -> Path:
    raise DataError("a plain image wanted a copy")


def table(rows: Sequence[dict[str, float]], copies: dict[str, float]) -> list[str]:
    """The figures for people."""
    return [
        f"old validation images that are train images afterwards, of {FIRST} images:",
        "   added     ours  autosplit",
        *(f"  {more:6,d}  {row['ours']:7.1%}  {row['peer']:9.1%}" for more, row in zip(ADDED, rows, strict=True)),
        f"copies in the split of their original: ours {copies['ours']:.1%}, autosplit {copies['peer']:.1%}",
        f"groups that mix different scenes: {copies['scenes_mixed_up']:.0f}",
    ]


def main() -> None:
    """Measure, print, and exit with 1 if anything of ours moved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    drawn = [growing(seed) for seed in range(arguments.repeats)]
    rows = [
        {side: float(np.mean([run[number][side] for run in drawn])) for side in ("ours", "peer")}
        for number in range(len(ADDED))
    ]
    copies = copying(arguments.scenes)
    print("\n".join(table(rows, copies)))
    still = all(row["ours"] == 0 for run in drawn for row in run) and copies["scenes_mixed_up"] == 0
    if arguments.json:
        figures = {
            "name": "splits",
            "ours": max(row["ours"] for row in rows),
            "peer": max(row["peer"] for row in rows),
            "unit": "share of old validation images moved to train",
            "ratio": None,
            "ci95": None,
            "added": dict(zip(map(str, ADDED), rows, strict=True)),
            "copies": copies,
            "repeats": arguments.repeats,
            "agreement": {"nothing_of_ours_moved_and_no_scenes_mixed": still},
            "machine": machine(["maskloop", "ultralytics", "numpy", "opencv-python-headless"]),
        }
        print(json.dumps(figures))
    raise SystemExit(0 if still else 1)


if __name__ == "__main__":
    main()
