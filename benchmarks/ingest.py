"""How fast images enter the pool: `python -m benchmarks.ingest [--images 1000] [--json]`.

Generated 640 x 480 JPEGs are read, judged, decoded to the end, hashed and divided, by two threads. The peer is
what any reader has to do at least: decode each file once with OpenCV and hash it, in two threads as well.
Both take turns in one process. Every frame is compared with OpenCV's afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._harness import Comparison, alternate, machine, report
from connectors.executors import threads
from pipeline.domain.ingested import IngestedSample
from pipeline.errors import DataError
from pipeline.formats.image import read_frame, read_image
from pipeline.ports import Executor, Resources
from pipeline.stages.ingest import SourceSettings, SplitSettings, ingest

TARGET_S = 20.0
TARGET_IMAGES = 1000
PAIRS = 5


def make_images(folder: Path, count: int) -> None:
    """Photograph-like JPEGs: smooth colours with grain, about 60 kB each, no two alike."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:480, 0:640]
    for number in range(count):
        waves = rng.uniform(0.002, 0.04, (3, 2))
        colour = [127 + 90 * np.sin(rows * y + columns * x + number) for y, x in waves]
        grain = rng.normal(0, 6, (480, 640, 1))
        image = np.clip(np.stack(colour, axis=2) + grain, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])


def take_all(folder: Path, executor: Executor) -> list[IngestedSample]:
    """Ingest the folder into nowhere. Raises DataError if a file is not taken as it is."""

    def no_copy(_png: bytes) -> Path:
        raise DataError("a plain JPEG wanted a copy", path=folder)

    found = ingest(
        [SourceSettings(kind="images", path=folder)],
        SplitSettings(),
        ("object",),
        known={},
        quarantined={},
        executor=executor,
        store_image=no_copy,
        scenes_folder=folder / "scenes",
        pool={},
        looks=dict,
    )
    samples = [one for one in found if isinstance(one, IngestedSample)]
    if len(samples) != len(list(folder.iterdir())):
        raise DataError(f"only {len(samples)} files were taken", path=folder)
    return samples


def decode_all(folder: Path, executor: Executor) -> list[str]:
    """The least that reading means: one decode and one hash a file."""

    def build() -> Callable[[Path], str]:
        return decode

    return list(executor.map(build, sorted(folder.iterdir())))


def decode(path: Path) -> str:
    data = path.read_bytes()
    cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    return hashlib.sha256(data).hexdigest()


def agreement(folder: Path) -> float:
    """The share of files whose frame is, to the last bit, what OpenCV reads."""
    paths = sorted(folder.iterdir())
    same = [np.array_equal(read_image(path).image, read_frame(path)) for path in paths]
    return sum(same) / len(same)


def unused(*_: object) -> Any:
    raise DataError("the benchmark lends nothing")


def build_executor(work: Path) -> Executor:
    lent = Resources(
        classes=("object",),
        seed=0,
        work=work,
        find_weights=unused,
        read_image=unused,
        truth=unused,
        segmenter=unused,
        build_segmenter=unused,
        now=lambda: datetime.now(UTC),
    )
    return threads.build(threads.Settings(workers=2), lent)


def timing(count: int) -> tuple[Comparison, float]:
    """Pairs of ours and the peer's seconds for `count` images, and the share of frames that are equal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        make_images(folder, count)
        executor = build_executor(Path(name))
        compared = alternate(lambda: take_all(folder, executor), lambda: decode_all(folder, executor), PAIRS)
        return compared, agreement(folder)


def main() -> None:
    """Measure, print, and exit with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=TARGET_IMAGES)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    compared, same = timing(arguments.images)
    target_s = TARGET_S * arguments.images / TARGET_IMAGES
    report(
        "ingest",
        compared,
        agreement={"frames_equal_to_opencv": same},
        target=target_s,
        of="ours",
        as_json=arguments.json,
        images=arguments.images,
        machine=machine(["maskloop", "opencv-python-headless", "numpy", "pillow"]),
    )
    raise SystemExit(0 if statistics.median(compared.ours_s) <= target_s and same == 1 else 1)


if __name__ == "__main__":
    main()
