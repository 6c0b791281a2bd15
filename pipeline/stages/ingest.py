"""Images and labels into the pool: each file once, each image in one frame, each in one split for good.

Labels are read in when an image first enters the pool; later changes to a label file do not touch it. A split is
decided once, for all that arrive together and beside all that is there: it never moves.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.domain.geometry import SizeHW
from pipeline.domain.grouping import Anchor, Arrival, Place, Torn, place
from pipeline.domain.ingested import Frame, IngestedSample, Quarantined, SetAside
from pipeline.domain.likeness import Likeness, likeness_of
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Sample, Split
from pipeline.domain.splits import FirstByHash, assign_split, group_key
from pipeline.errors import ConfigError, DataError
from pipeline.events import Emit, silent
from pipeline.formats.beside import with_beside
from pipeline.formats.coco import Crowd
from pipeline.formats.coco_layout import find_coco_dataset
from pipeline.formats.folder import find_images
from pipeline.formats.image import png_bytes
from pipeline.formats.labels import Found, LabelProblem, Labels, imported
from pipeline.formats.reading import Item, Reading, Stamp, printable, read_item, stamp_of
from pipeline.formats.yolo_layout import find_yolo
from pipeline.ports import Executor
from pipeline.scenes import DEMO, SceneSpec, scene_at
from pipeline.store.atomic import atomic_write

__all__ = ["Given", "SourceSettings", "SplitSettings", "ingest"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Given = Callable[[str, Path], tuple[Split | None, str]]
"""By sample id and file: the split that an image must have, None for any, and the group, "" for the source's."""

_REASONS_TOLD = 5
_SCENE = "scene-"


class SourceSettings(BaseModel):
    """One place that images come from.

    `path` is a folder of images, a COCO dataset (its folder or its annotation file; or a folder of images with
    `labels` naming the file), or a YOLO dataset (its folder or its `data.yaml`). Class names in `ignore` are passed
    over in labels. `crowd: objects` takes each crowd region of a COCO file as an object, as CVAT means its masks.
    `labels_are` "truth" plays an unlabelled pool: labels of train images are kept for simulated people, but for
    `seed_images` of them, those whose ids have the smallest hashes.
    `kind: scenes` draws `count` scenes of `size` pixels a side, with exact truth, that `seed` fixes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["images", "coco", "yolo", "scenes"]
    path: Path | None = None
    labels: Path | None = None
    labels_are: Literal["seed", "truth"] = "seed"
    seed_images: Annotated[int, Field(ge=0)] = 0
    ignore: tuple[str, ...] = ()
    crowd: Crowd = "refuse"
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    count: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    size: Annotated[int, Field(ge=32)] = 160

    @model_validator(mode="after")
    def _fits_its_kind(self) -> SourceSettings:
        scene_fields = {"count", "seed", "size"} & self.model_fields_set
        wrong = {
            f"kind {self.kind} needs a path": self.kind != "scenes" and self.path is None,
            "kind scenes makes its own files and takes no path": self.kind == "scenes" and self.path is not None,
            "kind scenes needs a count of at least 1": self.kind == "scenes" and self.count < 1,
            f"kind {self.kind} takes no {', '.join(sorted(scene_fields))}": self.kind != "scenes"
            and bool(scene_fields),
            "labels names a COCO file: only kind coco takes it": self.kind != "coco" and self.labels is not None,
            "crowd is about COCO files: only kind coco takes it": self.kind != "coco" and self.crowd != "refuse",
            "kind images has no labels to be truth": self.kind == "images" and self.labels_are == "truth",
            "seed_images needs labels_are: truth": self.seed_images > 0 and self.labels_are != "truth",
        }
        if any(wrong.values()):
            raise ValueError("; ".join(rule for rule, broken in wrong.items() if broken))
        return self


class SplitSettings(BaseModel):
    """Fractions of the splits, which sum to 1. A split that a dataset gives wins over the hash.

    `salt` draws other splits. `group_by` keeps images together: those of one folder, the frames of one video
    (`clip_000123.jpg` belongs to `clip`), or those in whose path below the source `pattern`, a regular expression,
    finds the same. `near_duplicates: group` keeps together what looks the same; `off` does not look.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: Fraction = 0.8
    val: Fraction = 0.2
    test: Fraction = 0.0
    salt: str = ""
    group_by: Literal["image", "folder", "video", "pattern"] = "image"
    pattern: str = ""
    near_duplicates: Literal["group", "off"] = "group"

    @model_validator(mode="after")
    def _has_its_pattern(self) -> SplitSettings:
        if (self.group_by == "pattern") != bool(self.pattern):
            raise ValueError("group_by: pattern needs a pattern, and nothing else takes one")
        try:
            re.compile(self.pattern)
        except re.error as exc:
            raise ValueError(f"{self.pattern!r} is not a regular expression: {exc}") from exc
        return self

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitSettings:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, not {total:g}")
        return self


def ingest(
    sources: Sequence[SourceSettings],
    splits: SplitSettings,
    classes: Sequence[str],
    *,
    known: Mapping[str, tuple[str, Stamp]],
    quarantined: Mapping[str, Stamp],
    executor: Executor,
    store_image: Callable[[bytes], Path],
    scenes_folder: Path,
    pool: Mapping[str, Sample],
    looks: Callable[[], Mapping[str, Likeness]],
    recall: Callable[[Path, Stamp], Frame | None] = lambda *_: None,
    remember: Callable[[Path, Stamp, Frame], None] = lambda *_: None,
    given: Given = lambda *_: (None, ""),
    emit: Emit = silent,
) -> Iterator[IngestedSample | Quarantined | SetAside]:
    """Every file that is new or has changed, in a fixed order, as a sample or as a quarantine row, or as both.

    `known` (source path -> sample id, stamp) and `quarantined` (path -> stamp) name what need not be read
    again. A row about an image's labels comes before its sample and carries the label file's stamp: store it
    no later than the sample. Files with the same bytes give one sample id, and the first one's split;
    sources with labels go first. Images that other readers would decode differently are kept as PNG copies
    through `store_image`. Labels that lost an object to a problem are not used at all: what is missing would
    teach the model that nothing is there.

    All files are read before the first sample comes, so that neither their order nor that of the sources decides a
    split. `pool` are the samples that have theirs, by id, all that `known` names among them; `looks` (sample id ->
    likeness) is asked only if there is anything new. What is tied to different splits is set aside, before any
    sample comes. What was read is told to `remember`, and not decoded again if `recall` knows it: a call that was
    interrupted before the first sample came has not read in vain. `given` (sample id, file -> split, group) is what
    others say of an image: where they do, it goes before the word of the source.

    Raises ConfigError for a source that does not exist, BadFormat for a dataset that is broken as a whole.
    """
    for number, source in enumerate(sources):
        _check(source, number, classes)
    shared = _Shared(splits, tuple(classes), known, quarantined, pool, recall, remember, given)
    intakes = [
        _Intake(source, shared, scenes_folder.resolve())
        for source in sorted(sources, key=lambda one: one.kind == "images")
    ]
    emit("ingest.begin", sources=len(sources))
    for intake in intakes:
        yield from _heard(intake.read(executor, store_image, emit), emit)
    places = _places(shared, looks) if shared.seen else {}
    emit("ingest.started", total=sum(len(intake.taken) for intake in intakes))
    _tell_alike(places, shared, emit)
    yield from _heard(_torn(intakes, places, shared), emit)
    for intake in intakes:
        yield from _heard(intake.give(places), emit)
    emit("ingest.end")


def _heard(
    found: Iterable[IngestedSample | Quarantined | SetAside], emit: Emit
) -> Iterator[IngestedSample | Quarantined | SetAside]:
    for one in found:
        if isinstance(one, IngestedSample):
            emit("ingest.sample", sample=one.sample.id, path=str(one.source))
        for row in one.rows if isinstance(one, SetAside) else [one] if isinstance(one, Quarantined) else []:
            emit("ingest.quarantined", path=str(row.path), reason=row.reason)
        yield one


def _check(source: SourceSettings, number: int, classes: Sequence[str]) -> None:
    for key, path in (("path", source.path), ("labels", source.labels)):
        if path is not None and not path.exists():
            raise ConfigError(f"{path} does not exist", key=f"ingest.sources.{number}.{key}")
    if source.kind == "images" and source.path is not None and not source.path.is_dir():
        raise ConfigError(f"{source.path} is not a folder", key=f"ingest.sources.{number}.path")
    unknown = set(DEMO.classes) - set(classes) - set(source.ignore)
    if source.kind == "scenes" and unknown:
        raise ConfigError(
            f"scenes hold {', '.join(DEMO.classes)}: add {', '.join(sorted(unknown))} to project.classes",
            key=f"ingest.sources.{number}.kind",
        )


@dataclass(frozen=True)
class _Taken:
    """An image that has been read, and has no split yet."""

    id: str
    path: Path
    size_hw: SizeHW
    source: Path
    stamp: Stamp
    given: Split | None
    key: str
    labels: tuple[Instance, ...] | None
    likeness: Likeness | None


@dataclass
class _Shared:
    """What the sources have in common."""

    splits: SplitSettings
    classes: tuple[str, ...]
    known: Mapping[str, tuple[str, Stamp]]
    quarantined: Mapping[str, Stamp]
    pool: Mapping[str, Sample]
    recall: Callable[[Path, Stamp], Frame | None]
    remember: Callable[[Path, Stamp, Frame], None]
    given: Given
    seen: dict[str, _Taken] = field(default_factory=dict)

    def has(self, sample_id: str) -> bool:
        return sample_id in self.seen or sample_id in self.pool

    def split_of(self, group: str) -> Split:
        return assign_split(self.splits.salt, group, train=self.splits.train, val=self.splits.val)


@dataclass
class _Intake:
    """One source on its way into the pool."""

    source: SourceSettings
    shared: _Shared
    scenes_folder: Path
    taken: list[_Taken] = field(default_factory=list)
    again: list[_Taken] = field(default_factory=list)
    """Other files of images that are in the pool or among the taken."""
    notes: dict[Path, list[LabelProblem]] = field(default_factory=dict)
    earlier: dict[str, None] = field(default_factory=dict)
    """Train samples that an earlier call took from this source: they had their chance to be seeds."""

    def read(self, executor: Executor, store_image: Callable[[bytes], Path], emit: Emit) -> Iterator[Quarantined]:
        """Read what is new; what is wrong with it comes out."""
        worker = partial(_build_worker, self.source, self.shared.classes, self.shared.splits)
        for read in executor.map(worker, self._items()):
            emit("ingest.image", path=str(read.item.image))
            yield from self._problem(read)
            if read.failure is not None:
                continue
            found = self._take(read, store_image, emit)
            if self.shared.has(found.id):
                emit("ingest.duplicate", sample=found.id, path=str(found.source))
                self.again.append(found)
            else:
                self.shared.seen[found.id] = found
                self.taken.append(found)
        yield from self._told()

    def give(self, places: Mapping[str, Place | Torn]) -> Iterator[IngestedSample]:
        """The samples, each in its place."""
        seeds: FirstByHash[IngestedSample | None]
        seeds = FirstByHash(self.source.seed_images, f"{self.shared.splits.salt}/seed")
        for one in self.taken:
            if isinstance(where := places[one.id], Place):
                found = self._sample(one, where)
                yield from _released(seeds, found) if self._is_hidden(found) else (found,)
        for sample_id in self.earlier:
            yield from _without_labels(seeds.offer(sample_id, None))
        yield from (found for found in seeds.kept() if found is not None)
        # After the seeds: what a seed is known by must be stored before a second path to it is.
        yield from self._folded(places)

    def _is_hidden(self, found: IngestedSample) -> bool:
        """Whether the labels are a simulated person's knowledge, and the loop's only if the image is a seed."""
        return self.source.labels_are == "truth" and found.sample.split == "train" and found.truth is not None

    def _items(self) -> Iterator[Item]:
        """What has to be read: all that is neither known nor quarantined as it stands."""
        for found in self._found():
            if isinstance(found, LabelProblem):
                self.notes.setdefault(found.path, []).append(found)
                continue
            stamp = stamp_of(found.image)
            sample_id, known_stamp = self.shared.known.get(str(found.image), ("", None))
            if known_stamp == stamp:
                standing = self.shared.pool[sample_id]
                if standing.split == "train" and str(found.image) not in self.shared.quarantined:
                    self.earlier[sample_id] = None
            elif self.shared.quarantined.get(str(printable(found.image))) != stamp:
                frame = self._recalled(found.image, stamp)
                key = found.group or self._key(found.image)
                yield Item(found.image, stamp, found.split, found.labels, key, frame)

    def _recalled(self, image: Path, stamp: Stamp) -> Frame | None:
        """What an interrupted call read of the file, if that is all that is wanted. Scenes are faster drawn."""
        frame = None if self.source.kind == "scenes" else self.shared.recall(image, stamp)
        wanted = self.shared.splits.near_duplicates == "group"
        return frame if frame is not None and (frame.likeness is not None or not wanted) else None

    def _found(self) -> Iterator[Found | LabelProblem]:
        """Files that the source names; scenes among them may have yet to be drawn."""
        source, ignore = self.source, frozenset(self.source.ignore)
        if source.kind == "scenes" or source.path is None:
            yield from (Found(self.scenes_folder / f"{_SCENE}{index:05d}.png") for index in range(source.count))
            return
        path = source.path.resolve()
        found: Iterable[Found | LabelProblem]
        match source.kind:
            case "images":
                found = find_images(path)
            case "coco":
                below = path / "images" if (path / "images").is_dir() else path
                labels, images = (source.labels.resolve(), below) if source.labels else (path, None)
                found = with_beside(find_coco_dataset(labels, images, ignore=ignore, crowd=source.crowd), labels)
            case "yolo":
                found = with_beside(find_yolo(path, self.shared.classes, ignore=ignore), path)
        empty = True
        for one in found:
            empty = empty and isinstance(one, LabelProblem)
            yield one
        if empty and not self.notes:
            raise ConfigError(f"no images were found in {path}", key="ingest.sources")

    def _take(self, read: Reading, store_image: Callable[[bytes], Path], emit: Emit) -> _Taken:
        item = read.item
        path, stamp = item.image, item.stamp
        if self.source.kind == "scenes" and read.png is not None:
            stamp = _write_scene(path, read.png, emit)
        elif item.frame is not None:
            path = item.frame.path
        elif read.png is not None:
            path = store_image(read.png)
        if item.frame is None and self.source.kind != "scenes":
            frame = Frame(read.sample_id, read.size_hw, path, read.likeness)
            self.shared.remember(item.image, item.stamp, frame)
        labels = read.labels.instances if read.labels is not None and read.labels.complete else None
        split, group = self.shared.given(read.sample_id, item.image)
        split, group = split or item.split, group or item.key
        return _Taken(read.sample_id, path, read.size_hw, item.image, stamp, split, group, labels, read.likeness)

    def _sample(self, one: _Taken, where: Place) -> IngestedSample:
        sample = Sample(one.id, one.path, one.size_hw, where.split, where.group)
        truth = one.labels if self.source.labels_are == "truth" else None
        return IngestedSample(sample, one.source, one.stamp, one.labels, truth, one.likeness)

    def _folded(self, places: Mapping[str, Place | Torn]) -> Iterator[IngestedSample]:
        """Other files of images that are in the pool: second source paths, and nothing else."""
        for one in self.again:
            standing = self.shared.pool.get(one.id)
            where = Place(standing.split, standing.group) if standing else places[one.id]
            if isinstance(where, Place):
                first = replace(self.shared.seen.get(one.id, one), source=one.source, stamp=one.stamp)
                yield replace(self._sample(first, where), labels=None, truth=None)

    def _key(self, image: Path) -> str:
        """The group that the file's place says; "" where the image is its own."""
        if self.source.path is None:
            return ""
        root = self.source.path.resolve()
        below = image.relative_to(root) if image.is_relative_to(root) else image
        return group_key(root.name, below, self.shared.splits.group_by, self.shared.splits.pattern)

    def _problem(self, read: Reading) -> Iterator[Quarantined]:
        """Why the image, or its labels, cannot be used as they stand."""
        path = printable(read.item.image)
        if read.failure is not None:
            yield Quarantined(path, read.failure, read.item.stamp)
        if read.labels is None or read.item.labels is None:
            return  # nobody knows anything about the image; or it is a scene, whose truth has no problems
        reasons = [str(problem) for problem in read.labels.problems]
        unused = [] if read.labels.complete else ["the image's labels are not used, because objects are missing"]
        if self.shared.has(read.sample_id):
            unused = ["the same image is in the pool already: its labels and split stand, these are not used"]
        if reasons or unused:
            yield Quarantined(path, _joined(reasons, unused), stamp_of(read.item.labels.path))

    def _told(self) -> Iterator[Quarantined]:
        """Problems that belong to no image, one row a file."""
        for path, problems in self.notes.items():
            stamp = stamp_of(path)
            if self.shared.quarantined.get(str(printable(path))) != stamp:
                yield Quarantined(printable(path), _joined([problem.reason for problem in problems], []), stamp)


def _places(shared: _Shared, looks: Callable[[], Mapping[str, Likeness]]) -> dict[str, Place | Torn]:
    known = looks() if shared.splits.near_duplicates == "group" else {}
    anchors = [Anchor(one.id, one.split, one.group, known.get(one.id)) for one in shared.pool.values()]
    arrivals = [Arrival(one.id, one.key, one.given, one.likeness) for one in shared.seen.values()]
    return place(arrivals, anchors, shared.split_of)


def _tell_alike(places: Mapping[str, Place | Torn], shared: _Shared, emit: Emit) -> None:
    """Say `ingest.alike`: how many new images share a group for what they look like, and what the largest is."""
    alone = {one.id for one in shared.seen.values() if not one.key and one.given is None}
    groups = Counter(where.group for key, where in places.items() if key in alone and isinstance(where, Place))
    standing = Counter(sample.group for sample in shared.pool.values())
    groups = Counter({name: count for name, count in groups.items() if count + standing[name] > 1})
    if groups:
        name, largest = min(groups.items(), key=lambda row: (-row[1], row[0]))
        split = next(where.split for where in places.values() if isinstance(where, Place) and where.group == name)
        images = groups.total()
        emit("ingest.alike", images=images, of=len(alone), groups=len(groups), largest=largest, split=split)


def _torn(intakes: Sequence[_Intake], places: Mapping[str, Place | Torn], shared: _Shared) -> Iterator[SetAside]:
    """What no split is right for: all that the same ties tear is put aside together."""
    paths = {one.id: str(one.path) for one in shared.pool.values()}
    paths |= {one.id: str(one.source) for one in shared.seen.values()}
    rows: dict[tuple[str, ...], list[Quarantined]] = {}
    for one in (one for intake in intakes for one in (*intake.taken, *intake.again)):
        if isinstance(where := places.get(one.id), Torn):
            alike = " and ".join(f"{paths[anchor.id]} ({anchor.split})" for anchor in where.between)
            reason = (
                f"belongs to images of different splits, {alike}, by its group or as a near-duplicate, itself or "
                "through another new image: no split is right for it"
            )
            rows.setdefault(where.together, []).append(Quarantined(printable(one.source), reason, one.stamp))
    yield from (SetAside(tuple(together)) for together in rows.values())


def _build_worker(
    source: SourceSettings, classes: tuple[str, ...], splits: SplitSettings
) -> Callable[[Item], Reading]:
    """Module-level, so that it can be sent to another process."""
    describe = splits.near_duplicates == "group"
    if source.kind == "scenes":
        size_hw = (source.size, source.size)
        return partial(_draw, source=source, spec=replace(DEMO, size_hw=size_hw), describe=describe)
    return partial(read_item, classes=classes, max_pixels=source.max_pixels, describe=describe)


def _draw(item: Item, *, source: SourceSettings, spec: SceneSpec, describe: bool) -> Reading:
    image, objects = scene_at(spec, source.seed, int(item.image.stem.removeprefix(_SCENE)))
    png = png_bytes(image)
    sample_id = hashlib.sha256(png).hexdigest()
    instances = tuple(
        imported(one.label, None, Mask.from_bitmap(one.visible), key=sample_id, index=number, source=item.image)
        for number, one in enumerate(objects)
        if one.label not in source.ignore
    )
    likeness = likeness_of(image) if describe else None
    return Reading(item, None, sample_id, spec.size_hw, png, Labels(instances), likeness)


def _write_scene(path: Path, png: bytes, emit: Emit) -> Stamp:
    """Write the scene if it is not there. Raises DataError if another one is."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, png, emit=emit)
    elif path.read_bytes() != png:
        raise DataError("another seed or size made this scene: use a new workspace", path=path)
    return stamp_of(path)


def _released(seeds: FirstByHash[IngestedSample | None], found: IngestedSample) -> Iterator[IngestedSample]:
    return _without_labels(seeds.offer(found.sample.id, found))


def _without_labels(sample: IngestedSample | None) -> Iterator[IngestedSample]:
    if sample is not None:
        yield replace(sample, labels=None)


def _joined(reasons: Sequence[str], last: Sequence[str]) -> str:
    more = [f"and {len(reasons) - _REASONS_TOLD} more"] if len(reasons) > _REASONS_TOLD else []
    return "; ".join([*reasons[:_REASONS_TOLD], *more, *last])
