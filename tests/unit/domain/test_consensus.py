from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.domain.consensus import Consensus, Method, consensus, majority, staple
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State

SIZE = (40, 60)
HERE, SHIFTED, THERE = Box(5, 5, 25, 25), Box(6, 5, 26, 25), Box(35, 10, 55, 30)


def one(
    key: str, author: str, box: Box = HERE, state: State = State.EDITED, label: str = "disc", clicks: int = 0
) -> Instance:
    origin = Origin(OriginKind.HUMAN, author)
    return Instance(key, label, box, Mask.from_box(box, SIZE), origin, state, clicks=clicks)


def agreed(*said: tuple[str, list[Instance]], method: Method = "majority", match_iou: float = 0.5) -> Consensus:
    return consensus(dict(said), method=method, match_iou=match_iou)


def test_what_everybody_accepts_is_accepted() -> None:
    said = [(name, [one("m", name, state=State.ACCEPTED)]) for name in ("a", "b")]
    together = agreed(*said)
    [item] = together.instances
    assert (item.id, item.state, item.origin.name) == ("m", State.ACCEPTED, "a + b")
    assert item.mask == said[0][1][0].mask
    assert together.agreement == 1.0
    assert together.by_author == {"a": 1.0, "b": 1.0}


def test_objects_of_different_ids_meet_by_shape_and_those_of_one_id_by_id() -> None:
    together = agreed(
        ("a", [one("a1", "a", HERE, State.DRAWN), one("m", "a", THERE)]),
        ("b", [one("b1", "b", SHIFTED, State.DRAWN), one("m", "b", Box(0, 30, 10, 40))]),
    )
    assert [item.id for item in together.instances] == ["a1", "m"]
    assert together.instances[0].state is State.DRAWN
    shapes = Mask.from_box(HERE, SIZE).iou(Mask.from_box(SHIFTED, SIZE))
    assert together.agreement == pytest.approx(shapes / 2), "of the second object they mean different places"


def test_most_people_decide_on_presence_class_and_pixels() -> None:
    together = agreed(
        ("a", [one("m", "a", HERE, label="disc", clicks=1), one("a1", "a", THERE)]),
        ("b", [one("m", "b", HERE, label="ring", clicks=2)]),
        ("c", [one("m", "c", SHIFTED, label="ring", clicks=3)]),
    )
    [item] = together.instances
    assert (item.label, item.clicks, item.mask) == ("ring", 6, Mask.from_box(HERE, SIZE))
    assert item.state is State.EDITED
    assert together.by_author["a"] < together.by_author["b"]
    assert together.by_author["a"] < together.by_author["c"]


def test_who_rejects_what_was_shown_votes_against_it() -> None:
    rejected = [one("m", "a", state=State.REJECTED)]
    outvoted = agreed(("a", rejected), ("b", [one("m", "b")]), ("c", [one("m", "c")]))
    assert [item.state for item in outvoted.instances] == [State.EDITED]
    gone = agreed(("a", rejected), ("b", [one("m", "b", state=State.REJECTED)]), ("c", [one("m", "c")]))
    assert [(item.state, item.origin.name) for item in gone.instances] == [(State.REJECTED, "a + b + c")]
    assert agreed(("a", rejected), ("b", [one("m", "b", state=State.REJECTED)])).agreement == 1.0


def test_a_rejected_object_drawn_anew_in_its_place_is_one_object() -> None:
    together = agreed(
        ("a", [one("m", "a", state=State.REJECTED), one("a1", "a", SHIFTED, State.DRAWN)]),
        ("b", [one("m", "b")]),
    )
    [item] = together.instances
    assert item.state is State.EDITED
    assert together.agreement > 0.9


def test_with_two_people_doubt_keeps_the_object_and_shows_in_the_agreement() -> None:
    together = agreed(("a", [one("a1", "a")]), ("b", []))
    assert [item.id for item in together.instances] == ["a1"]
    assert together.agreement == 0.0


def test_nobody_sees_anything() -> None:
    assert agreed(("a", []), ("b", [])) == Consensus((), 1.0, {"a": 1.0, "b": 1.0})


def test_a_proposal_that_nobody_judged_stays_one() -> None:
    for other in (HERE, SHIFTED):
        said = [("a", [one("m", "a", HERE, State.PROPOSED)]), ("b", [one("m", "b", other, State.PROPOSED)])]
        assert [item.state for item in agreed(*said).instances] == [State.PROPOSED]


def test_boxes_without_masks_meet_in_the_middle() -> None:
    said = [
        (name, [replace(one("m", name), mask=None, box=box)])
        for name, box in (("a", HERE), ("b", SHIFTED), ("c", SHIFTED))
    ]
    [item] = agreed(*said).instances
    assert (item.mask, item.box) == (None, SHIFTED)


def votes(*boxes: Box) -> list[np.ndarray]:
    return [Mask.from_box(box, SIZE).bitmap() for box in boxes]


def test_majority_keeps_the_pixels_that_half_of_the_people_hold() -> None:
    three = majority(votes(HERE, HERE, THERE))
    assert np.array_equal(three, votes(HERE)[0])
    two = majority(votes(HERE, SHIFTED))
    assert np.array_equal(two, votes(HERE)[0] | votes(SHIFTED)[0])


def test_staple_trusts_those_who_agree_with_the_others() -> None:
    """Two careful people against two careless ones, who err in different ways: the majority ties, STAPLE does not."""
    wide, low = Box(0, 0, 60, 28), Box(20, 20, 60, 40)
    together = staple(votes(HERE, HERE, wide, low))
    assert Mask.from_bitmap(together).iou(Mask.from_box(HERE, SIZE)) > 0.99


def test_staple_of_equal_votes_is_that_vote() -> None:
    for count in (2, 3):
        assert np.array_equal(staple(votes(*[HERE] * count)), votes(HERE)[0])


def test_the_masks_are_put_together_by_the_method_asked_for() -> None:
    said = [
        (name, [one("m", name, box)])
        for name, box in zip("abcd", (HERE, HERE, SHIFTED, Box(5, 5, 27, 27)), strict=True)
    ]
    by_pixels = agreed(*said, method="majority").instances[0].mask
    by_staple = agreed(*said, method="staple").instances[0].mask
    assert by_pixels is not None
    assert by_staple is not None
    assert by_pixels.iou(Mask.from_box(HERE, SIZE)) > 0.9
    assert by_staple.iou(Mask.from_box(HERE, SIZE)) > 0.9
