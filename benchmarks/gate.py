"""How often the gate promotes a model that is no better, and one that is: `python -m benchmarks.gate [--json]`.

Pairs of simulated models answer on simulated held-out splits: images differ in difficulty, objects within them too, and
both models find the same ones hard. Each detection has an IoU and a confidence that goes along with it, and there are
false alarms. What is simulated is only where detections hit; average precision, bootstrap and gate are maskloop's own,
with their default settings.

Where the true difference, known from a population of 20,000 images, is not above zero, every promotion is a false one:
for twins (two models of one skill), for traders (one is better at the one class, the other at the other, equal on the
whole), and for a model that is a little worse. The usual rule, that the higher figure wins, is run on the same pairs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._harness import machine
from pipeline.domain.bootstrap import average_precision
from pipeline.domain.hits import AREAS, HIT, IGNORED, MISS, THRESHOLDS, Hits
from pipeline.domain.metrics import Metrics
from pipeline.stages.evaluate import EvaluateSettings, Judgement, gate

SIZES = (5, 10, 20, 50, 100)
TRIALS = 300
TARGET = 0.05
CLASSES = ("disc", "star")
POPULATION = 20_000

Skills = tuple[float, float]
"""How well a model does at either class; one more is about one standard deviation of the objects' difficulty."""

MEDIOCRE: Skills = (0.4, 0.4)
PAIRS: dict[str, tuple[Skills, Skills]] = {
    "twins": (MEDIOCRE, MEDIOCRE),
    "traders": ((0.8, 0.0), (0.0, 0.8)),
    "a little better": ((0.5, 0.5), MEDIOCRE),
    "better": ((0.7, 0.7), MEDIOCRE),
    "much better": ((1.1, 1.1), MEDIOCRE),
    "a little worse": ((0.3, 0.3), MEDIOCRE),
}
"""Candidate and champion."""
NULL = ("twins", "traders")
"""Pairs of which neither is better, by symmetry: every promotion is a false one."""


@dataclass(frozen=True)
class Split:
    """The truth of a held-out split: of each object, its image, its class, and how hard it is."""

    images: int
    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    difficulty: npt.NDArray[np.float64]


def split(images: int, rng: np.random.Generator) -> Split:
    """One to six objects an image; objects of one image are alike hard."""
    objects = rng.integers(1, 7, images)
    image = np.repeat(np.arange(images), objects)
    hard = rng.normal(0, 0.7, images)[image] + rng.normal(0, 0.7, len(image))
    return Split(images, image, rng.integers(0, len(CLASSES), len(image)), hard)


def answers(truth: Split, skills: Skills, rng: np.random.Generator) -> Hits:
    """A model's detections: one for each object, as good as skill, difficulty and luck make it, and false alarms."""
    strength = np.array(skills)[truth.label] - truth.difficulty + rng.normal(0, 0.5, len(truth.image))
    iou = 1 / (1 + np.exp(-1.2 * strength - 0.6))
    alarms = rng.poisson(1.5, truth.images)
    false = np.repeat(np.arange(truth.images), alarms)
    image = np.concatenate([truth.image, false])
    order = np.argsort(image, kind="stable")
    ious = np.concatenate([iou, np.zeros(len(false))])[order]
    sure = np.concatenate([strength, rng.normal(-1.2, 0.7, len(false))])[order]
    outcomes = np.full((len(AREAS), len(THRESHOLDS), len(ious)), IGNORED, dtype=np.int8)
    outcomes[0] = np.where(ious >= THRESHOLDS[:, None], HIT, MISS)
    truths = np.zeros((len(AREAS), len(CLASSES), truth.images), dtype=np.int64)
    np.add.at(truths[0], (truth.label, truth.image), 1)
    label = np.concatenate([truth.label, rng.integers(0, len(CLASSES), len(false))])[order]
    names = tuple(str(number) for number in range(truth.images))
    return Hits(names, CLASSES, image[order], label, 1 / (1 + np.exp(-sure)), outcomes, truths)


def figure(hits: Hits) -> float:
    """mAP50-95 of the split as it is."""
    return float(average_precision(hits, np.ones((1, len(hits.images)), dtype=np.int64))[0, 0].mean())


def true_difference(pair: str) -> float:
    """Of a population, which both models of the pair answer on."""
    rng = np.random.default_rng(0)
    if pair in NULL:
        return 0.0
    population = split(POPULATION, rng)
    candidate, champion = (figure(answers(population, skills, rng)) for skills in PAIRS[pair])
    return candidate - champion


def trial(pair: str, images: int, seed: int) -> tuple[bool, bool]:
    """Whether a fresh split promotes the candidate: by the gate, and by the higher figure."""
    rng = np.random.default_rng([seed, images, list(PAIRS).index(pair)])
    truth = split(images, rng)
    sides = [_judgement(answers(truth, skills, rng)) for skills in PAIRS[pair]]
    groups = {name: name for name in sides[0].hits.images}
    decision = gate(sides[0], sides[1], groups, EvaluateSettings(), rng)
    whole = decision.comparison.whole
    return decision.promoted, whole is not None and whole.difference.value > 0


def _judgement(hits: Hits) -> Judgement:
    return Judgement(Metrics(len(hits.images), 0, None, None, None, None, {}), hits, "mask")


def trials(job: tuple[str, int, int]) -> tuple[int, int]:
    """How many of a job's trials promoted, by either rule."""
    pair, images, count = job
    rows = [trial(pair, images, seed) for seed in range(count)]
    return sum(gated for gated, _ in rows), sum(higher for _, higher in rows)


def interval(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share, z = successes / count, 1.96
    middle, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / scale, (middle + half) / scale


def measured(sizes: Sequence[int], most: int) -> Iterator[dict[str, Any]]:
    """Every pair on every size of split, as it is done. What is rare, false promotions, is tried more often."""
    jobs = [(pair, images, most if pair in NULL else most // 3) for pair in PAIRS for images in sizes]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    differences = {pair: true_difference(pair) for pair in PAIRS}
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        for (pair, images, count), (gated, higher) in zip(jobs, pool.map(trials, jobs), strict=True):
            low, high = interval(gated, count)
            yield {
                "pair": pair,
                "true_difference": differences[pair],
                "images": images,
                "trials": count,
                "promoted": gated / count,
                "ci95": [max(low, 0.0), high],
                "higher_figure_wins": higher / count,
            }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; fail where more than one promotion in twenty is a false one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="images of the held-out split")
    parser.add_argument("--trials", type=int, default=TRIALS, help="splits drawn for each pair and size")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core
    print("simulated pair   true gain  images  promoted  95 %              higher figure wins")
    rows = []
    for row in measured([int(size) for size in asked.sizes.split(",")], asked.trials):
        rows.append(row)
        low, high = row["ci95"]
        print(
            f"{row['pair']:<16} {row['true_difference']:9.3f} {row['images']:7d} {row['promoted']:9.3f}  "
            f"{low:.3f} to {high:.3f}   {row['higher_figure_wins']:19.3f}",
            flush=True,
        )
    false = [row for row in rows if row["true_difference"] <= 0]
    worst, usual = (max(row[key] for row in false) for key in ("promoted", "higher_figure_wins"))
    print(
        f"false promotions: at most {worst:.3f} (target <= {TARGET:g}); {usual:.3f} where the higher figure wins"
    )
    if asked.json:
        told = {"ours": worst, "peer": usual, "unit": "false promotions", "target": TARGET, "rows": rows}
        print(json.dumps({"name": "gate", **told, "simulated": True, "machine": machine(("numpy",))}))
    if worst > TARGET:
        sys.exit(1)


if __name__ == "__main__":
    main()
