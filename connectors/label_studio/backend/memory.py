"""What the backend remembers of clicks: every session's steps, and its last answer for each region.

A session is what begins with one prompt: (project, task, the first prompt's id, label). Its steps are the prompts and
where each of them led. Label Studio saves drafts every five seconds only, so that for a while the backend alone knows
what a person has just accepted: that is what `LastAnswer` is for. All of it is bounded, and may be lost: then answers
are worked out again from what the request holds.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from connectors.serving.kept import Kept
from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.refinement import Refinement

__all__ = ["Asked", "LastAnswer", "Memory", "Place", "Session", "Step", "region_id"]

_TASKS = 4096
_REGIONS = 256
_POLARITIES = 1024


@dataclass(frozen=True)
class Place:
    """A task of a project, by their ids in Label Studio."""

    project: str
    task: str


@dataclass(frozen=True)
class Asked:
    """One prompt, in pixels: a point, or a box. `positive` means nothing for a box."""

    id: str
    point_xy: tuple[float, float] | None = None
    box: Box | None = None
    positive: bool = True


@dataclass(frozen=True)
class Step:
    """A prompt, and where the object stood after it."""

    asked: Asked
    state: Refinement


@dataclass(frozen=True)
class Session:
    """`region` is the id that the answers bear; `edits` says that Label Studio had it before; `box` is the rectangle
    that the object began with, `base` the mask; `at` is when it was last answered."""

    region: str
    edits: bool
    steps: tuple[Step, ...]
    box: Box | None
    base: Mask | None
    at: datetime

    def common(self, prompts: tuple[Asked, ...]) -> tuple[Step, ...]:
        """The steps whose prompts are the first ones of `prompts`."""
        count = 0
        for step, prompt in zip(self.steps, prompts, strict=False):
            if step.asked != prompt:
                break
            count += 1
        return self.steps[:count]


@dataclass(frozen=True)
class LastAnswer:
    """What was last answered for a region: when, in which session, and to whose draft (None: to nobody's).

    `box` is the rectangle that the object began with; `edits` as in `Session`.
    """

    region: str
    label: str
    mask: Mask
    box: Box | None
    at: datetime
    first: str
    edits: bool
    author: str | None


@dataclass
class _OfTask:
    answers: OrderedDict[str, LastAnswer]
    polarity: OrderedDict[str, bool]


class Memory:
    """Safe from many threads."""

    def __init__(self, sessions_bytes: int) -> None:
        self._sessions: Kept[Session] = Kept(sessions_bytes, _size_of)
        self._tasks: OrderedDict[Place, _OfTask] = OrderedDict()
        self._lock = threading.Lock()

    def session(self, place: Place, first: str, label: str) -> Session | None:
        return self._sessions.get(_key(place, first, label))

    def keep(self, place: Place, first: str, label: str, session: Session) -> None:
        self._sessions.put(_key(place, first, label), session)

    def answers(self, place: Place) -> list[LastAnswer]:
        """The last answer for each region of the task, oldest first."""
        with self._lock:
            found = self._tasks.get(place)
            return [] if found is None else list(found.answers.values())

    def answered(self, place: Place, answer: LastAnswer) -> None:
        with self._lock:
            of_task = self._of(place)
            of_task.answers.pop(answer.region, None)
            of_task.answers[answer.region] = answer
            while len(of_task.answers) > _REGIONS:
                of_task.answers.popitem(last=False)

    def polarity(self, place: Place, prompt: str) -> bool | None:
        """Whether a point was positive when it was last seen; None where nothing is known of it."""
        with self._lock:
            found = self._tasks.get(place)
            return None if found is None else found.polarity.get(prompt)

    def saw(self, place: Place, prompt: str, positive: bool) -> None:
        with self._lock:
            of_task = self._of(place)
            of_task.polarity[prompt] = positive
            of_task.polarity.move_to_end(prompt)
            while len(of_task.polarity) > _POLARITIES:
                of_task.polarity.popitem(last=False)

    def _of(self, place: Place) -> _OfTask:
        of_task = self._tasks.setdefault(place, _OfTask(OrderedDict(), OrderedDict()))
        self._tasks.move_to_end(place)
        while len(self._tasks) > _TASKS:
            self._tasks.popitem(last=False)
        return of_task


def region_id(place: Place, first: str) -> str:
    """The id of a new region: the same for the same prompt, whenever and however often it is asked."""
    text = json.dumps(["region", place.project, place.task, first])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(place: Place, first: str, label: str) -> str:
    return json.dumps([place.project, place.task, first, label])


def _size_of(session: Session) -> int:
    total = 1000
    for step in session.steps:
        prior = step.state.prior
        total += 500 + len(step.state.mask.counts)
        total += prior.nbytes if isinstance(prior, np.ndarray) else 0
    return total
