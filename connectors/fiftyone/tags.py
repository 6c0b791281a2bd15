"""Tags that people set in the App, as verdicts: by our own ids, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.ports import Verdict

__all__ = ["DECISIONS", "FIELDS", "Ignored", "TaggedLabel", "TaggedSample", "is_verdict", "relabelled", "verdicts"]

DECISIONS = ("accept", "fix", "reject", "hold-out")
"""The tags without an argument; `relabel:NAME` is the other one."""

FIELDS = ("proposals", "human", "rejected")
"""The fields whose labels can be spoken of; the others are there to be looked at."""


@dataclass(frozen=True)
class TaggedLabel:
    """One label of the App: its field, our id ("" if it is not ours), what it is called now and was called when it was
    put there, and its tags."""

    field: str
    instance_id: str
    label: str
    said: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class TaggedSample:
    """One sample of the App, with those of its labels that people have tagged or changed."""

    sample_id: str
    tags: tuple[str, ...]
    labels: tuple[TaggedLabel, ...]


@dataclass(frozen=True)
class Ignored:
    """A tag that is no verdict, and why."""

    tag: str
    reason: str


def verdicts(sample: TaggedSample, classes: Sequence[str], author: str) -> Iterator[Verdict | Ignored]:
    """What the tags of one sample say. A label that was renamed in the App says `relabel:NAME`."""
    for tag, wrong in _sorted(sample.tags, classes):
        yield Ignored(tag, wrong) if wrong else Verdict(sample.sample_id, tag, author)
    for label in sample.labels:
        for tag, bad in _sorted((*label.tags, *relabelled(label.label, label.said)), classes):
            wrong = bad or _misplaced(tag, label)
            yield Ignored(tag, wrong) if wrong else Verdict(sample.sample_id, tag, author, label.instance_id)


def relabelled(label: str, said: str) -> tuple[str, ...]:
    """The tag that says what a renamed label says; none for one that bears its name still."""
    return (f"relabel:{label}",) if said and label != said else ()


def is_verdict(tag: str) -> bool:
    """Whether it is meant as one, right or wrong."""
    written = _spelled(tag)
    return written in DECISIONS or written.startswith("relabel:")


def _sorted(tags: Iterable[str], classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each tag once, and what is wrong with it; several that contradict each other are all wrong."""
    said = {_spelled(tag): None for tag in tags}
    wrong = {tag: _wrong(tag, classes) for tag in said}
    judging = [tag for tag in said if not wrong[tag] and tag not in {"fix", "hold-out"}]
    for tag in said:
        others = [other for other in judging if other != tag] if tag in judging else []
        yield tag, f"it contradicts {', '.join(others)}" if others else wrong[tag]


def _spelled(tag: str) -> str:
    """A tag as we write it, if it is one of ours: people type "Accept" and "relabel: cat" too."""
    word, colon, label = tag.strip().partition(":")
    if colon and word.strip().lower() == "relabel":
        return f"relabel:{label.strip()}"
    return tag.strip().lower() if tag.strip().lower() in DECISIONS else tag


def _wrong(tag: str, classes: Sequence[str]) -> str:
    word, colon, label = tag.partition(":")
    if tag in DECISIONS:
        return ""
    if word != "relabel" or not colon:
        return f"it is no verdict ({', '.join(DECISIONS)}, relabel:NAME are)"
    return "" if label in classes else f"{label!r} is no class ({', '.join(classes)})"


def _misplaced(tag: str, label: TaggedLabel) -> str:
    if label.field not in FIELDS or not label.instance_id:
        return f"labels of {label.field!r} are only there to be looked at"
    return "only a whole sample can be held out" if tag == "hold-out" else ""
