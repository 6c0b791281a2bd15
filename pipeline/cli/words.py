"""What a finished stage has to say, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["many", "noted", "told"]


def told(stage: str, facts: Mapping[str, Any], tally: Mapping[str, int]) -> str:
    """From the stage's facts, and from what was counted on the way (`tally`: what this call made itself)."""
    if stage in ("propose", "segment", "score"):
        return _by_models(stage, facts, tally)
    match stage:
        case "ingest":
            bad = facts.get("quarantined", 0)
            return f"{many(facts.get('samples', 0), 'image')}{f', {bad:,} set aside' if bad else ''}"
        case "select":
            return f"{facts.get('selected', 0)} of {many(facts.get('candidates', 0), 'image')} to ask about"
        case "submit":
            return f"{many(facts.get('tasks', 0), 'task')} for {facts.get('annotator', 'people')}"
        case "collect":
            return many(facts.get("answers", 0), "answer")
    return _by_training(stage, facts)


def noted(event: str, data: Mapping[str, Any]) -> str:
    """What a person should know about their splits."""
    if event == "ingest.alike":
        largest = f", the largest of {data['largest']:,} in {data['split']}" if data["largest"] > 1 else ""
        count = data["images"]
        these = f"{count:,} look like others and share" if count != 1 else "1 looks like others and shares"
        return f"of {many(data['of'], 'new image')}, {these} their split: {many(data['groups'], 'group')}{largest}"
    if event == "ingest.settings_changed":
        changed = ", ".join(f"{key} ({before!r} -> {now!r})" for key, (before, now) in data["changed"].items())
        return (
            f"changed since this workspace was made: {changed}; {many(data['samples'], 'image')} keep their split"
        )
    return f"training goes on with held-out images in it (ingest.leaks: warn): {data['reason']}"


def _by_models(stage: str, facts: Mapping[str, Any], tally: Mapping[str, int]) -> str:
    images = tally.get(f"{stage}.done", 0)
    if not images:
        return "nothing new"
    if stage == "score":
        return many(images, "image")
    boxes = tally.get("proposals", 0)
    if stage == "segment":
        again = f", {facts['escalated']:,} by the better segmenter" if facts.get("escalated") else ""
        return f"{many(tally.get('masks', 0), 'mask')} for {many(boxes, 'box', 'boxes')}{again}"
    return f"{many(boxes, 'object')} in {many(images, 'image')}, by {_model(facts.get('champion'))}"


def _by_training(stage: str, facts: Mapping[str, Any]) -> str:
    model = facts.get("model")
    if stage == "merge":
        version = str(facts.get("version", ""))[:12]
        return f"{many(facts.get('images', 0), 'labelled image')}, version {version}"
    if stage == "train":
        return f"model {model}"
    if stage == "evaluate":
        if facts.get("truth") == 0 and facts.get("promoted"):
            return f"{model} takes over unjudged: no held-out image has labels to judge it by"
        verdict = "replaces" if facts.get("promoted") else "does not replace"
        why = f": {facts['reason']}" if facts.get("reason") else ""
        return f"{model} {verdict} {_model(facts.get('champion'))}{why}"
    return ""


def _model(name: object) -> str:
    return str(name) if name and name != "start" else "the starting weights"


def many(count: int, one: str, more: str | None = None) -> str:
    """`1 box`, `1,200 boxes`."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"
