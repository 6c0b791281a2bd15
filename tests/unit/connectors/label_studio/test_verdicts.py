"""What a person's regions say about the objects that were shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.label_studio.convert import Region, polygon_rows, read_regions
from connectors.label_studio.labeling_config import labeling_config, read_config
from connectors.label_studio.verdicts import verdicts
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State

SIZE = (60, 80)
TAGS = read_config(labeling_config(["coin", "ring"]))
MODEL, PERSON = Origin(OriginKind.MODEL, "model"), Origin(OriginKind.HUMAN, "ada@example.org")
WHOLE = Mask.from_box(Box(40, 10, 60, 25), SIZE)
PART = Mask.from_box(Box(40, 10, 50, 25), SIZE)
REST = Mask.from_box(Box(50, 10, 60, 25), SIZE)
ELSEWHERE = Mask.from_box(Box(2, 2, 9, 9), SIZE)


def ring() -> Mask:
    """With a hole, and a second part."""
    bitmap = Mask.from_box(Box(5, 5, 30, 30), SIZE).bitmap()
    bitmap[12:20, 12:20] = False
    bitmap[40:50, 60:70] = True
    return Mask.from_bitmap(bitmap)


def shown(name: str = "m1", mask: Mask | None = WHOLE) -> Instance:
    box = (mask.box if mask is not None else None) or Box(1, 1, 5, 5)
    return Instance(name, "ring", box, mask, MODEL, State.PROPOSED, confidence=0.5, predicted_iou=0.9)


def brush(name: str, mask: Mask, label: str = "ring") -> Region:
    return Region(name, label, "brush", mask)


def judged(known: list[Instance], regions: list[Region]) -> list[tuple[str, State, str, Mask | None]]:
    """Drawn objects are called `new`: their ids hang on their content."""
    answer = verdicts(known, regions, PERSON, task="7")
    assert all(one.origin == PERSON for one in answer), "nobody but the one who submitted has judged"
    names = {instance.id for instance in known}
    return [(one.id if one.id in names else "new", one.state, one.label, one.mask) for one in answer]


ACCEPTED = ("m1", State.ACCEPTED, "ring", WHOLE)
REJECTED = ("m1", State.REJECTED, "ring", WHOLE)


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        pytest.param([], [REJECTED], id="gone"),
        pytest.param([brush("m1", WHOLE)], [ACCEPTED], id="left as it is"),
        pytest.param([brush("m1", PART)], [("m1", State.EDITED, "ring", PART)], id="changed"),
        pytest.param([brush("m1", WHOLE, "coin")], [("m1", State.EDITED, "coin", WHOLE)], id="called otherwise"),
        pytest.param([brush("m1", PART), brush("m1", REST)], [ACCEPTED], id="two regions of one id are one mask"),
        pytest.param([brush("m1", Mask.empty(SIZE))], [REJECTED], id="erased to nothing"),
        pytest.param([brush("x", WHOLE)], [ACCEPTED], id="the same under another id"),
        pytest.param([brush("m1", WHOLE), brush("x", WHOLE)], [ACCEPTED], id="and a copy"),
        pytest.param(
            [brush("m1", WHOLE), brush("m1", WHOLE, "coin")],
            [ACCEPTED, ("new", State.DRAWN, "coin", WHOLE)],
            id="one id under two labels",
        ),
        pytest.param(
            [brush("x", ELSEWHERE, "coin")], [REJECTED, ("new", State.DRAWN, "coin", ELSEWHERE)], id="another one"
        ),
        pytest.param(
            [brush("x", ELSEWHERE), brush("y", ELSEWHERE)],
            [REJECTED, ("new", State.DRAWN, "ring", ELSEWHERE)],
            id="drawn twice",
        ),
        pytest.param(
            [
                Region("p", "ring", "keypoint", point_xy=(45, 12)),
                Region("b", "ring", "rectangle", box=Box(1, 1, 9, 9)),
            ],
            [REJECTED],
            id="prompts left behind",
        ),
    ],
)
def test_one_object_was_shown(regions: list[Region], expected: list[tuple[str, State, str, Mask | None]]) -> None:
    assert judged([shown()], regions) == expected


def test_every_shown_object_keeps_its_place() -> None:
    known = [shown("a"), shown("b", ELSEWHERE), shown("c", None), shown("d", ring())]
    answer = judged(known, [brush("new", PART), brush("d", ring()), brush("b", ELSEWHERE, "coin")])
    assert [(name, state) for name, state, _, _ in answer] == [
        ("a", State.REJECTED),
        ("b", State.EDITED),
        ("c", State.REJECTED),
        ("d", State.ACCEPTED),
        ("new", State.DRAWN),
    ]


def test_an_object_without_a_mask_can_be_given_one() -> None:
    assert judged([shown("m1", None)], [brush("m1", PART)]) == [("m1", State.EDITED, "ring", PART)]


def test_scores_are_of_the_mask_that_they_were_of() -> None:
    [kept] = verdicts([shown()], [brush("m1", WHOLE)], PERSON, task="7")
    [named] = verdicts([shown()], [brush("m1", WHOLE, "coin")], PERSON, task="7")
    [changed] = verdicts([shown()], [brush("m1", PART)], PERSON, task="7")
    assert [one.predicted_iou for one in (kept, named, changed)] == [0.9, 0.9, None]
    assert changed.box == PART.box


def test_what_is_drawn_has_the_same_id_each_time_and_another_in_another_task() -> None:
    [once] = verdicts([], [brush("x", PART)], PERSON, task="7")
    [again] = verdicts([], [brush("y", PART)], replace(PERSON, name="bob@example.org"), task="7")
    [other] = verdicts([], [brush("x", PART)], PERSON, task="8")
    assert once.id == again.id != other.id
    assert once.id.startswith("label_studio-")


def test_a_mask_that_was_shown_as_polygons_keeps_its_hole() -> None:
    rows = polygon_rows(Region("m1", "ring", "polygon", ring()), TAGS)
    known = [shown("m1", ring())]
    assert judged(known, read_regions(rows, SIZE)) == [("m1", State.ACCEPTED, "ring", ring())]
    [(_, state, _, mask)] = judged(known, read_regions(rows[:1], SIZE))
    assert state is State.EDITED
    assert mask == Mask.from_box(Box(5, 5, 30, 30), SIZE), "one part, and its hole is lost"


def test_polygons_that_were_moved_are_taken_as_drawn() -> None:
    rows = polygon_rows(Region("m1", "ring", "polygon", ring()), TAGS)
    rows[1]["value"]["points"][0][0] -= 5.0
    [(_, state, _, mask)] = judged([shown("m1", ring())], read_regions(rows, SIZE))
    assert state is State.EDITED
    assert mask is not None
    assert mask.area_px > ring().area_px


def test_clicks_belong_to_what_the_person_made() -> None:
    """An accepted object took none, whatever was tried on the way."""
    regions = [brush("m1", WHOLE), brush("m2", PART), brush("new", ELSEWHERE)]
    clicked = {("m1", WHOLE): 9, ("m2", PART): 3, ("new", ELSEWHERE): 2}
    said = verdicts(
        [shown("m1"), shown("m2", ring())], regions, PERSON, task="t", clicks=lambda *key: clicked[key]
    )
    assert [(item.state, item.clicks) for item in said] == [
        (State.ACCEPTED, 0),
        (State.EDITED, 3),
        (State.DRAWN, 2),
    ]


def test_the_clicks_of_whoever_made_what_was_shown_are_not_counted_again() -> None:
    made = replace(shown(), origin=Origin(OriginKind.HUMAN, "bo@example.org"), state=State.DRAWN, clicks=4)
    for regions in ([brush("m1", WHOLE)], [brush("m1", WHOLE, "coin")], []):
        (one,) = verdicts([made], regions, PERSON, task="7")
        assert (one.clicks, one.origin) == (0, PERSON)
