"""What the played person does with one image: accept, correct, reject, add."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from connectors.simulated.settings import Settings
from connectors.simulated.tasks import Task
from pipeline.domain.clicks import Click, next_click, progressive_merge
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.matching import has_mask, match
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.domain.records import Before, Instance, Origin, OriginKind, State
from pipeline.ports import Segmenter

__all__ = ["NAME", "Answer", "Desk", "Person"]

NAME = "simulated"
_ORIGIN = Origin(OriginKind.HUMAN, NAME)


class Desk:
    """The image in front of the person, and the segmenter it asks: encoded once, and only if it is asked."""

    def __init__(self, image: Callable[[], Image], segmenter: Callable[[], Segmenter]) -> None:
        self._image = image
        self._segmenter = segmenter

    @cached_property
    def _encoded(self) -> tuple[Segmenter, Encoding]:
        segmenter = self._segmenter()
        return segmenter, segmenter.encode([self._image()])[0]

    def ask(self, prompt: Prompt) -> Mask:
        segmenter, encoding = self._encoded
        return segmenter.decode(encoding, [prompt])[0][0].mask


@dataclass(frozen=True)
class Answer:
    """Every shown object with its verdict, then the added ones; and the time it took."""

    instances: tuple[Instance, ...]
    seconds: float


@dataclass(frozen=True)
class _Belief:
    """A true object as this person sees it today: perhaps of another class, perhaps not worth the trouble."""

    id: str
    label: str
    box: Box
    mask: Mask | None
    lazy: bool


@dataclass(frozen=True)
class _Drawing:
    """A mask on its way: what it cost so far, and whether the person ended by outlining it."""

    mask: Mask
    clicks: int
    seconds: float
    outlined: bool = False


class Person:
    """Plays one image at a time. The same task, truth and random numbers give the same answer."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        self._settings = settings
        self._cost = settings.cost
        self._classes = tuple(classes)

    def answer(self, task: Task, truth: Sequence[Instance], desk: Desk, rng: np.random.Generator) -> Answer:
        """Judge what `task` shows against `truth`, whose masks may be None: then only boxes are known."""
        ordered = sorted(truth, key=lambda item: item.id)
        matched = match(task.instances, ordered, self._settings.match_iou)
        beliefs = [self._belief(item, rng) for item in ordered]
        true_of = {s: beliefs[t] for t, s in matched.items()}
        judged = [self._judge(shown, true_of.get(index), desk) for index, shown in enumerate(task.instances)]
        missed = [belief for index, belief in enumerate(beliefs) if index not in matched and not belief.lazy]
        judged += [self._add(belief, task, desk) for belief in missed]
        nothing_there_s = 0.0 if judged else self._cost.verdict_s
        return Answer(tuple(item for item, _ in judged), round(sum((s for _, s in judged), nothing_there_s), 3))

    def _belief(self, item: Instance, rng: np.random.Generator) -> _Belief:
        errs, lazy, which = rng.random(3)
        others = [name for name in self._classes if name != item.label]
        mistaken = errs < self._settings.error_rate and bool(others)
        label = others[int(which * len(others))] if mistaken else item.label
        mask = item.mask if has_mask(item) else None
        return _Belief(item.id, label, item.box, mask, bool(lazy < self._settings.laziness))

    def _judge(self, shown: Instance, belief: _Belief | None, desk: Desk) -> tuple[Instance, float]:
        """The shown object with its verdict, and the seconds spent."""
        shown = replace(shown, before=Before(shown.origin, shown.label, shown.mask))
        if belief is None:
            return replace(shown, origin=_ORIGIN, state=State.REJECTED, clicks=0), self._cost.verdict_s
        relabelled = shown.label != belief.label
        if belief.lazy or self._good(shown, belief):
            state = State.EDITED if relabelled else State.ACCEPTED
            drawn, seconds = replace(shown, origin=_ORIGIN, state=state, clicks=0), self._cost.verdict_s
        else:
            drawn, seconds = self._redo(shown, belief, desk)
        if relabelled:
            drawn, seconds = (
                replace(drawn, label=belief.label, clicks=drawn.clicks + 1),
                seconds + self._cost.label_s,
            )
        return drawn, seconds

    def _good(self, shown: Instance, belief: _Belief) -> bool:
        if shown.mask is None or not has_mask(shown):
            return False
        if belief.mask is None:
            return shown.box.iou(belief.box) >= self._settings.target_box_iou
        return shown.mask.iou(belief.mask) >= self._settings.target_iou

    def _redo(self, shown: Instance, belief: _Belief, desk: Desk) -> tuple[Instance, float]:
        """Correct the mask with clicks; where only the true box is known, draw that box again."""
        if belief.mask is None:
            return _finished(shown, belief, self._box(belief, desk), State.EDITED)
        if shown.mask is not None and has_mask(shown):
            start, box = shown.mask, None
        else:
            start, box = Mask.empty(belief.mask.size_hw), shown.box
        drawing = self._correct(_Drawing(start, 0, 0.0), belief.mask, box, desk)
        return _finished(shown, belief, drawing, State.DRAWN if drawing.outlined else State.EDITED)

    def _add(self, belief: _Belief, task: Task, desk: Desk) -> tuple[Instance, float]:
        """Draw a missed object: a box, then clicks."""
        drawing = self._box(belief, desk)
        if belief.mask is not None:
            drawing = self._correct(drawing, belief.mask, belief.box, desk)
        digest = hashlib.sha256(f"{task.round}\n{task.sample.id}\n{belief.id}".encode()).hexdigest()
        blank = Instance(f"{NAME}-{digest[:24]}", belief.label, belief.box, None, _ORIGIN, State.DRAWN)
        return _finished(blank, belief, drawing, State.DRAWN)

    def _box(self, belief: _Belief, desk: Desk) -> _Drawing:
        """The mask inside a box drawn around the object: two clicks, one at each corner."""
        return _Drawing(desk.ask(Prompt(box=belief.box)), clicks=2, seconds=self._cost.box_s)

    def _correct(self, drawing: _Drawing, truth: Mask, box: Box | None, desk: Desk) -> _Drawing:
        """Click until the mask is good enough; take back a click that made it worse."""
        settings, wanted = self._settings, truth.bitmap()
        best, clicked = drawing.mask, list[Click]()
        while best.iou(truth) < settings.target_iou and len(clicked) < settings.max_clicks:
            click = next_click(best.bitmap(), wanted, clicked=clicked)
            if click is None:
                break
            clicked.append(click)
            prediction = desk.ask(_prompt(clicked, box, best))
            merged = Mask.from_bitmap(progressive_merge(best.bitmap(), prediction.bitmap(), click))
            best = max(best, merged, key=truth.iou)
        clicks, seconds = drawing.clicks + len(clicked), drawing.seconds + self._cost.clicks_s(len(clicked))
        if best.iou(truth) < settings.target_iou and settings.draw_when_stuck:
            return _Drawing(truth, clicks, seconds + self._cost.polygon_s, outlined=True)
        return _Drawing(best, clicks, seconds)


def _prompt(clicked: Sequence[Click], box: Box | None, prior: Mask) -> Prompt:
    return Prompt(
        box=box,
        points_xy=tuple(click.point_xy for click in clicked),
        point_labels=tuple(click.positive for click in clicked),
        prior=prior if prior.area_px else None,
    )


def _finished(item: Instance, belief: _Belief, drawing: _Drawing, state: State) -> tuple[Instance, float]:
    """The object with its new mask; scores of the old mask do not describe it."""
    instance = replace(
        item,
        box=drawing.mask.box or belief.box,
        mask=drawing.mask if drawing.mask.area_px else None,
        origin=_ORIGIN,
        state=state,
        predicted_iou=None,
        stability=None,
        clicks=drawing.clicks,
    )
    return instance, drawing.seconds
