"""The rules of clicks: which object a request means, and how it is answered.

A request holds all prompts of the object so far, and nothing else: not which region is selected, nor what was answered
before. So:

1.  A session is (project, task, the first prompt's id, label). Its prompts are worked through in order, each on what
    the one before led to, its logits included. What is remembered of a session is not worked out again; what was
    forgotten comes out the same. The same request has the same answer, byte for byte.
2.  No prompts mean that they were destroyed: the answer is empty.
3.  The first prompt decides what is meant, among the regions of the same label that are there (`regions`):

    a rectangle             begins a new object; all but around a region it has that region made anew
    a point in a region     edits the region, the smallest if there are several
    a negative point        outside of all: edits the nearest one; is empty if there is none
    a positive point        outside of all: is answered as a new object. If the answer covers at least half of a region
                            near by, the point was meant for that: it is asked again, on the region's own mask

4.  An answer that edits bears the region's id, so that accepting it replaces the region in place. A new object's id is
    made of project, task and the first prompt's id.
5.  Editing keeps what the person has seen and left alone (`pipeline.domain.refinement`). What a person has changed by
    brush or eraser between two clicks is where the second goes on from. Points that refine what a rectangle began keep
    the rectangle.
6.  One ambiguous first click is asked with several candidates; the one with the best predicted IoU is answered.
7.  The label is that of the chosen tag. A mask has the size of the upright image or is not sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from connectors.label_studio.backend.bodies import Task
from connectors.label_studio.backend.memory import Asked, LastAnswer, Memory, Place, Session, Step, region_id
from connectors.label_studio.backend.metrics import Timings
from connectors.label_studio.backend.prompts import Question, question_of
from connectors.label_studio.backend.regions import (
    Standing,
    around,
    changed_by_hand,
    containing,
    covered,
    draft_of,
    nearest,
    standing,
)
from connectors.label_studio.click_log import ClickLog
from connectors.label_studio.convert import Region, region_rows
from connectors.label_studio.labeling_config import Tags
from pipeline.domain.clicks import Click
from pipeline.domain.prompts import Encoding, MaskPrediction, Prompt
from pipeline.domain.refinement import Refinement
from pipeline.errors import ShapeMismatch
from pipeline.ports import Segmenter

__all__ = ["Clicks"]

_LOCKS = 64


class Clicks:
    """Answers clicks. Safe from many threads; those of one task wait for each other."""

    def __init__(
        self, segmenter: Segmenter, memory: Memory, now: Callable[[], datetime], log: ClickLog | None = None
    ) -> None:
        self._segmenter = segmenter
        self._memory = memory
        self._now = now
        self._log = log
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def answer(
        self,
        project: str,
        task: Task,
        rows: Sequence[Mapping[str, Any]],
        *,
        tags: Tags,
        encoding: Callable[[], Encoding],
        timings: Timings,
    ) -> tuple[list[dict[str, Any]], float]:
        """The regions to suggest, none or one, and their score; `rows` are the context's.

        Raises BadFormat for prompts that cannot be read, ShapeMismatch for those on an image of another size, and
        what `encoding` and the segmenter raise.
        """
        if not rows:
            return [], 0.0
        place = Place(project, str(task.id))
        with timings.part("encoding"):
            encoded = encoding()
        question = question_of(rows, task, place, self._memory, encoded.size_hw)
        if question is None:
            return [], 0.0
        with self._locks[hash(place) % _LOCKS], timings.part("mask"):
            session = self._session(place, task, question, encoded)
        if session is None:
            return [], 0.0
        state = session.steps[-1].state
        if state.mask.size_hw != encoded.size_hw:
            raise ShapeMismatch(f"the answer is {state.mask.size_hw}, the image is {encoded.size_hw}")
        score = state.predicted_iou or 0.0
        with timings.part("regions"):
            region = Region(session.region, question.label, "brush", state.mask, score=score)
            return region_rows(region, tags), round(score, 6)

    def _session(self, place: Place, task: Task, question: Question, encoding: Encoding) -> Session | None:
        known = self._memory.session(place, question.first, question.label)
        steps = known.common(question.prompts) if known is not None else ()
        if known is not None and steps:
            session = self._taken_up(known, steps, task, question, encoding)
        else:
            begun = self._begun(place, task, question, encoding)
            if begun is None:
                return None
            session = begun
        for asked in question.prompts[len(session.steps) :]:
            click = _click(asked)
            state = self._refined(encoding, session.steps[-1].state, click)
            session = replace(session, steps=(*session.steps, Step(asked, state)))
        session = replace(session, at=self._now())
        self._memory.keep(place, question.first, question.label, session)
        self._remember(place, task, question, session)
        return session

    def _taken_up(
        self, known: Session, steps: tuple[Step, ...], task: Task, question: Question, encoding: Encoding
    ) -> Session:
        """A session as far as it is known. What the person has changed by hand meanwhile is where it goes on from."""
        if len(steps) < len(question.prompts):
            mask = changed_by_hand(task, known, question.label, encoding.size_hw)
            if mask is not None:
                begun = Standing(known.region, mask, known.box).base(question.label)
                clicks = tuple(_click(step.asked) for step in steps if step.asked.box is None)
                steps = (*steps[:-1], Step(steps[-1].asked, replace(begun, clicks=clicks)))
        return replace(known, steps=steps)

    def _begun(self, place: Place, task: Task, question: Question, encoding: Encoding) -> Session | None:
        """After the first prompt. None where it means nothing that is there."""
        regions = standing(
            task,
            question.label,
            encoding.size_hw,
            self._memory.answers(place),
            first=question.first,
            now=self._now(),
        )
        asked = question.prompts[0]
        if asked.box is not None:
            state = self._asked(encoding, Prompt(box=asked.box, label=question.label))
            return self._first(place, asked, state, around(regions, asked.box))
        click = _click(asked)
        meant = containing(regions, click)
        if meant is None and not click.positive:
            meant = nearest(regions, click)
            if meant is None:
                return None
        if meant is None:
            prompt = Prompt(points_xy=(click.point_xy,), point_labels=(True,), label=question.label)
            state = self._asked(encoding, prompt)
            meant = covered(regions, state.mask, click)
            if meant is None:
                return self._first(place, asked, state, None)
        return self._first(place, asked, self._refined(encoding, meant.base(question.label), click), meant)

    def _first(self, place: Place, asked: Asked, state: Refinement, meant: Standing | None) -> Session:
        step = Step(asked, state)
        if meant is None:
            return Session(region_id(place, asked.id), False, (step,), asked.box, None, self._now())
        return Session(meant.id, meant.saved, (step,), asked.box or meant.box, meant.mask, self._now())

    def _asked(self, encoding: Encoding, prompt: Prompt) -> Refinement:
        return Refinement.of_answer(prompt, self._decoded(encoding, prompt))

    def _refined(self, encoding: Encoding, before: Refinement, click: Click) -> Refinement:
        return before.answered(click, self._decoded(encoding, before.question(click)))

    def _decoded(self, encoding: Encoding, prompt: Prompt) -> MaskPrediction:
        """The best candidate: where the prompt is ambiguous, of several."""
        [candidates] = self._segmenter.decode(encoding, [prompt])
        return candidates[0]

    def _remember(self, place: Place, task: Task, question: Question, session: Session) -> None:
        """What was answered for the region, until Label Studio has saved it."""
        state = session.steps[-1].state
        if state.mask.area_px == 0:
            return
        author = draft.user if (draft := draft_of(task)) is not None else None
        answer = LastAnswer(
            region=session.region,
            label=question.label,
            mask=state.mask,
            box=session.box,
            at=self._now(),
            first=question.first,
            edits=session.edits,
            author=str(author) if author is not None else None,
        )
        self._memory.answered(place, answer)
        if self._log is not None:
            # A box is drawn from corner to corner: two clicks.
            clicks = sum(1 if step.asked.box is None else 2 for step in session.steps)
            self._log.write(place.task, session.region, state.mask, clicks, session.base)


def _click(asked: Asked) -> Click:
    x, y = asked.point_xy or (0.0, 0.0)
    return Click(int(x), int(y), asked.positive)
