"""import: labels of a file for images of a workspace, as one more revision of each.

Whose labels they are is never guessed: an image is known by its content, or by the start of its id, as exported files
are called; a name alone counts only where exactly one image has it, and its file is still the one that came in.
Everything is read before anything is written, and all of it is written at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pipeline.domain.records import Annotation, Instance, Origin, OriginKind, Sample
from pipeline.errors import ConfigError, DataError
from pipeline.events import Emit, silent
from pipeline.files import file_sha256
from pipeline.formats.beside import START, start_of
from pipeline.formats.coco import Crowd
from pipeline.formats.coco_layout import find_coco_dataset
from pipeline.formats.labels import PROPOSED, Found, LabelProblem, Labels, LabelSource, one_spelling
from pipeline.formats.placing import is_copy
from pipeline.formats.planes import find_planes
from pipeline.formats.reading import lost
from pipeline.formats.table import find_table
from pipeline.formats.tasks import ReadTasks, find_tasks
from pipeline.formats.yolo_layout import find_yolo, numbered_as
from pipeline.services.belonging import Belonging
from pipeline.store.ledger import Ledger

__all__ = ["Imported", "Renaming", "find_labels", "import_labels"]


@dataclass(frozen=True)
class Renaming:
    """What labels of a file are called in the project, and those of which nothing is wanted."""

    names: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Imported:
    """What came of it: new images in the pool, images with new labels and their instances, images of which nothing
    new was said, what could not be used, and what else is worth knowing."""

    joined: int
    images: int
    instances: int
    unchanged: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def find_labels(
    kind: str,
    path: Path,
    images: Path | None,
    classes: Sequence[str],
    read_tasks: ReadTasks,
    *,
    crowd: Crowd = "refuse",
    proposals: bool = False,
) -> Iterator[Found | LabelProblem]:
    """The images of which the file or folder `path` of a format speaks, below `images` if that is given.

    `crowd` is what becomes of COCO's crowd regions; with `proposals`, what a model proposed is taken too. Raises
    ConfigError for a path that does not exist, BadFormat for one that is broken as a whole.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist", key="PATH")
    below = path if path.is_dir() else path.parent
    match kind:
        case "yolo":
            if (numbers := numbered_as(path, classes)) is not None:
                yield LabelProblem(path, None, numbers, lost=False)
            yield from find_yolo(path, classes)
        case "coco":
            yield from find_coco_dataset(path, images, crowd=crowd)
        case "label_studio":
            yield from find_tasks(path / "tasks.json" if path.is_dir() else path, images or below, read_tasks)
        case "masks":
            yield from find_planes(below, images or below / "images", proposals=proposals)
        case "table":
            table = path / "instances.parquet" if path.is_dir() else path
            yield from find_table(table, images or below, proposals=proposals)
        case _:
            raise ConfigError(f"no format is called {kind!r}", key="--format")


def import_labels(
    found: Iterable[Found | LabelProblem],
    ledger: Ledger,
    classes: Sequence[str],
    *,
    source: str,
    renaming: Renaming,
    at: datetime,
    proposed: Collection[str] = (),
    belonging: Belonging | None = None,
    joined: int = 0,
    emit: Emit = silent,
) -> Imported:
    """Read all labels, then append them as imported revisions whose origin is `source`; the caller holds the lock.

    An image of which a label cannot be read keeps what it had: what is missing would teach that nothing is there. So
    do the samples in `proposed`, of which the labels are partly a model's. Tells `import.started` and `import.batch`.
    `belonging` is what the file says of splits: what differs from the workspace's own is counted in a note, because a
    split never moves. `joined` images came into the pool before, for this import. Raises ConfigError for labels whose
    class the project does not have, with all their names.
    """
    pool, read, listed = _Pool(ledger), _Read(renaming, proposed, belonging), list(found)
    emit("import.started", total=len(listed))
    for one in listed:
        if isinstance(one, LabelProblem):
            (read.problems if one.lost else read.notes).append(str(one))
        elif one.labels is not None:
            read.take(one, one.labels, pool)
        emit("import.batch", done=1)
    read.miss(sum(isinstance(one, Found) and one.labels is None for one in listed))
    read.notes += _unused(renaming, read.labels)
    read.notes += [_elsewhere(read.elsewhere)] if read.elsewhere else []
    _check_classes(read.labels, classes, renaming, joined)
    twice = {sample_id for sample_id, count in read.uses.items() if count > 1}
    read.problems += [f"{pool.name(key)}: there are labels for it more than once" for key in sorted(twice)]
    origin = Origin(OriginKind.IMPORTED, source)
    said = [
        Annotation(key, 0, instances, origin, 0, at)
        for key, instances in read.instances.items()
        if key not in twice
    ]
    fresh = ledger.annotations.append_all(said)
    answered = len(ledger.annotations.answered_ids() & {one.sample_id for one in fresh})
    read.notes += [_beaten(answered)] if answered else []
    count = sum(len(one.instances) for one in fresh)
    return Imported(joined, len(fresh), count, len(said) - len(fresh), tuple(read.problems), tuple(read.notes))


@dataclass
class _Read:
    """What was read, before anything is written."""

    renaming: Renaming
    proposed: Collection[str]
    belonging: Belonging | None
    elsewhere: int = 0
    instances: dict[str, tuple[Instance, ...]] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def miss(self, unlabelled: int) -> None:
        """Tell of images without labels; where no image has any, that is a problem."""
        if unlabelled and not self.uses and not self.problems:
            self.problems.append(f"none of {unlabelled} images has labels: are they of another format?")
        elif unlabelled:
            self.notes.append(f"images without labels: {unlabelled}")

    def take(self, found: Found, source: LabelSource, pool: _Pool) -> None:
        name, sample = f"{found.image.name:.80}", pool.sample(found.image)
        if isinstance(sample, str):
            self.problems.append(f"{name}: {sample}")
            return
        said = self.belonging.said(sample.id, found.image).split if self.belonging is not None else found.split
        self.elsewhere += said not in (None, sample.split)
        if sample.id in self.proposed:
            self.problems.append(f"{name}: manifest.jsonl, beside the labels, has proposals for it: {PROPOSED}")
            return
        self.uses[sample.id] += 1
        try:
            labels = source.read(sample.size_hw, sample.id)
        except DataError as exc:
            labels = Labels((), (LabelProblem(source.path, None, exc.reason),))
        for problem in labels.problems:
            (self.problems if problem.lost else self.notes).append(f"{name}: {problem}")
        if labels.complete:
            self.labels.update(instance.label for instance in labels.instances)
            self.instances[sample.id] = _renamed(labels.instances, self.renaming)


def _renamed(instances: Sequence[Instance], renaming: Renaming) -> tuple[Instance, ...]:
    return tuple(
        replace(instance, label=renaming.names.get(instance.label, instance.label))
        for instance in instances
        if instance.label not in renaming.ignore
    )


def _beaten(count: int) -> str:
    images = "1 of these images was" if count == 1 else f"{count} of these images were"
    return (
        f"{images} answered by people, whose word stands: there the file adds what they did not see, and corrects "
        "nothing (`pipeline review` does)"
    )


def _elsewhere(count: int) -> str:
    images = "1 image is" if count == 1 else f"{count} images are"
    return f"{images} in another split here than the file says: a split never moves"


def _check_classes(labels: Iterable[str], classes: Sequence[str], renaming: Renaming, joined: int) -> None:
    wanted = {renaming.names.get(label, label) for label in labels if label not in renaming.ignore}
    foreign = sorted(wanted - set(classes))
    if foreign:
        nothing = (
            f"no labels were imported, but images joined the pool ({joined})" if joined else "nothing was imported"
        )
        raise ConfigError(
            f"the labels {', '.join(map(repr, foreign))} are not among project.classes ({', '.join(classes)}): say "
            f"what they are called here with `--rename OLD=NEW`, or leave them out with `--ignore NAME`; {nothing}",
            key="--rename",
        )


def _unused(renaming: Renaming, labels: Mapping[str, int]) -> list[str]:
    asked = [*renaming.names, *sorted(renaming.ignore)]
    return [f"no label is called {name!r}" for name in asked if name not in labels]


class _Pool:
    """The images of a workspace, by all that a label file may know of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._sources = ledger.samples.sources()
        self._samples = {sample.id: sample for sample in ledger.samples.all()}
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._by_start: dict[str, set[str]] = defaultdict(set)
        for path, (sample_id, _) in self._sources.items():
            self._by_name[one_spelling(Path(path).name)].add(sample_id)
        for sample in self._samples.values():
            self._by_name[one_spelling(sample.path.name)].add(sample.id)
            self._by_start[sample.id[:START]].add(sample.id)

    def name(self, sample_id: str) -> str:
        return self._samples[sample_id].path.name

    def sample(self, image: Path) -> Sample | str:
        """The sample that a label file means by `image`, or why there is none."""
        try:
            there = image.is_file()
            known = self._samples.get(file_sha256(image)) if there else None
            if known is not None:
                return known
            return self._by_file(image) if there else self._by_word(image)
        except OSError as exc:
            return f"its file cannot be read: {exc.strerror or exc}"
        except ValueError as exc:  # a name that no file can have
            return f"its file cannot be read: {exc}"

    def _by_file(self, image: Path) -> Sample | str:
        """Another file than any that came in: an exported copy, or another image."""
        for sample_id in self._starting(image):
            if is_copy(image, self._samples[sample_id].path):
                return self._samples[sample_id]
        if self._by_name.get(one_spelling(image.name)) or self._starting(image):
            return "the image beside the labels is not the one that the workspace knows by this name: was it replaced?"
        return "the workspace does not have this image: `--images DIR` takes in those of a folder"

    def _by_word(self, image: Path) -> Sample | str:
        """There is no file: its name, or the id that its name is."""
        ids = self._starting(image) or self._by_name.get(one_spelling(image.name), set())
        if not ids:
            return "the workspace knows no image of this name: `--images DIR` takes in those of a folder"
        gone = {key: reason for key in ids if (reason := self._lost(self._samples[key])) is not None}
        if gone:
            return f"labels of which image? The one that came in under this name was lost: {min(gone.values())}"
        if len(ids) > 1:
            return f"{len(ids)} images of the workspace have this name: `--images DIR` tells which is meant"
        return self._samples[next(iter(ids))]

    def _starting(self, image: Path) -> set[str]:
        """The samples by whose id, or the start of it, the file is called."""
        found = self._by_start.get(start_of(image) or "", ())
        return {sample_id for sample_id in found if sample_id.startswith(image.stem)}

    def _lost(self, sample: Sample) -> str | None:
        return lost(sample.path, sample.id, self._sources.get(str(sample.path)))
