"""`mask_tools`: one label's large instances out of many, from a Parquet table and from COCO's JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks._many_masks import CLASSES, entries, write_coco
from pipeline.formats.table import write_table

__all__ = ["table"]

INSTANCES = 1_000_000
GOALS = {"times faster": 10.0, "share of memory": 1 / 3}
LABEL, LEAST_PX = 7, 5000.0

_OURS = """
import sys, time
from pathlib import Path
import pyarrow.dataset, pyarrow.parquet
from pipeline.formats.table import open_table
start = time.perf_counter()
label, least, path = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
wanted = ["area_px", "x1", "y1", "x2", "y2", "counts"]
table = open_table(path, wanted, [("label", "==", label), ("area_px", ">=", least)])
rows = [(r["area_px"], r["x1"], r["y1"], r["x2"] - r["x1"], r["y2"] - r["y1"], r["counts"].decode())
        for r in table.to_pylist()]
"""
_PEER = """
import contextlib, io, sys, time
from pycocotools.coco import COCO
start = time.perf_counter()
label, least, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO(path)
chosen = coco.getAnnIds(catIds=coco.getCatIds(catNms=[label]))
rows = [(row["area"], *row["bbox"], row["segmentation"]["counts"])
        for row in coco.loadAnns(chosen) if row["area"] >= least]
"""
_TOLD = """
import hashlib, json
took = time.perf_counter() - start
text = "\\n".join(" ".join([*(f"{number:.3f}" for number in numbers), counts]) for *numbers, counts in rows)
# Not getrusage: there a process begins with the peak of the one that started it.
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
answer = hashlib.sha256(text.encode()).hexdigest()
print(json.dumps({"s": took, "bytes": peak, "rows": len(rows), "answer": answer}))
"""


def table(share: float, pairs: int) -> dict[str, Any]:
    """Seconds and peak memory of either side, without imports, in a new process for each run."""
    count = int(INSTANCES * share)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"ours": folder / "instances.parquet", "peer": folder / "instances.json"}
        ordered = sorted(entries(count, np.random.default_rng(0)), key=lambda entry: entry.sample_id)
        write_table(ordered, files["ours"], lambda sample_id: f"{sample_id}.jpg")
        write_coco(ordered, files["peer"])
        sizes = {side: path.stat().st_size / 1e6 for side, path in files.items()}
        del ordered
        told: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
        for number in range(pairs):
            for side in ("ours", "peer") if number % 2 else ("peer", "ours"):
                told[side].append(_asked(_OURS if side == "ours" else _PEER, files[side]))
    seconds = {side: median(run["s"] for run in runs) for side, runs in told.items()}
    memory = {side: median(run["bytes"] for run in runs) / 1e6 for side, runs in told.items()}
    same = len({run["answer"] for runs in told.values() for run in runs}) == 1
    reached = {
        "times faster": seconds["peer"] / seconds["ours"],
        "share of memory": memory["ours"] / memory["peer"],
    }
    return {
        "instances": count,
        "rows found": told["ours"][0]["rows"],
        "megabytes": sizes,
        "seconds": seconds,
        "peak MB": memory,
        **reached,
        "same answers": same,
        "goals": GOALS,
        "held": same and (share < 1 or _reached(reached)),
    }


def _reached(figures: dict[str, float]) -> bool:
    return (
        figures["times faster"] >= GOALS["times faster"] and figures["share of memory"] <= GOALS["share of memory"]
    )


def _asked(code: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", f"{code}{_TOLD}", CLASSES[LABEL], str(LEAST_PX), str(path)]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result
