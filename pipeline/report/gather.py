"""A workspace's facts, gathered for the report: nothing is judged or drawn here but the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pipeline.config import Config
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.rounds import STAGES
from pipeline.events import Emit, silent
from pipeline.formats.image import read_frame
from pipeline.report import people
from pipeline.report.asked import AskedRound, asked_rounds
from pipeline.report.data import Data, data_of
from pipeline.report.models import Models, models_of
from pipeline.report.people import Answer, Calibration, Confusion, Judged, Share
from pipeline.report.pictures import AFTER, BEFORE, Album, Outline, Picture
from pipeline.report.reviewers import Reviewer, reviewers_of
from pipeline.store.workspace import Workspace

__all__ = ["Edit", "Labour", "Report", "gather"]

PICTURE_BYTES = 2_400_000
EDITS = 12


@dataclass(frozen=True)
class Edit:
    """A mask before and after a person's work on it, side by side; `iou` is between the two."""

    name: str
    round: int
    label_before: str
    label: str
    state: str
    author: str
    clicks: int
    iou: float
    before: Picture
    after: Picture


@dataclass(frozen=True)
class Labour:
    """What people did. The first figures are the ledger's totals, as `pipeline status` tells them, reviewers included;
    what follows speaks of the answers that stand, by each person who was asked.
    """

    images: int
    verified: int
    clicks: int
    seconds: float
    authors: Mapping[str, int]
    overall: Share | None
    by_round: Sequence[Share]
    by_class: Sequence[Share]
    clicks_each: Sequence[tuple[str, int]]
    seconds_each: Sequence[tuple[float, float, int]]
    median_s: float | None
    calibration: Calibration | None
    confusion: Confusion


@dataclass(frozen=True)
class Report:
    """Everything that the page tells. `times` are seconds by (round, stage)."""

    project: str
    classes: Sequence[str]
    simulated: bool
    rounds: int
    planned: int
    samples: Mapping[str, int]
    models: Models
    asked: Sequence[AskedRound]
    labour: Labour
    reviewers: Sequence[Reviewer]
    edits: Sequence[Edit]
    data: Data
    times: Mapping[tuple[int, str], float]
    settings: Mapping[str, str]


def gather(config: Config, workspace: Workspace, *, emit: Emit = silent) -> Report:
    """The report's facts. Reading needs no lock. Raises LedgerCorrupt for a damaged workspace."""
    emit("report.started", total=0)
    ledger = workspace.ledger
    finished = len(ledger.rounds.all())
    # A round that is under way has asked, and perhaps been answered, already.
    begun = finished + 1
    album = Album(lambda sample_id: _image(workspace, sample_id), budget=PICTURE_BYTES, emit=emit)
    names = {sample.id: sample.path.name for sample in ledger.samples.all()}
    asked = {(number, sample_id) for number in range(1, begun + 1) for sample_id in ledger.tasks.of(number)}
    said = people.answers_of(ledger.annotations.history(), asked)
    answers = sorted(said, key=lambda row: (row.round, row.sample_id))
    edits = [
        _edit(row, iou, names[row.sample_id], album) for row, iou in people.most_edited(_objects(answers), EDITS)
    ]
    data = data_of(workspace, album, begun, config.merge.agreement_floor)
    return Report(
        project=config.project.name,
        classes=config.project.classes,
        simulated=config.annotator.kind == "simulated",
        rounds=finished,
        planned=config.rounds,
        samples={split: len(ledger.samples.all(split)) for split in ("train", "val", "test")},
        models=models_of(workspace),
        asked=asked_rounds(config, workspace, album, begun),
        labour=_labour(ledger.annotations.totals(begun), answers, config.project.classes),
        reviewers=reviewers_of(ledger.decisions.all()),
        edits=edits,
        data=data,
        times={key: value for key, value in ledger.rounds.seconds().items() if key[1] in STAGES},
        settings=_settings(config),
    )


def _image(workspace: Workspace, sample_id: str) -> Image:
    """The canonical frame. Raises ImageUnreadable if the file is gone or is another one now."""
    sample = workspace.ledger.samples.get(sample_id)
    copy = sample.path.is_relative_to(workspace.blobs.root)
    return read_frame(sample.path, sha256=None if copy else sample.id)


def _objects(answers: Sequence[Answer]) -> list[Judged]:
    return list(chain.from_iterable(answer.objects for answer in answers))


def _labour(totals: tuple[int, int, int, float], answers: Sequence[Answer], classes: Sequence[str]) -> Labour:
    images, verified, clicks, seconds = totals
    objects = _objects(answers)
    rounds = sorted({answer.round for answer in answers})
    authors = sorted({answer.author for answer in answers})
    overall = people.shares([("all", objects)])
    return Labour(
        images=images,
        verified=verified,
        clicks=clicks,
        seconds=seconds,
        authors={name: sum(answer.author == name for answer in answers) for name in authors},
        overall=overall[0] if overall else None,
        by_round=people.shares((f"round {number}", _of_round(objects, number)) for number in rounds),
        by_class=people.shares((name, [row for row in objects if row.instance.label == name]) for name in classes),
        clicks_each=people.clicks_by_count(objects),
        seconds_each=people.seconds_by_bin(answers),
        median_s=people.middle([answer.seconds for answer in answers]),
        calibration=people.calibration(objects),
        confusion=people.confusion(objects, classes),
    )


def _of_round(objects: Sequence[Judged], number: int) -> list[Judged]:
    return [row for row in objects if row.round == number]


def _edit(row: Judged, iou: float, name: str, album: Album) -> Edit:
    """Both pictures show the same square: that around both masks."""
    after, before = row.instance, row.before
    shown = before.mask if before is not None else None
    around = _around(shown, after.mask) or after.box

    def picture(mask: Mask | None, colour: str) -> Picture:
        return album.close_up(row.sample_id, [Outline(mask, colour)] if mask is not None else [], around)

    return Edit(
        name=name,
        round=row.round,
        label_before=before.label if before is not None else "",
        label=after.label,
        state=after.state.value,
        author=row.author,
        clicks=after.clicks,
        iou=iou,
        before=picture(shown, BEFORE),
        after=picture(after.mask, AFTER),
    )


def _around(*masks: Mask | None) -> Box | None:
    boxes = [mask.box for mask in masks if mask is not None and mask.box is not None]
    if not boxes:
        return None
    return Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
    )


def _settings(config: Config) -> dict[str, str]:
    """What of the configuration helps to read the figures."""
    budget = config.select.budget.budget
    measures = ", ".join(f"{name} × {weight:g}" for name, weight in sorted(config.score.measures.items()))
    return {
        "detector": config.detector.kind,
        "segmenter": config.segmenter.kind,
        "annotator": config.annotator.kind,
        "trainer": config.trainer.kind,
        "uncertainty": f"{measures}; {config.score.reduce} over an image's objects",
        "selection": f"{config.select.kind}, {budget.amount} {budget.unit} a round",
        "held out": f"the split {config.evaluate.split!r}",
        "seed": str(config.seed),
    }
