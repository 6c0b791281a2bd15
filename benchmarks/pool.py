"""A round over a large pool: `python -m benchmarks.pool [--samples 2500 5000 10000] [--json]`.

One whole round with dry models (ground_truth, ellipse, simulated, dry_run) over generated images of 64 x 64 pixels
with two objects each, once for every pool size, each in a process of its own. Told are the process's peak memory,
how much of it each further sample costs, and the seconds of every stage. Ours is the largest pool's peak, the
peer the smallest one's. What a round makes is counted afterwards: every sample of the pool must have its products.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TARGET_MB = 1536
TARGET_SAMPLES = 10_000
SIDE = 64
CLASSES = ("coin", "leaf")
CONFIG = """
project: {name: pool, classes: [coin, leaf]}
workspace: runs
rounds: 1
detector: {kind: ground_truth}
segmenter: {kind: ellipse}
annotator: {kind: simulated, target_iou: 0.75}
trainer: {kind: dry_run}
ingest:
  sources: [{kind: coco, path: pool, labels_are: truth}]
  split: {train: 0.9, val: 0.1, test: 0.0}
score: {measures: {entropy: 1.0, detector_segmenter_disagreement: 1.0}}
select: {kind: top_k, budget: {images: 100}}
"""


def make_pool(folder: Path, count: int) -> None:
    """`count` different images with two ellipses each, and their COCO file."""
    import cv2
    import numpy as np

    from pipeline.domain.mask import Mask

    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number in range(count):
        picture = np.full((SIDE, SIDE, 3), rng.integers(0, 120, 3), dtype=np.uint8)
        picture[0, 0] = (number % 256, number // 256 % 256, number // 65536)
        for index, centre_x in enumerate((16, 48)):
            stencil = np.zeros((SIDE, SIDE), dtype=np.uint8)
            centre = (centre_x + int(rng.integers(-3, 4)), int(rng.integers(16, 49)))
            axes = (int(rng.integers(6, 13)), int(rng.integers(6, 13)))
            cv2.ellipse(stencil, centre, axes, float(rng.integers(0, 180)), 0, 360, 1, thickness=-1)
            picture[stencil > 0] = rng.integers(130, 256, 3)
            counts = Mask.from_bitmap(stencil).counts.decode()
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": index + 1,
                    "segmentation": {"size": [SIDE, SIDE], "counts": counts},
                    "iscrowd": 0,
                }
            )
        name = f"{number:06d}.png"
        cv2.imwrite(str(folder / "images" / name), picture)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    body = {"images": images, "annotations": rows, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(body), encoding="utf-8")


def run_round(folder: Path) -> dict[str, Any]:
    """The worker: one round of the pool in `folder`, here; seconds by stage, and what was made."""
    from pipeline.loop import Loop
    from pipeline.wiring import open_house

    began: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def watch(event: str, /, **facts: Any) -> None:
        if event == "stage.started":
            began[facts["stage"]] = time.perf_counter()
        elif event == "stage.finished":
            seconds[facts["stage"]] = time.perf_counter() - began[facts["stage"]]

    config, workspace, house = open_house(folder / "pool.yaml", emit=watch)
    with workspace.write_lock():
        Loop(config, workspace, house, emit=watch).run()
    ledger = workspace.ledger
    train = [sample.id for sample in ledger.samples.all("train")]
    facts = {stage: ledger.rounds.marked(1, stage) or {} for stage in ("propose", "segment", "score")}
    missing = sum(len(ledger.products.pending(stage, row["fingerprint"], train)) for stage, row in facts.items())
    return {
        "samples": ledger.samples.count(),
        "pool": facts["propose"]["pool"],
        "without_products": missing,
        "ledger_kb": sum(path.stat().st_size for path in workspace.root.glob("ledger.sqlite*")) / 1024,
        "stages_s": {stage: round(spent, 3) for stage, spent in seconds.items()},
    }


def measure(count: int, scratch: Path | None = None) -> dict[str, Any]:
    """One round over `count` samples in a process of its own: what it told, its seconds and its peak memory."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        make_pool(folder / "pool", count)
        (folder / "pool.yaml").write_text(CONFIG, encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.pool", "--worker", name]
        begun = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            told = process.stdout.read() if process.stdout else ""
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the round over {count} samples ended with exit code {process.returncode}")
        return {
            **json.loads(told),
            "seconds": time.perf_counter() - begun,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
        }


def slope_kb(rows: Sequence[dict[str, Any]]) -> float:
    """Peak memory of one more sample, in kB: the least-squares line through the pool sizes."""
    import numpy as np

    samples = [row["samples"] for row in rows]
    return float(np.polyfit(samples, [row["peak_mb"] * 1024 for row in rows], 1)[0])


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rounds for people."""
    stages = list(rows[0]["stages_s"])
    yield "samples  peak MB  ledger kB/sample  seconds  cpu s  " + "  ".join(stages)
    for row in rows:
        spent = "  ".join(f"{row['stages_s'][stage]:{len(stage)}.1f}" for stage in stages)
        yield (
            f"{row['samples']:7d}  {row['peak_mb']:7.0f}  {row['ledger_kb'] / row['samples']:16.1f}"
            f"  {row['seconds']:7.1f}  {row['cpu_s']:5.1f}  {spent}"
        )
    if len(rows) > 1:
        yield f"each further sample costs {slope_kb(rows):.1f} kB of peak memory"


def main() -> None:
    """Measure, print, and exit with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[2500, 5000, TARGET_SAMPLES])
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(json.dumps(run_round(arguments.worker)))
        return
    rows = [measure(count) for count in sorted(arguments.samples)]
    print("\n".join(table(rows)))
    largest, smallest = rows[-1], rows[0]
    complete = all(row["without_products"] == 0 for row in rows)
    met = largest["peak_mb"] <= TARGET_MB
    print(f"target <= {TARGET_MB} MB: {'met' if met else 'MISSED'}; every sample has its products: {complete}")
    if arguments.json:
        from benchmarks._harness import machine

        figures = {
            "name": "pool",
            "ours": largest["peak_mb"],
            "peer": smallest["peak_mb"],
            "unit": "MB",
            "ratio": largest["peak_mb"] / smallest["peak_mb"],
            "ci95": None,
            "target": TARGET_MB,
            "slope_kb_per_sample": slope_kb(rows) if len(rows) > 1 else None,
            "agreement": {"every_sample_has_its_products": complete},
            "rounds": rows,
            "machine": machine(["maskloop", "numpy", "opencv-python-headless", "pyarrow", "sqlalchemy"]),
        }
        print(json.dumps(figures))
    raise SystemExit(0 if met and complete else 1)


if __name__ == "__main__":
    main()
