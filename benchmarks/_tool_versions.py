"""`mask_tools`: a version is merged, and its manifest made, kept and verified."""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._many_masks import CLASSES, entries, histories, sample
from pipeline.domain.dataset import counts_of, manifest_bytes, parse_manifest
from pipeline.formats.round_trip import yolo_round_trip
from pipeline.stages.merge import MergeSettings, merge, remembered
from pipeline.store.blobs import BlobStore

__all__ = ["manifest", "merged"]

ANNOTATIONS, MERGE_S = 100_000, 120.0
SAMPLES, MANIFEST_S = 100_000, 60.0


def merged(share: float) -> dict[str, Any]:
    """Seconds of one merge, alone and with the round trip of each instance; the order of arrival changes nothing."""
    rng = np.random.default_rng(0)
    told = histories(int(ANNOTATIONS * share), rng)
    samples = [sample(number) for number in range(len(told))]
    gc.collect()
    times, results = {}, []
    for name, measure in (("merge", None), ("with round trips", remembered(yolo_round_trip, ()))):
        start = time.perf_counter()
        version = merge(samples, told, lambda _sample, _id: None, MergeSettings(), round_trip=measure)
        times[name] = time.perf_counter() - start
        results.append(version.entries)
    shuffled = [[history[number] for number in rng.permutation(len(history))] for history in reversed(told)]
    again = merge(samples, shuffled, lambda _sample, _id: None, MergeSettings())
    same = again.entries == results[0] and len(results[0]) == len(results[1])
    return {
        "annotations": sum(len(history) for history in told),
        "images": len(told),
        "instances": sum(len(entry.instances) for entry in results[1]),
        "seconds": times,
        "same in any order": same,
        "goal_s": MERGE_S,
        "held": same and max(times.values()) <= MERGE_S,
    }


def manifest(share: float) -> dict[str, Any]:
    """Seconds to make and keep a manifest of ten objects an image, and to prove it as `pipeline verify` does."""
    rows = list(entries(10 * int(SAMPLES * share), np.random.default_rng(0)))
    gc.collect()
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        blobs = BlobStore(Path(folder))
        start = time.perf_counter()
        data = manifest_bytes(rows, CLASSES)
        name = blobs.put(data)
        counts = counts_of(rows)
        times["made and kept"] = time.perf_counter() - start
        start = time.perf_counter()
        damaged = list(blobs.verify())
        _, back = parse_manifest(blobs.read(name))
        held = counts_of(back) == counts and not damaged
        times["verified"] = time.perf_counter() - start
    same = back == sorted(rows, key=lambda entry: entry.sample_id) and manifest_bytes(back, CLASSES) == data
    total = sum(times.values())
    return {
        "samples": len(rows),
        "instances": sum(len(entry.instances) for entry in rows),
        "megabytes": len(data) / 1e6,
        "seconds": times,
        "same after reading": same,
        "goal_s": MANIFEST_S,
        "held": same and held and total <= MANIFEST_S,
    }
