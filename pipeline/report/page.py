"""The report's page: facts in, one HTML file out, which needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from markupsafe import Markup

from pipeline.domain.rounds import STAGES
from pipeline.report import charts
from pipeline.report.asked import POOL_BIN
from pipeline.report.gather import Report
from pipeline.report.models import Versus
from pipeline.report.people import VERDICTS
from pipeline.report.pictures import AFTER, BEFORE, colour_of
from pipeline.report.reviewers import WORDS
from pipeline.report.svg import number
from pipeline.report.words import change, duration, figure, many, percent, plain

__all__ = ["render"]

SIZES = ("small", "medium", "large")
"""COCO's."""
WANTED = {"fix": "that a reviewer sent back", "disagreement": "on which people did not agree"}
"""Why images are asked about again."""
POOL_NAMED = 4
"""Every so many bins of uncertainty one is named: a tenth."""


def render(report: Report) -> bytes:
    """The whole page. The same facts give the same bytes."""
    page: str = _page().render(report=report, **_views(report))
    return page.encode()


@cache
def _page() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    house = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    house.filters |= {
        "duration": duration,
        "many": many,
        "figure": figure,
        "change": change,
        "plain": plain,
        "percent": percent,
    }
    return house.get_template("page.html")


def _views(report: Report) -> dict[str, Any]:
    """What the template cannot work out by itself: charts, and numbers in words."""
    unit, seconds = _unit(max((trial.human_seconds for trial in report.models.trials), default=0.0))
    people = "simulated" if report.simulated else "human"
    newest = report.models.trials[-1] if report.models.trials else None
    return {
        "models": report.models,
        "labour": report.labour,
        "data": report.data,
        "people": people,
        "version": version("maskloop"),
        "colours": {"before": BEFORE, "after": AFTER},
        "verdicts": VERDICTS,
        "words": WORDS,
        "stages": STAGES,
        "wanted": WANTED,
        "palette": [(name, colour_of(index)) for index, name in enumerate(report.classes)],
        "by_images": _curve(
            report,
            "images that people answered",
            [(trial.labelled, many(trial.labelled, "image")) for trial in report.models.trials],
        ),
        "by_time": _curve(
            report,
            f"{people} time, {unit}",
            [
                (trial.human_seconds / seconds, f"{duration(trial.human_seconds)} of {people} time")
                for trial in report.models.trials
            ],
        ),
        "by_class": _versus(report, newest.classes if newest else {}, report.classes),
        "by_size": _versus(report, newest.sizes if newest else {}, SIZES),
        "clicks": _columns(_clicks(report), "clicks", "masks"),
        "seconds": _columns(_spans(report), "seconds", "images"),
        "pools": {row.round: _pool(row.pool) for row in report.asked if row.pool},
        "reliability": _reliability(report),
        "totals": _totals(report),
    }


def _curve(report: Report, x_label: str, after: Sequence[tuple[float, str]]) -> Markup | None:
    """A candidate's figure for each round, from the starting weights on, at x; `after` has that in words too."""
    models = report.models
    points = []
    if models.start.value is not None:
        said, ends = f"starting weights: {figure(models.start)}", (models.start.low, models.start.high)
        points.append(charts.Point(0, models.start.value, said, *ends, solid=False))
    for (x, spent), trial in zip(after, models.trials, strict=True):
        found = trial.whole.candidate
        if found.value is not None:
            word = "promoted" if trial.promoted else "not promoted"
            said = f"round {trial.round}: {figure(found)} after {spent}, {word}"
            points.append(charts.Point(x, found.value, said, found.low, found.high, solid=trial.promoted))
    if not any(point.x for point in points):
        return None
    return charts.curve(points, x_label, f"{models.kind} mAP50-95, held out")


def _versus(report: Report, rows: Mapping[str, Versus], order: Sequence[str]) -> Markup | None:
    """A candidate's figures, with the champion's as rings, in this order."""
    found = []
    for name in order:
        row = rows.get(name)
        if row is not None and row.candidate.value is not None:
            written, before = figure(row.candidate), row.champion.value
            said = f"{name}: {written}, {many(row.instances, 'true object')}"
            if before is not None:
                said += f"; champion {figure(row.champion)}"
                written = f"{before:.3f} → {written}"
            ends = row.candidate.low, row.candidate.high
            found.append(charts.Interval(name, row.candidate.value, written, said, *ends, before))
    return charts.intervals(found, f"{report.models.kind} AP50-95") if found else None


def _columns(rows: Sequence[tuple[str, int, str]], x_label: str, y_label: str) -> Markup | None:
    """(name, count, what both come to in words) each."""
    return charts.columns([charts.Bar(*row) for row in rows], x_label, y_label) if rows else None


def _clicks(report: Report) -> list[tuple[str, int, str]]:
    found = []
    for name, count in report.labour.clicks_each:
        clicks = many(int(name.rstrip("+")), "click") + (" or more" if name.endswith("+") else "")
        found.append((name, count, f"{clicks}: {many(count, 'mask')}"))
    return found


def _spans(report: Report) -> list[tuple[str, int, str]]:
    last = len(report.labour.seconds_each) - 1
    found = []
    for index, (low, high, count) in enumerate(report.labour.seconds_each):
        time = f"{number(low)} seconds or more" if index == last else f"{number(low)} to {number(high)} seconds"
        found.append((f"{number(low)}–{number(high)}", count, f"{time}: {many(count, 'image')}"))
    return found


def _pool(pool: Sequence[tuple[int, int]]) -> Markup:
    each = POOL_BIN
    bars = [
        charts.Bar(
            number(index * each) if index % POOL_NAMED == 0 else "",
            every,
            f"{index * each:.2f} to {(index + 1) * each:.2f}: {many(every, 'candidate')}, {taken:,} asked",
            strong=taken,
        )
        for index, (every, taken) in enumerate(pool)
    ]
    return charts.columns(bars, "uncertainty", "candidates", height=190.0)


def _reliability(report: Report) -> Markup | None:
    found = report.labour.calibration
    if found is None:
        return None
    return charts.reliability(found.bins, "IoU that the segmenter told", "IoU with the person's mask")


def _totals(report: Report) -> dict[str, dict[Any, float]]:
    """Seconds by stage and by round."""
    stages: dict[Any, float] = {}
    rounds: dict[Any, float] = {}
    for (round_, stage), seconds in report.times.items():
        stages[stage] = stages.get(stage, 0.0) + seconds
        rounds[round_] = rounds.get(round_, 0.0) + seconds
    return {"stages": stages, "rounds": dict(sorted(rounds.items()))}


def _unit(most_s: float) -> tuple[str, float]:
    if most_s >= 7200:
        return "hours", 3600.0
    return ("minutes", 60.0) if most_s >= 120 else ("seconds", 1.0)
