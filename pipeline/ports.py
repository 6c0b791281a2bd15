"""The doors' shapes, on one screen. A peer is one file of a family's folder that has one of these shapes.

Every peer module offers

- a docstring whose first line is the peer's caption in `pipeline list`,
- `Settings`, a frozen pydantic model with `extra="forbid"`,
- `REQUIRES`, the packages it needs beyond the core: extra -> import names, `{"ultralytics": ("torch",)}`,
- perhaps `lacks()`, what else this machine has not, in words for `pipeline list`,
- perhaps `checks(settings, resources)`, an iterator of `Check` for `pipeline doctor`, which changes nothing,
- `build(settings, resources)`; heavy imports happen in there. Detectors take two more:
  `build(settings, resources, *, model=None, confidence=None)`: a trained model instead of the settings' weights,
  and another confidence floor, for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Image, SizeHW
from pipeline.domain.prompts import Encoding, Logits, MaskPrediction, Prompt, Proposal
from pipeline.domain.records import Annotation, Instance, Sample
from pipeline.domain.rounds import ModelRef, Uncertainty

__all__ = [
    "Annotator",
    "Check",
    "Collected",
    "Detector",
    "Embedder",
    "Enlarger",
    "Epoch",
    "Escalating",
    "Executor",
    "Exporting",
    "NoAnswer",
    "Resources",
    "ReviewRow",
    "Reviewer",
    "Segmenter",
    "TaskItem",
    "Trainer",
    "Unusable",
    "Verdict",
]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class TaskItem:
    """One image to be asked about: the machine's instances are the person's starting point."""

    sample: Sample
    instances: tuple[Instance, ...]
    uncertainty: Uncertainty
    round: int


@dataclass(frozen=True)
class Collected:
    """An answer, and the cursor from which a later `collect` goes on after it."""

    annotation: Annotation
    task_id: str
    cursor: str


@dataclass(frozen=True)
class NoAnswer:
    """Nobody says anything in this task, or nobody does any more, since `at`.

    A person has passed it by ("skipped": the task is closed, and its image stays unlabelled), or has taken back
    what was said ("withdrawn": the task is open again). Whatever people answered in this task no longer stands.
    "retracted" is less: what the author answered no longer stands, and what others did does.
    """

    sample_id: str
    task_id: str
    cursor: str
    author: str
    at: datetime
    reason: Literal["skipped", "withdrawn", "retracted"]


@dataclass(frozen=True)
class Unusable:
    """An answer that cannot be taken as it stands, but that a person can put right: its task stays open.

    `what` is what the person knows it by, such as a file's name.
    """

    what: str
    reason: str


@dataclass(frozen=True)
class Check:
    """One thing that `pipeline doctor` looked at, what it found, and what to do about it if it is not right."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Epoch:
    """Progress of a training: `epoch` counts from 1 to `of`; `losses` by name."""

    epoch: int
    of: int
    losses: Mapping[str, float]


@dataclass(frozen=True)
class ReviewRow:
    """All that is known of one image, for a reviewer to look at.

    `machine` is what models said last, `merged` what the dataset says, `truth` what a simulation knows. `round` is
    when people were asked, `agreement` between them in [0, 1], `round_trip` each merged instance's IoU through a
    YOLO row, `quarantined` why the image is set aside ("" if it is not). `held_out_by` are the reviewers who keep it
    out of training. `changed` are the objects that are no longer as they are shown here, in a review of the past.
    """

    sample: Sample
    machine: tuple[Instance, ...]
    merged: tuple[Instance, ...]
    truth: tuple[Instance, ...] | None = None
    uncertainty: Uncertainty | None = None
    round: int | None = None
    agreement: float | None = None
    round_trip: Mapping[str, float] = field(default_factory=dict)
    quarantined: str = ""
    held_out_by: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """A reviewer's word on one sample, or on one of its instances: "accept", "fix", "reject", "relabel:NAME" or
    "hold-out"; who said it, and when, if the reviewer knows.
    """

    sample_id: str
    decision: str
    author: str
    instance_id: str | None = None
    at: datetime | None = None


class Detector(Protocol):
    """Makes proposals. Models ignore `sample_ids`; simulations know the truth by them."""

    name: str

    def propose(self, images: Sequence[Image], sample_ids: Sequence[str]) -> list[list[Proposal]]: ...


@runtime_checkable
class Embedder(Protocol):
    """A detector that can also describe whole images, `float32 (n, d)`."""

    def embed(self, images: Sequence[Image]) -> npt.NDArray[np.float32]: ...


class Segmenter(Protocol):
    """Stateless, and safe from many threads.

    `fingerprint` is that of its encodings: kind, weights digest and preprocessing. `storable` is False where
    encoding an image again costs less than reading its encoding back.
    """

    name: str
    fingerprint: str
    storable: bool

    def encode(self, images: Sequence[Image]) -> list[Encoding]:
        """Slow, once per image; each encoding depends on its own image alone."""
        ...

    def decode(
        self,
        encoding: Encoding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool | None = None,
        mask_threshold: float = 0.0,
    ) -> list[list[MaskPrediction]]:
        """Fast; one entry per prompt, in order: one candidate, or several ranked by predicted IoU.

        `multimask` None asks for several where the prompt `is_ambiguous`, and for one elsewhere. Pixels whose
        logit is over `mask_threshold` are object: lower is wider.
        """
        ...


@runtime_checkable
class Enlarger(Protocol):
    """A segmenter whose logits can be brought to the image's own size."""

    def enlarge(self, logits: Logits, size_hw: SizeHW) -> npt.NDArray[np.float32]:
        """`float32 (h, w)`; over the mask threshold is object. Raises ShapeMismatch for logits of another shape."""
        ...


@runtime_checkable
class Escalating(Protocol):
    """A segmenter made of several, which asks a better one where the first is not sure."""

    @property
    def escalated(self) -> int:
        """How many prompts went on, since it was built."""
        ...


class Trainer(Protocol):
    name: str

    def train(
        self,
        dataset: Path,
        base: ModelRef | None,
        *,
        work: Path,
        seed: int,
        on_epoch: Callable[[Epoch], None],
        repeats: Mapping[str, int] = MappingProxyType({}),
    ) -> ModelRef:
        """Train on a YOLO-seg folder. What an interrupted call left in `work` is resumed.

        `repeats` says how often an epoch sees the train image of a sample id: 0 leaves it out, once is usual.
        """
        ...


@runtime_checkable
class Exporting(Protocol):
    """A trainer whose models can be written for other engines."""

    def export(self, model: ModelRef, format_: str, folder: Path) -> Path:
        """Write a model as "onnx" or "openvino" into `folder`; the file or folder that was made there.

        Raises ConfigError for a format that is not written, MissingExtra for a package that is not there.
        """
        ...


class Annotator(Protocol):
    name: str

    def submit(self, items: Sequence[TaskItem]) -> Mapping[str, str]:
        """Sample id -> task id. Idempotent: asking twice makes one task."""
        ...

    def collect(self, since: str | None) -> Iterator[Collected | NoAnswer | Unusable]:
        """What people have said after the cursor `since`. Never blocks."""
        ...


class Reviewer(Protocol):
    name: str

    def open(self, rows: Iterable[ReviewRow]) -> None:
        """Show these rows and no others, with no verdict on any: what was decided before is in the rows."""
        ...

    def verdicts(self) -> Iterator[Verdict]:
        """What people have decided since. Reading it takes nothing away."""
        ...


class Executor(Protocol):
    name: str

    def map(self, build_worker: Callable[[], Callable[[T], R]], items: Iterable[T]) -> Iterator[R]:
        """Results in the order of the items; each process or thread builds its worker once; reads ahead a bounded
        number of items, so memory does not grow with their count.
        """
        ...


@dataclass(frozen=True)
class Resources:
    """What the house lends a peer while it is built.

    `find_weights(name)` returns a path or raises WeightsUnavailable with every place searched.
    `truth(sample_id)` is known in simulations only; None where nothing is known about the sample.
    `read_image(sample)` gives the canonical frame. `segmenter()` is the run's own, and `build_segmenter(kind,
    settings)` makes another, for peers that are made of peers: it raises ConfigError for wrong settings.
    `work` is a folder that the peer may keep things in.
    `now()` is the time, UTC. `project` is the project's name. `people` are to answer each task.
    """

    classes: tuple[str, ...]
    seed: int
    work: Path
    find_weights: Callable[[str], Path]
    read_image: Callable[[Sample], Image]
    truth: Callable[[str], tuple[Instance, ...] | None]
    segmenter: Callable[[], Segmenter]
    build_segmenter: Callable[[str, Mapping[str, Any]], Segmenter]
    now: Callable[[], datetime]
    project: str = ""
    people: int = 1
