"""A FiftyOne dataset made of rows, or brought up to date by them; and the tags that people have set in it.

The package `fiftyone` is imported here, so this runs in a process of its own (`worker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from connectors.fiftyone import likeness, views
from connectors.fiftyone.rows import digest_of
from connectors.fiftyone.samples import FIGURES, ID, INSTANCE, LABELS, ROW, SAID, fields_of
from connectors.fiftyone.tags import FIELDS, TaggedLabel, TaggedSample, is_verdict, relabelled
from pipeline.errors import BackendRejected
from pipeline.ports import ReviewRow

__all__ = ["fill", "tagged"]

_BATCH = 64
_OURS = "maskloop_project"
_COMPARED = "maskloop_compared"


def fill(name: str, project: str, rows: Iterable[ReviewRow], *, brain: bool) -> dict[str, int]:
    """Make the dataset show these rows and no others, without any verdict; other tags stay. Counts by what was done.

    Raises BackendRejected if a dataset of that name belongs to somebody else.
    """
    import fiftyone as fo

    dataset = _dataset(name, project, fo)
    known = {key: (own, digest) for key, own, digest in zip(*dataset.values([ID, "id", ROW]), strict=True)}
    left = {key: own for key, (own, _) in known.items()}
    spoken = {sample.sample_id for sample in tagged(name)}
    counts = {"made": 0, "refreshed": 0}
    parts: set[str] = set()
    iterator = iter(rows)
    while batch := {row.sample.id: row for row in islice(iterator, _BATCH)}:
        fresh = [_sample(row, fo) for key, row in batch.items() if key not in known]
        old = {key: known[key] for key in batch if key in known}
        changed = [own for key, (own, was) in old.items() if key in spoken or was != digest_of(batch[key])]
        dataset.add_samples(fresh, progress=False)
        for sample in dataset.select(changed).iter_samples(autosave=True, progress=False) if changed else ():
            _refresh(sample, batch[sample[ID]], fo)
        parts |= {
            f"uncertainty_{part}" for row in batch.values() if row.uncertainty for part in row.uncertainty.parts
        }
        for key in batch:
            left.pop(key, None)
        counts["made"] += len(fresh)
        counts["refreshed"] += len(changed)
    dataset.delete_samples(list(left.values()))
    _dress(dataset, sorted(parts), fo, brain=brain)
    return counts | {"removed": len(left)}


def tagged(name: str) -> Iterator[TaggedSample]:
    """The samples of which people have said something with tags or new names; none if there is no such dataset."""
    import fiftyone as fo

    if not fo.dataset_exists(name):
        return
    for sample in fo.load_dataset(name).iter_samples(progress=False):
        labels = tuple(label for label in _labels(sample) if label.tags or relabelled(label.label, label.said))
        if sample.tags or labels:
            yield TaggedSample(sample[ID], tuple(sample.tags), labels)


def _dataset(name: str, project: str, fo: Any) -> Any:
    if not fo.dataset_exists(name):
        dataset = fo.Dataset(name, persistent=True)
        dataset.media_type = "image"
        dataset.info[_OURS] = project
        for field in (ID, ROW):
            dataset.add_sample_field(field, fo.StringField)
        for field, kind in FIGURES.items():
            dataset.add_sample_field(field, {float: fo.FloatField, int: fo.IntField, str: fo.StringField}[kind])
        for field in LABELS:
            dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        dataset.create_index(ID)
        dataset.save()
    dataset = fo.load_dataset(name)
    if dataset.info.get(_OURS) != project:
        raise BackendRejected(
            f"a dataset called {name!r} is there already, and is not of the project {project!r}: rename one of them",
            backend="fiftyone",
            operation="open",
        )
    return dataset


def _sample(row: ReviewRow, fo: Any) -> Any:
    """The media type is told, because copies of images that had to be converted bear no suffix."""
    height, width = row.sample.size_hw
    metadata = fo.ImageMetadata(width=width, height=height)
    return fo.Sample(str(row.sample.path), media_type="image", metadata=metadata, **fields_of(row, fo))


def _refresh(sample: Any, row: ReviewRow, fo: Any) -> None:
    """New values for every field. People's own tags on an object go to the label that shows what came of it."""
    kept: dict[str, list[str]] = {}
    for label in _labels(sample):
        if label.field in FIELDS:
            kept.setdefault(label.instance_id, []).extend(label.tags)
    sample.filepath = str(row.sample.path)
    for field, value in fields_of(row, fo).items():
        sample[field] = value
    sample.tags = _own(sample.tags)
    for field in FIELDS:
        for one in _of(sample, field):
            one.tags = _own(kept.get(one[INSTANCE], ()))


def _own(tags: Iterable[str]) -> list[str]:
    """Those that are no verdicts."""
    return [tag for tag in dict.fromkeys(tags) if not is_verdict(tag)]


def _labels(sample: Any) -> Iterator[TaggedLabel]:
    for field in LABELS:
        for one in _of(sample, field):
            known = {name: one[name] if one.has_field(name) else "" for name in (INSTANCE, SAID)}
            tags = tuple(one.tags or ())
            yield TaggedLabel(field, known[INSTANCE] or "", one.label or "", known[SAID] or "", tags)


def _of(sample: Any, field: str) -> list[Any]:
    labels = sample[field]
    return list(labels.detections) if labels is not None else []


def _dress(dataset: Any, parts: list[str], fo: Any, *, brain: bool) -> None:
    """All that is worked out of the whole dataset, and how the App shows it."""
    dataset.add_dynamic_sample_fields()
    ids = sorted(dataset.values(ID))
    figures = [*FIGURES, *parts]
    if brain:
        if dataset.info.get(_COMPARED) != ids:
            likeness.compare(dataset)
            dataset.info[_COMPARED] = ids
        figures += [field for field in likeness.FIGURES if dataset.has_field(field)]
    views.save_views(dataset, fo.ViewField)
    views.arrange(dataset, fo, figures)
