"""`pipeline log`: the life of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option, short
from pipeline.cli.words import many

if TYPE_CHECKING:
    from pipeline.services.history import Event, Life

__all__ = ["log"]


@click.command(short_help="Tell the life of one image.")
@config_options
@click.argument("sample", metavar="SAMPLE")
@json_option
def log(config: Path, overrides: tuple[str, ...], workspace: Path | None, sample: str, json_: bool) -> None:
    """Tell the life of one image of CONFIG's workspace, oldest first.

    Who proposed what, how doubtful it was, who was asked and answered what, object by object with the mask before
    and after, what reviewers decided, which dataset versions have it, which models learnt from it.

    SAMPLE is the image's file name, as much of its path as tells it from others, or the start of its id.
    """
    from pipeline.services.history import find_sample, life_of
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    life = life_of(opened, find_sample(opened, sample))
    click.echo(as_json(_report(life)) if json_ else "\n".join(_lines(life)))


def _report(life: Life) -> dict[str, Any]:
    sample = life.sample
    return {
        "sample": sample.id,
        "path": str(sample.path),
        "sources": [str(path) for path in life.sources],
        "size_hw": list(sample.size_hw),
        "split": sample.split,
        "group": sample.group,
        "events": [event.row() for event in life.events],
    }


def _lines(life: Life) -> Iterator[str]:
    sample = life.sample
    height, width = sample.size_hw
    yield f"{click.style(sample.id[:16], bold=True)}  {width} x {height} px, {sample.split}"
    yield f"{'group':<16}  {sample.group}"
    yield ""
    widest = max(len(_who(event)) for event in life.events)
    for event in life.events:
        number = str(event.round) if event.round else "-"
        line = f"{number:>3}  {event.what:<10}  {_who(event):<{widest}}  {_told(event)}"
        yield line.rstrip()
        yield from (f"{'':>17}{row}" for row in _objects(event))


def _who(event: Event) -> str:
    match event.what:
        case "ingest" if not event.facts:
            return short(event.by)
        case "merge":
            return f"version {event.by[:12]}"
    return "the starting weights" if event.by == "start" else event.by


def _told(event: Event) -> str:
    """What happened, in a few words."""
    if event.what == "ingest":
        return _imported(event) if event.facts else ""
    return _WORDS[event.what](event)


def _proposed(event: Event) -> str:
    found = ", ".join(f"{row['label']} {row['confidence']:.2f}" for row in event.objects)
    return f"{many(len(event.objects), 'object')}{f': {found}' if found else ''}"


def _segmented(event: Event) -> str:
    scores = ", ".join(f"{row['predicted_iou']:.2f}" for row in event.objects)
    unseen = f"; none for {event.facts['unseen']}" if event.facts["unseen"] else ""
    return f"{many(len(event.objects), 'mask')}{f', predicted IoU {scores}' if scores else ''}{unseen}"


def _scored(event: Event) -> str:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in event.facts["parts"].items())
    return f"uncertainty {event.facts['uncertainty']:.3f}{f' ({parts})' if parts else ''}"


def _selected(event: Event) -> str:
    return f"number {event.facts['rank']} of {many(event.facts['of'], 'image')}"


def _submitted(event: Event) -> str:
    makers = sorted({row["by"] for row in event.objects})
    shown = f"; shown {many(len(event.objects), 'object')} of {' and '.join(makers)}" if makers else ""
    return f"task {event.facts['task']}, {event.facts['state']}{shown}"


def _imported(event: Event) -> str:
    return f"{_when(event)}revision {event.facts['revision']}: {many(len(event.objects), 'object')} imported"


def _collected(event: Event) -> str:
    facts = event.facts
    about = f"{'a word on ' if facts['partial'] else ''}{many(len(event.objects), 'object')}"
    late = f", asked in round {facts['asked_in']}" if facts["asked_in"] not in (event.round, 0) else ""
    effort = f"{many(facts['clicks'], 'click')}, {facts['seconds']:.0f} s"
    gone = "; no longer stands" if facts["withdrawn"] else ""
    return f"{_when(event)}revision {facts['revision']}: {about}, {effort}{late}{gone}"


def _withdrawn(event: Event) -> str:
    return f"{_when(event)}{event.facts['reason']}: what was said up to revision {event.facts['revision']} is void"


def _reviewed(event: Event) -> str:
    about = f" of object {event.facts['instance'][:8]}" if event.facts["instance"] else ""
    return f"{_when(event)}{event.facts['decision']}{about}"


def _requested(event: Event) -> str:
    return f"{_when(event)}to be asked again ({event.facts['reason']}): {event.facts['state']}"


def _merged(event: Event) -> str:
    facts = event.facts
    if "left_out" in facts:
        return "left out"
    agreed = f", people agree {facts['agreement']:.2f}" if facts["agreement"] is not None else ""
    return f"{many(len(event.objects), 'object')} in {facts['split']}, revision {facts['revision']}{agreed}"


def _trained(_event: Event) -> str:
    return "learnt from it"


def _evaluated(event: Event) -> str:
    over = "the starting weights" if event.facts["champion"] == "start" else event.facts["champion"]
    return f"judged by it, {'' if event.facts['promoted'] else 'not '}promoted over {over}"


def _set_aside(event: Event) -> str:
    return f"set aside: {event.facts['reason']}"


_WORDS: Mapping[str, Callable[[Event], str]] = {
    "propose": _proposed,
    "segment": _segmented,
    "score": _scored,
    "select": _selected,
    "submit": _submitted,
    "collect": _collected,
    "import": _imported,
    "withdraw": _withdrawn,
    "review": _reviewed,
    "request": _requested,
    "merge": _merged,
    "train": _trained,
    "evaluate": _evaluated,
    "quarantine": _set_aside,
}


def _when(event: Event) -> str:
    return f"{event.at:%Y-%m-%d %H:%M}  " if event.at is not None else ""


def _objects(event: Event) -> Iterator[str]:
    """The objects of an answer, one a line; those of a version have been told by then."""
    if event.what not in ("collect", "import", "ingest"):
        return
    widest = max((len(row["label"]) for row in event.objects), default=0)
    for row in event.objects:
        yield f"{row['id'][:8]}  {row['label']:<{widest}}  {row['state']:<8}  {_start(row)}".rstrip()


def _start(row: Mapping[str, Any]) -> str:
    """What a person started from, and how far that was from the truth."""
    clicks = many(row["clicks"], "click") if row["clicks"] else ""
    before = row["before"]
    if before is None:
        return clicks
    renamed = f"was {before['label']}" if before["label"] != row["label"] else ""
    overlap = f"IoU {before['iou']:.3f} with what was shown" if before["iou"] is not None else ""
    return ", ".join(part for part in (clicks, renamed, overlap) if part)
