"""SIGKILL at any point of any stage, then the same command: nothing is lost, doubled, or done again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration import checker
from tests.integration.killing import OPENING, Case, Outcome, middles, read_log, survive

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[1] / "configs" / "tiny.yaml"
STAGES = ("ingest", "propose", "segment", "score", "select", "submit", "collect", "merge", "train", "evaluate")
BATCH = 4
"""`propose.batch` of the configuration: what an interrupted run may repeat."""
HELD_OUT = 5
"""More than a batch, so that a kill can come between two."""
BOUNDARIES = {"stage.started", "stage.made", "stage.finished"}
REPEATED = (".batch", ".epoch", ".answered", "ledger.commit", "file.renamed")
"""Points that are killed at in their midst too, not only when they come first."""

WORK = {
    "ingest:ingest.sample": ("ingest", "", 64),
    "propose:propose.answered": ("propose", "images", BATCH),
    "segment:segment.answered": ("segment", "images", BATCH),
    "score:score.made": ("score", "images", BATCH),
    "collect:collect.answer": ("collect", "", 1),
    "merge:folder.filled": ("merge", "", 1),
    "train:train.epoch": ("train", "", 0),
    "evaluate:propose.answered": ("evaluate", "images", BATCH),
}
"""Point -> its stage, the datum that counts its items ("" for one), and how many a kill there may repeat."""


@dataclass(frozen=True)
class Reference:
    """A run that nobody interrupted."""

    facts: checker.Facts
    counts: Counter[str]
    work: Counter[str]
    scratch: Path


def work_done(log: Sequence[tuple[str, dict[str, Any]]]) -> Counter[str]:
    done: Counter[str] = Counter()
    for point, data in log:
        if point in WORK:
            done[point] += int(data[WORK[point][1]]) if WORK[point][1] else 1
    return done


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    # In memory, where there is such a place: a kill loses nothing that was written, flushed to a disk or not.
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(prefix="maskloop-", dir=memory if os.access(memory, os.W_OK) else None))
    (outcome,) = survive([Case(CONFIG, scratch / "whole", ())])
    assert outcome.codes == (0,)
    assert outcome.complaints == ()
    log = read_log(outcome.case.log)
    facts = checker.take(outcome.case.root)
    yield Reference(facts, Counter(point for point, _ in log), work_done(log), scratch)
    shutil.rmtree(scratch)


def complaints(outcomes: Iterator[Outcome], reference: Reference) -> list[str]:
    """Everything wrong with any outcome, each with its kill points."""
    found = []
    for outcome in outcomes:
        case = outcome.case
        wrong = list(outcome.complaints)
        if outcome.codes[0] != -9:
            wrong.append(f"it was not killed: it ended with {outcome.codes[0]}")
        killed_in = Counter(str(point).partition(":")[0] for point, _ in case.kills)
        done = work_done(read_log(case.log))
        for name, (stage, _, repeatable) in WORK.items():
            kills = len(case.kills) if isinstance(case.kills[0][0], int) else killed_in[stage]
            allowed = reference.work[name] + repeatable * kills
            if done[name] > allowed:
                wrong.append(f"{name}: {done[name]} done, {reference.work[name]} by an uninterrupted run")
        found += [f"{case.name}: {text}" for text in wrong]
    return found


def cases(reference: Reference, kills: Sequence[tuple[tuple[str | int, int], ...]], name: str) -> Iterator[Case]:
    for number, points in enumerate(kills):
        yield Case(CONFIG, reference.scratch / f"{name}-{number}", points, reference.facts)


def points_of(reference: Reference, stage: str) -> list[tuple[str, int]]:
    mine = {point: count for point, count in reference.counts.items() if point.partition(":")[0] == stage}
    between_rounds = [(point, 2) for point in mine if point.endswith("round.started")]
    return [(point, 1) for point in mine] + between_rounds + middles(mine, REPEATED)


def test_the_uninterrupted_run_went_through_everything(reference: Reference) -> None:
    tables = reference.facts.tables
    assert [row[0] for row in tables["rounds"]] == [1, 2]
    assert len(reference.facts.trees) == 2
    assert len(set(reference.facts.trees.values())) == 2
    assert len(tables["tasks"]) == 6
    assert len([row for row in tables["revisions"] if row[2] == "human"]) == 6
    assert {row[1] for row in tables["marks"]} == set(STAGES)
    assert len([row for row in tables["samples"] if "val" in row]) == HELD_OUT
    assert [name for name, _ in tables["pointers"]].count("champion") == 1, "nothing was promoted"
    assert all(reference.work[name] for name in WORK), reference.work


def test_there_are_kill_points_at_every_boundary_and_inside_every_stage(reference: Reference) -> None:
    assert len(reference.counts) >= 40
    for stage in STAGES:
        names = {point.partition(":")[2] for point, _ in points_of(reference, stage)}
        assert names >= BOUNDARIES
        assert names - BOUNDARIES, f"no point inside {stage}"


@pytest.mark.parametrize("stage", [OPENING, *STAGES])
def test_a_killed_run_is_resumed(reference: Reference, stage: str) -> None:
    kills = [(kill,) for kill in points_of(reference, stage)]
    assert complaints(survive(cases(reference, kills, stage)), reference) == []


def test_a_run_is_killed_again_while_it_resumes(reference: Reference) -> None:
    rng = np.random.default_rng(0)
    points = sorted(point for point in reference.counts if not point.startswith(OPENING))
    first, second = (rng.choice(points, 12, replace=False) for _ in range(2))
    # The same point twice, and a point of an earlier or later stage, which may have been passed already.
    kills = [((str(one), 1), (str(other), 1)) for one, other in zip(first, [*first[:4], *second[4:]], strict=True)]
    assert complaints(survive(cases(reference, kills, "twice")), reference) == []


def test_a_run_is_killed_before_any_act_on_a_file(reference: Reference) -> None:
    """Also where no event is told: in the peers' own files, and while the ledger comes into being."""
    kills = [((number, 1),) for number in range(1, 200, 7)]
    assert complaints(survive(cases(reference, kills, "act")), reference) == []


def test_a_training_goes_on_after_its_last_whole_epoch(reference: Reference) -> None:
    kills = [(("train:train.epoch", nth),) for nth in range(1, reference.counts["train:train.epoch"] + 1)]
    outcomes = list(survive(cases(reference, kills, "epoch")))
    assert complaints(iter(outcomes), reference) == []
    for outcome in outcomes:
        epochs = [data["epoch"] for point, data in read_log(outcome.case.log) if point == "train:train.epoch"]
        assert epochs == [1, 2, 3, 1, 2, 3]
