"""Label Studio's own JSON: tasks with annotations and predictions, as its export writes and its import reads them.

What models proposed is written as predictions, and predictions that are read are counted and left where they are: they
never become anybody's labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit

from connectors.label_studio.convert import Region, instance_id, prediction, read_regions, region_rows
from connectors.label_studio.labeling_config import labeling_config, read_config
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, State
from pipeline.errors import BadFormat, DataError

__all__ = ["Export", "Exported", "Shape", "TaskLabels", "read_tasks", "write_tasks"]

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a file that was uploaded."""
_PICTURE = re.compile(r"\.(jpe?g|png|webp|bmp|tiff?|gif)$", re.IGNORECASE)


class Exported(Protocol):
    """One image of a dataset: its path below the exported folder, and its instances."""

    @property
    def file_name(self) -> str: ...

    @property
    def instances(self) -> Sequence[Instance]: ...


class Shape(NamedTuple):
    """One object that was read: a mask, or a box only."""

    label: str
    box: Box | None
    mask: Mask | None


@dataclass(frozen=True)
class TaskLabels:
    """The newest annotation of one task; `image` is the name of its image, or the id of its sample where it tells."""

    image: str
    rows: tuple[Any, ...]

    def shapes(self, size_hw: SizeHW) -> Iterator[Shape | str]:
        """Objects in the frame of `size_hw`; for each region that cannot be one, why."""
        masks: dict[str, Shape] = {}
        for row in self.rows:
            try:
                for region in read_regions([row], size_hw):
                    if region.kind == "keypoint":
                        yield f"region {region.id!r:.60}: a point is no object"
                    elif region.mask is None:
                        yield Shape(region.label, region.box, None)
                    else:
                        _join(masks, region, region.mask)
            except DataError as exc:
                yield exc.reason
        yield from masks.values()


@dataclass(frozen=True)
class Export:
    """What a file holds: a task's labels, or why a task cannot be read, in order; and how many predictions it has."""

    tasks: tuple[TaskLabels | str, ...]
    predictions: int
    skipped: int
    """Tasks that nobody has annotated, or that were skipped."""
    notes: tuple[str, ...]


def write_tasks(images: Iterable[Exported], classes: Sequence[str]) -> dict[str, bytes]:
    """`tasks.json` and the labelling configuration `labeling.xml` that it needs.

    The images' addresses are those of Label Studio's local files, with the exported folder as its document root. One
    annotation an image: no regions where people found nothing; none at all where only models have spoken.
    """
    config = labeling_config(classes)
    tags = read_config(config)
    tasks = []
    for number, image in enumerate(images, start=1):
        proposed = [item for item in image.instances if item.state is State.PROPOSED]
        verified = [item for item in image.instances if item.state not in (State.PROPOSED, State.REJECTED)]
        regions = [Region(item.id, item.label, "brush", item.mask) for item in verified]
        rows = [row for region in regions for row in region_rows(region, tags)]
        data = {tags.value: f"/data/local-files/?d={quote(image.file_name)}"}
        # Label Studio gives numbers of its own; its converter wants some to be there.
        task: dict[str, Any] = {"id": number, "data": data}
        if verified or not proposed:
            task["annotations"] = [{"id": number, "result": rows}]
        if proposed:
            task["predictions"] = [prediction(proposed, tags, model_version="maskloop")]
        tasks.append(task)
    text = json.dumps(tasks, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"tasks.json": (text + "\n").encode(), "labeling.xml": (config + "\n").encode()}


def read_tasks(path: Path) -> Export:
    """An export in Label Studio's format "JSON". Raises BadFormat if the file as a whole is none."""
    tasks: list[TaskLabels | str] = []
    notes: list[str] = []
    predictions = skipped = 0
    for number, task in enumerate(_listed(path), start=1):
        try:
            found = _task(task)
        except DataError as exc:
            tasks.append(f"task {number}: {exc.reason}")
            continue
        predictions += found.predictions
        if found.labels is None:
            skipped += 1
        else:
            tasks.append(found.labels)
        if found.older:
            notes.append(f"task {number}: {found.older + 1} annotations, of which the newest is taken")
    return Export(tuple(tasks), predictions, skipped, tuple(notes))


class _Found(NamedTuple):
    labels: TaskLabels | None
    predictions: int
    older: int


def _listed(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise BadFormat(f"not UTF-8 text: {exc.reason} at byte {exc.start}", path=path) from exc
    except OSError as exc:
        raise BadFormat(f"cannot be read: {exc.strerror or exc}", path=path) from exc
    except (RecursionError, ValueError) as exc:
        raise BadFormat(f"not JSON that can be read: {exc!s:.200}", path=path) from exc
    if not isinstance(content, list):
        raise BadFormat("Label Studio's JSON is a list of tasks: export as 'JSON'", path=path)
    return content


def _task(task: Any) -> _Found:
    if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
        raise BadFormat("no object with 'data': export as 'JSON', not as 'JSON-MIN'")
    said, guessed = task.get("annotations", []), task.get("predictions", [])
    if not isinstance(said, list) or not isinstance(guessed, list):
        raise BadFormat("'annotations' and 'predictions' must be lists")
    standing = [row for row in said if not (isinstance(row, Mapping) and row.get("was_cancelled"))]
    if not all(isinstance(row, Mapping) and isinstance(row.get("result"), list) for row in standing):
        raise BadFormat("an annotation is no object with a list 'result'")
    if not standing:
        return _Found(None, len(guessed), 0)
    newest = max(standing, key=lambda row: str(row.get("updated_at") or row.get("created_at") or ""))
    return _Found(TaskLabels(_image(task["data"]), tuple(newest["result"])), len(guessed), len(standing) - 1)


def _image(data: Mapping[str, Any]) -> str:
    """The sample that the task itself names, else the last part of its image's address."""
    sample = data.get("maskloop_sample")
    if isinstance(sample, str) and re.fullmatch(r"[0-9a-f]{64}", sample):
        return sample
    addresses = [data["image"]] if isinstance(data.get("image"), str) else [*data.values()]
    names = [_name(address) for address in addresses if isinstance(address, str)]
    pictures = [name for name in names if _PICTURE.search(name)]
    if len(pictures) != 1:
        raise BadFormat(f"its data names {len(pictures)} images, not one")
    return pictures[0]


def _name(address: str) -> str:
    """The file's name in an address: local files have it in the query, uploads after eight digits."""
    try:
        parts = urlsplit(address)
        inside = parse_qs(parts.query).get("d", [""])[0] or unquote(parts.path)
    except ValueError:
        return ""
    name = PurePosixPath(inside.replace("\\", "/")).name
    return _UPLOAD_PREFIX.sub("", name, count=1) if "/upload/" in parts.path else name


def _join(masks: dict[str, Shape], region: Region, mask: Mask) -> None:
    """Polygons of one object are one mask. Raises BadFormat for two brush regions with one id."""
    key = instance_id(region.id)
    if key not in masks:
        masks[key] = Shape(region.label, None, mask)
        return
    known = masks[key]
    if region.kind == "brush" or known.label != region.label or known.mask is None:
        raise BadFormat(f"region {region.id!r:.60} is there twice")
    masks[key] = Shape(region.label, None, known.mask.union(mask))
