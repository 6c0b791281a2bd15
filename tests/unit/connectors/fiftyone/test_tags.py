"""What tags in the App say, and which say nothing."""

from __future__ import annotations

import pytest

from connectors.fiftyone.tags import Ignored, TaggedLabel, TaggedSample, verdicts
from pipeline.ports import Verdict

CLASSES = ("ring", "star")


def said(*tags: str, labels: tuple[TaggedLabel, ...] = ()) -> list[Verdict | Ignored]:
    return list(verdicts(TaggedSample("s", tags, labels), CLASSES, "ann"))


def label(*tags: str, field: str = "proposals", name: str = "ring", own: str = "m1") -> TaggedLabel:
    return TaggedLabel(field, own, name, "ring", tags)


@pytest.mark.parametrize("tag", ["accept", "fix", "reject", "hold-out", "relabel:star"])
def test_a_verdict_on_a_sample(tag: str) -> None:
    assert said(tag) == [Verdict("s", tag, "ann")]


@pytest.mark.parametrize(("typed", "meant"), [(" Accept ", "accept"), ("Relabel: star", "relabel:star")])
def test_spelling_is_forgiven(typed: str, meant: str) -> None:
    assert said(typed) == [Verdict("s", meant, "ann")]


@pytest.mark.parametrize("field", ["proposals", "human", "rejected"])
def test_a_verdict_on_a_label_bears_its_own_id(field: str) -> None:
    assert said(labels=(label("reject", field=field),)) == [Verdict("s", "reject", "ann", "m1")]


def test_a_label_that_was_renamed_says_so() -> None:
    assert said(labels=(label(name="star"),)) == [Verdict("s", "relabel:star", "ann", "m1")]


def test_a_strange_tag_is_told_as_it_was_written() -> None:
    (ignored,) = said("Night shift")
    assert isinstance(ignored, Ignored)
    assert ignored.tag == "Night shift"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (label("relabel:cat"), "'cat' is no class"),
        (label(name="cat"), "'cat' is no class"),
        (label("hold-out"), "whole sample"),
        (label("accept", field="truth"), "only there to be looked at"),
        (label("accept", field="before"), "only there to be looked at"),
        (label("accept", own=""), "only there to be looked at"),
    ],
)
def test_what_cannot_be_meant_is_no_verdict(one: TaggedLabel, why: str) -> None:
    (ignored,) = said(labels=(one,))
    assert isinstance(ignored, Ignored)
    assert why in ignored.reason


def test_verdicts_that_contradict_each_other_all_fall() -> None:
    found = said("accept", "reject", "fix")
    assert [one.tag for one in found if isinstance(one, Ignored)] == ["accept", "reject"]
    assert [one.decision for one in found if isinstance(one, Verdict)] == ["fix"]


def test_the_same_tag_twice_is_one_verdict() -> None:
    assert said("fix", "Fix") == [Verdict("s", "fix", "ann")]
