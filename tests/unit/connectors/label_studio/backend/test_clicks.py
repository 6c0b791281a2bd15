"""Recorded sessions of clicks, and what the rules make of them. The segmenter paints a disc under the last point."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors.label_studio.backend.bodies import Task
from connectors.label_studio.backend.clicks import Clicks
from connectors.label_studio.backend.memory import Memory
from connectors.label_studio.backend.metrics import Timings
from connectors.label_studio.click_log import ClickLog
from connectors.label_studio.convert import read_regions
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.errors import BadFormat, ShapeMismatch
from tests.fakes.brush import BrushSegmenter
from tests.unit.connectors.label_studio.backend._tools import (
    NOON,
    SIZE_HW,
    TAGS,
    Clock,
    brush,
    disc,
    point,
    rectangle,
)

Row = dict[str, Any]
LARGE = Mask.from_box(Box(20, 20, 60, 60), SIZE_HW)
SMALL = Mask.from_box(Box(30, 30, 44, 44), SIZE_HW)


class Editor:
    """One task in Label Studio's editor: what was saved of it, and the backend that it asks."""

    def __init__(self, segmenter: BrushSegmenter | None = None) -> None:
        self.clock = Clock()
        self.segmenter = segmenter or BrushSegmenter()
        self.task: Row = {"id": 7, "data": {}, "drafts": [], "annotations": [], "predictions": []}
        self.restart()

    def restart(self) -> None:
        self.clicks = Clicks(self.segmenter, Memory(10_000_000), self.clock)

    def saves(self, where: str, *rows: Row, at: datetime | None = None, **more: Any) -> None:
        stamp = (at or self.clock.now).isoformat().replace("+00:00", "Z")
        self.task[where] = [{"id": 1, "result": list(rows), "updated_at": stamp, **more}, *self.task[where]]

    def asks(self, *rows: Row, project: str = "1") -> tuple[str, Mask] | None:
        """The region's id and mask; None for an empty answer."""
        found, score = self.answers(*rows, project=project)
        if not found:
            return None
        assert score == found[0]["score"]
        [region] = read_regions(found, SIZE_HW)
        assert region.mask is not None
        assert region.label == rows[-1]["value"][rows[-1]["type"]][0]
        return region.id, region.mask

    def answers(self, *rows: Row, project: str = "1") -> tuple[list[Row], float]:
        encoding = Encoding({}, SIZE_HW, "brush")
        return self.clicks.answer(
            project,
            Task.model_validate(json.loads(json.dumps(self.task))),
            list(rows),
            tags=TAGS,
            encoding=lambda: encoding,
            timings=Timings(),
        )


@pytest.fixture
def editor() -> Editor:
    return Editor()


def sure(answer: tuple[str, Mask] | None) -> tuple[str, Mask]:
    assert answer is not None
    return answer


def test_no_prompts_no_answer(editor: Editor) -> None:
    assert editor.asks() is None
    assert editor.segmenter.prompts == []


def test_a_first_click_beside_everything_begins_a_new_object(editor: Editor) -> None:
    name, mask = sure(editor.asks(point("p1", 70, 40)))
    assert mask == disc(70, 40)
    assert editor.segmenter.prompts[-1].is_ambiguous
    assert len(name) == 16


def test_the_id_is_that_of_project_task_and_first_prompt(editor: Editor) -> None:
    name, _ = sure(editor.asks(point("p1", 70, 40)))
    assert sure(editor.asks(point("p1", 70, 40), point("p2", 72, 40)))[0] == name
    assert sure(editor.asks(point("q1", 70, 40)))[0] != name
    assert sure(editor.asks(point("p1", 70, 40), project="2"))[0] != name
    editor.task["id"] = 8
    assert sure(editor.asks(point("p1", 70, 40)))[0] != name


def test_every_click_is_asked_once_on_what_the_one_before_led_to(editor: Editor) -> None:
    session = [point("p1", 70, 40), point("p2", 80, 40), point("p3", 75, 40, False)]
    for count in (1, 2, 3):
        _, mask = sure(editor.asks(*session[:count]))
    assert len(editor.segmenter.prompts) == 3
    last = editor.segmenter.prompts[-1]
    assert last.point_labels == (True, True, False)
    assert last.prior is not None
    bitmap = mask.bitmap()
    assert [bool(bitmap[40, x]) for x in (66, 75, 84)] == [True, False, True]


def test_the_same_request_has_the_same_answer_also_after_a_restart(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    session = [point("p1", 62, 40), point("p2", 30, 30, False), point("p3", 70, 44)]
    one_by_one = [editor.answers(*session[:count]) for count in (1, 2, 3)]
    assert [editor.answers(*session[:count]) for count in (1, 2, 3)] == one_by_one
    editor.restart()
    assert editor.answers(*session) == one_by_one[-1]
    assert editor.answers(*session[:2]) == one_by_one[1]


@pytest.mark.parametrize("begins", ["new", "edit"])
def test_what_was_changed_by_hand_between_two_clicks_is_kept(editor: Editor, begins: str) -> None:
    if begins == "edit":
        editor.saves("drafts", brush("r1", LARGE))
    editor.clock.passes(1)
    name, mask = sure(editor.asks(point("p1", 58, 40)))
    editor.clock.passes(6)
    # The prompt stays in the annotation, as after the check mark inside the picture.
    editor.saves("drafts", brush(name, mask), point("p1", 58, 40))
    once = sure(editor.asks(point("p1", 58, 40), point("p2", 64, 40)))
    assert once[1] == mask.union(disc(64, 40))
    editor.clock.passes(6)
    erased = once[1].bitmap().copy()
    erased[:39] = False
    editor.saves("drafts", brush(name, Mask.from_bitmap(erased)), point("p1", 58, 40), point("p2", 64, 40))
    request = [point("p1", 58, 40), point("p2", 64, 40), point("p3", 70, 44)]
    again, changed = sure(editor.asks(*request))
    assert again == name
    assert not changed.bitmap()[:38].any(), "the eraser's work"
    assert changed.bitmap()[44, 70]
    assert sure(editor.asks(*request)) == (again, changed)


def test_a_prompt_that_was_taken_back_is_forgotten(editor: Editor) -> None:
    first = editor.answers(point("p1", 70, 40))
    editor.answers(point("p1", 70, 40), point("p2", 80, 40))
    assert editor.answers(point("p1", 70, 40)) == first
    moved = sure(editor.asks(point("p1", 50, 40)))
    assert moved[1] == disc(50, 40)


@pytest.mark.parametrize("where", ["drafts", "annotations", "predictions"])
def test_a_click_in_a_region_edits_it_wherever_it_is_saved(editor: Editor, where: str) -> None:
    editor.saves(where, brush("r1", LARGE))
    name, mask = sure(editor.asks(point("p1", 40, 40, False)))
    assert name == "r1"
    assert mask == Mask.from_bitmap(LARGE.bitmap() & ~disc(40, 40).bitmap())


def test_drafts_go_before_annotations_and_those_before_predictions(editor: Editor) -> None:
    editor.saves("predictions", brush("machine", LARGE))
    assert sure(editor.asks(point("p1", 40, 40, False)))[0] == "machine"
    editor.saves("annotations", brush("old", LARGE), at=NOON)
    editor.saves("annotations", brush("skipped", LARGE), was_cancelled=True)
    assert sure(editor.asks(point("p2", 40, 40, False)))[0] == "old"
    editor.saves("drafts", brush("mine", LARGE))
    assert sure(editor.asks(point("p3", 40, 40, False)))[0] == "mine"
    editor.saves("drafts")
    assert editor.asks(point("p4", 40, 40, False)) is None, "the newest draft has no region any more"


def test_of_several_regions_the_smallest_is_meant_and_only_of_the_same_label(editor: Editor) -> None:
    dog = brush("d", Mask.from_box(Box(30, 30, 60, 60), SIZE_HW), "dog")
    editor.saves("drafts", brush("large", LARGE), brush("small", SMALL), dog)
    assert sure(editor.asks(point("p1", 38, 38, False)))[0] == "small"
    assert sure(editor.asks(point("p2", 38, 38, False, label="dog")))[0] == "d"
    assert sure(editor.asks(point("p3", 25, 25, False)))[0] == "large"


def test_a_negative_click_outside_edits_the_nearest_region(editor: Editor) -> None:
    assert editor.asks(point("p0", 5, 5, False)) is None
    editor.saves("drafts", brush("near", LARGE), brush("far", Mask.from_box(Box(100, 60, 110, 70), SIZE_HW)))
    assert sure(editor.asks(point("p1", 64, 40, False)))[0] == "near"
    assert sure(editor.asks(point("p2", 98, 58, False)))[0] == "far"


class Wide(BrushSegmenter):
    """An answer to one click alone covers all that is left of column 70."""

    def decode(
        self,
        encoding: Encoding,
        prompts: Any,
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        if prompts[0].is_ambiguous:
            self.prompts += prompts
            return [[MaskPrediction(Mask.from_box(Box(0, 0, 70, 80), SIZE_HW), 0.8, 0.8)]]
        return super().decode(encoding, prompts, multimask=multimask)


def test_a_click_beside_a_region_edits_it_where_the_answer_covers_it() -> None:
    editor = Editor(Wide())
    editor.saves("drafts", brush("r1", LARGE))
    name, mask = sure(editor.asks(point("p1", 62, 40)))
    assert name == "r1"
    assert mask == LARGE.union(disc(62, 40)), "it is asked again, on the region's own mask"


def test_a_click_beside_a_region_that_the_answer_leaves_alone_begins_a_new_object(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    name, mask = sure(editor.asks(point("p1", 62, 40)))
    assert name != "r1"
    assert mask == disc(62, 40)


def test_what_the_answer_covers_far_away_is_not_meant() -> None:
    editor = Editor(Wide())
    editor.saves("drafts", brush("r1", disc(5, 5, 3)))
    assert sure(editor.asks(point("p1", 62, 40)))[0] != "r1"


def test_holes_and_parts_of_what_was_there_stay(editor: Editor) -> None:
    bitmap = LARGE.bitmap().copy()
    bitmap[30:34, 30:34] = False
    bitmap[70:75, 100:110] = True
    editor.saves("drafts", brush("r1", Mask.from_bitmap(bitmap)))
    name, mask = sure(editor.asks(point("p1", 50, 50, False)))
    assert name == "r1"
    assert mask == Mask.from_bitmap(bitmap & ~disc(50, 50).bitmap())


def test_a_rectangle_begins_a_new_object_even_inside_a_region(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    name, mask = sure(editor.asks(rectangle("b1", (25, 25, 50, 50))))
    assert name != "r1"
    assert mask == Mask.from_box(Box(25, 25, 50, 50), SIZE_HW)


def test_a_rectangle_around_a_region_makes_that_anew(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    assert sure(editor.asks(rectangle("b1", (21, 21, 60, 60)))) == (
        "r1",
        Mask.from_box(Box(21, 21, 60, 60), SIZE_HW),
    )
    assert sure(editor.asks(rectangle("b2", (21, 21, 60, 60), label="dog")))[0] != "r1"


def test_of_several_rectangles_the_last_is_meant(editor: Editor) -> None:
    first = sure(editor.asks(rectangle("b1", (5, 5, 15, 15))))
    second = sure(editor.asks(rectangle("b1", (5, 5, 15, 15)), rectangle("b2", (80, 40, 100, 60))))
    assert second[0] != first[0]
    assert second[1] == Mask.from_box(Box(80, 40, 100, 60), SIZE_HW)


def test_a_rectangle_and_points_together_are_one_object(editor: Editor) -> None:
    _, mask = sure(editor.asks(rectangle("b1", (25, 25, 50, 50)), point("p1", 55, 40)))
    assert mask == Mask.from_box(Box(25, 25, 50, 50), SIZE_HW).union(disc(55, 40))
    assert editor.segmenter.prompts[-1].box == Box(25, 25, 50, 50)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_points_that_refine_what_a_rectangle_began_keep_the_rectangle(
    editor: Editor, saved: bool, positive: bool
) -> None:
    name, mask = sure(editor.asks(rectangle("b1", (25, 25, 50, 50))))
    editor.clock.passes(2)
    if saved:
        editor.saves("drafts", brush(name, mask))
    again, _ = sure(editor.asks(point("p1", 30, 30, positive)))
    assert again == name
    assert editor.segmenter.prompts[-1].box == Box(25, 25, 50, 50)


def test_an_edit_is_not_lost_to_a_draft_that_is_older(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    editor.clock.passes(1)
    _, once = sure(editor.asks(point("p1", 30, 30, False)))
    editor.clock.passes(2)
    name, twice = sure(editor.asks(point("p2", 50, 50, False)))
    assert name == "r1"
    assert twice == Mask.from_bitmap(once.bitmap() & ~disc(50, 50).bitmap())


def test_a_newer_draft_is_believed(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    editor.clock.passes(1)
    editor.asks(point("p1", 30, 30, False))
    editor.clock.passes(5)
    editor.saves("drafts", brush("r1", LARGE))
    _, mask = sure(editor.asks(point("p2", 50, 50, False)))
    assert mask == Mask.from_bitmap(LARGE.bitmap() & ~disc(50, 50).bitmap()), "the first answer was turned down"


def test_a_draft_that_still_holds_the_prompt_was_saved_before_the_answer_was_accepted(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    _, once = sure(editor.asks(point("p1", 30, 30, False)))
    editor.clock.passes(6)
    editor.saves("drafts", brush("r1", LARGE), point("p1", 30, 30, False))
    editor.clock.passes(200)
    _, twice = sure(editor.asks(point("p2", 50, 50, False)))
    assert twice == Mask.from_bitmap(once.bitmap() & ~disc(50, 50).bitmap())


def test_an_answer_that_no_draft_has_seen_for_long_was_turned_down(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE))
    editor.clock.passes(1)
    editor.asks(point("p1", 30, 30, False))
    editor.clock.passes(61)
    _, mask = sure(editor.asks(point("p2", 50, 50, False)))
    assert mask.bitmap()[30, 30]


def test_what_somebody_else_was_answered_does_not_count(editor: Editor) -> None:
    editor.saves("drafts", brush("r1", LARGE), user="anna@example.org")
    editor.clock.passes(1)
    editor.asks(point("p1", 30, 30, False))
    editor.task["drafts"] = []
    editor.saves("drafts", brush("r1", LARGE), at=NOON, user="bert@example.org")
    _, mask = sure(editor.asks(point("p2", 50, 50, False)))
    assert mask.bitmap()[30, 30]


def test_a_new_object_can_be_carved_before_any_draft_has_it(editor: Editor) -> None:
    name, mask = sure(editor.asks(point("p1", 70, 40)))
    editor.clock.passes(2)
    again, carved = sure(editor.asks(point("p2", 73, 40, False)))
    assert again == name
    assert carved == Mask.from_bitmap(mask.bitmap() & ~disc(73, 40).bitmap())


def test_clicking_again_where_an_answer_was_turned_down_asks_anew(editor: Editor) -> None:
    name, _ = sure(editor.asks(point("p1", 70, 40)))
    editor.clock.passes(2)
    again, mask = sure(editor.asks(point("p2", 72, 40)))
    assert again != name
    assert mask == disc(72, 40)


@pytest.mark.parametrize("where", ["memory", "drafts", "annotations"])
def test_after_a_reload_the_polarity_is_looked_up(where: str) -> None:
    editor = Editor()
    if where != "memory":
        rows = [brush("r1", LARGE), point("p1", 40, 40, False)]
        editor.saves(where, *rows)
    else:
        editor.saves("predictions", brush("r1", LARGE))
        editor.asks(point("p1", 40, 40, False))
    bare = point("p1", 40, 40, None)
    _, mask = sure(editor.asks(bare, point("p2", 50, 50, False)))
    assert not mask.bitmap()[40, 40]
    assert editor.segmenter.prompts[-1].point_labels == (False, False)


def test_a_point_of_which_nobody_says_anything_is_positive(editor: Editor) -> None:
    assert sure(editor.asks(point("p1", 70, 40, None)))[1] == disc(70, 40)
    valued = point("p2", 20, 20, None)
    valued["value"]["positive"] = False
    assert editor.asks(valued) is not None, "negative by its value: it edits the nearest"
    assert editor.segmenter.prompts[-1].point_labels == (False,)


def test_polygons_of_one_object_are_edited_together(editor: Editor) -> None:
    def polygon(name: str, x1: int, x2: int) -> Row:
        corners = [(x1, 20), (x2, 20), (x2, 40), (x1, 40)]
        points = [[100 * x / SIZE_HW[1], 100 * y / SIZE_HW[0]] for x, y in corners]
        row = brush(name, LARGE) | {"type": "polygonlabels", "from_name": "polygon"}
        return row | {"value": {"points": points, "closed": True, "polygonlabels": ["cat"]}}

    editor.saves("drafts", polygon("r1", 10, 30), polygon("r1~2", 60, 90))
    name, mask = sure(editor.asks(point("p1", 20, 30, False)))
    assert name == "r1"
    assert mask.bitmap()[30, 80]


def test_a_row_that_cannot_be_read_hides_no_other(editor: Editor) -> None:
    damaged = brush("bad", LARGE)
    damaged["value"] = {**damaged["value"], "rle": [1, 2, 3]}
    editor.saves("drafts", damaged, {"type": "brushlabels"}, {"value": 3}, brush("r1", LARGE))
    assert sure(editor.asks(point("p1", 40, 40, False)))[0] == "r1"


def test_only_brush_rows_count_not_the_copies_under_another_tag(editor: Editor) -> None:
    copy = brush("r1", SMALL) | {"type": "keypointlabels", "from_name": "keypoint"}
    copy["value"] = {"format": "rle", "rle": copy["value"]["rle"], "keypointlabels": ["cat"]}
    editor.saves("drafts", copy, brush("r1", LARGE))
    _, mask = sure(editor.asks(point("p1", 55, 55, False)))
    assert mask.bitmap()[25, 25]


@pytest.mark.parametrize(
    "row",
    [
        point("p", 500, 10),
        point("p", -3, 10),
        rectangle("b", (200, 200, 220, 220)),
        {**point("p", 1, 1), "value": {"x": float("nan"), "y": 1, "keypointlabels": ["cat"]}},
        {**point("p", 1, 1), "value": {"x": 1, "y": 1, "keypointlabels": []}},
        {**point("p", 1, 1), "image_rotation": 90},
        {"value": None},
    ],
)
def test_prompts_that_mean_nothing_are_refused(editor: Editor, row: Row) -> None:
    with pytest.raises(BadFormat):
        editor.asks(row)


def test_prompts_on_a_picture_of_another_size_are_refused(editor: Editor) -> None:
    with pytest.raises(ShapeMismatch):
        editor.asks({**point("p", 1, 1), "original_width": 999})


def test_the_last_pixel_may_be_clicked(editor: Editor) -> None:
    corner = point("p1", 1, 1)
    corner["value"] |= {"x": 100.0, "y": 100.0}
    _, mask = sure(editor.asks(corner))
    assert mask.bitmap()[-1, -1]


class Empty(BrushSegmenter):
    """Sees nothing."""

    def _paint(self, prompt: Prompt, size_hw: tuple[int, int]) -> Mask:
        return Mask.from_bitmap(np.zeros(size_hw, dtype=np.bool_))


def test_an_empty_mask_is_an_empty_answer() -> None:
    editor = Editor(Empty())
    assert editor.asks(point("p1", 40, 40)) is None
    assert editor.asks(point("p1", 40, 40), point("p2", 42, 40)) is None


def test_clicks_are_written_down_for_whoever_collects_the_answers(editor: Editor, tmp_path: Path) -> None:
    log = ClickLog(tmp_path)
    editor.clicks = Clicks(editor.segmenter, Memory(10_000_000), editor.clock, log)
    name, mask = sure(editor.asks(point("p1", 70, 40), point("p2", 72, 40)))
    assert log.clicks("7", name, mask) == 2
    other, boxed = sure(editor.asks(rectangle("b1", Box(10, 10, 30, 30))))
    assert log.clicks("7", other, boxed) == 2, "a box has two corners"
