"""Tasks for people: images that Label Studio can show, and the machine's masks on them; each exactly once.

Before a task is made its key is looked for, and after an answer that was lost again: `maskloop_key` in the task's data
names workspace, round and sample. Where a slow server finished an import that nobody waited for any more, there are two
tasks with one key. They are one task here: what people say in either counts, and neither is deleted.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from PIL import Image as Pillow
from pydantic import BaseModel, ConfigDict, Field

from connectors.label_studio.client import Client
from connectors.label_studio.convert import prediction
from connectors.label_studio.labeling_config import Tags
from connectors.label_studio.project import PREDICTIONS, Project
from connectors.work_folder import atomic_write, read_json
from pipeline.domain.records import Sample
from pipeline.errors import BackendRejected, BackendUnavailable, ConfigError, ImageUnreadable
from pipeline.ports import Resources, TaskItem

__all__ = ["ImagesSettings", "Importer", "Uploaded"]

_MAX_TASKS = 500
_MAX_BYTES = 20_000_000
_ROUNDS = 3
"""How often missing tasks are looked for and made."""
_JPEG = b"\xff\xd8\xff"
_NOT_SHOWN = {".tif", ".tiff"}


class Uploaded(BaseModel):
    """Images are sent to Label Studio, which keeps them: works everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["upload"] = "upload"


class _LocalFiles(BaseModel):
    """Label Studio reads the images where they lie: in folders below `root`, its LOCAL_FILES_DOCUMENT_ROOT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["local_files"]
    root: Path


class _S3(BaseModel):
    """The images below `root` lie under `prefix`, s3://bucket/folder, too, and the project has that storage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["s3"]
    root: Path
    prefix: Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$")]


ImagesSettings = Annotated[Uploaded | _LocalFiles | _S3, Field(discriminator="kind")]


class Importer:
    """Makes tasks in `project`; `resources` gives the images and a folder to remember uploads in."""

    def __init__(self, client: Client, project: Project, images: ImagesSettings, resources: Resources) -> None:
        self._client = client
        self._project = project
        self._images = images
        self._resources = resources

    def submit(self, items: Sequence[TaskItem], tags: Tags) -> None:
        """When this returns there is a task for every item; new ones are made in the order of the items.

        Raises ConfigError for an image outside `images.root`, ImageUnreadable for one that is gone, BackendUnavailable
        if the server goes away and stays so.
        """
        keys = {self._key(item): item for item in items}
        lost: BackendUnavailable | None = None
        for attempt in range(_ROUNDS + 1):
            found = self._found(items)
            missing = [item for key, item in keys.items() if key not in found]
            if not missing:
                self._project.show_predictions()
                return
            if attempt == _ROUNDS:
                break
            try:
                self._make(missing, tags)
                lost = None
            except BackendUnavailable as exc:
                lost = exc  # perhaps they were made before the answer was lost: they are looked for again
        raise lost or BackendRejected(
            f"{len(missing)} tasks were imported, and are not there: were they deleted at once?",
            backend="label_studio",
            operation="import tasks",
        )

    def _key(self, item: TaskItem) -> str:
        return f"{self._project.key}/{item.round}/{item.sample.id}"

    def _found(self, items: Sequence[TaskItem]) -> set[str]:
        """The keys of the tasks that are there, in the rounds of these items."""
        prefixes = [f"{self._project.key}/{number}/" for number in sorted({item.round for item in items})]
        rows = [row for prefix in prefixes for row in self._client.tasks(self._project.id, key=prefix)]
        return {str(row["data"].get("maskloop_key")) for row in rows}

    def _make(self, items: Sequence[TaskItem], tags: Tags) -> None:
        for chunk in _chunks([self._row(item, tags) for item in items]):
            self._client.import_tasks(self._project.id, chunk)

    def _row(self, item: TaskItem, tags: Tags) -> dict[str, Any]:
        data = {
            tags.value: self._address(item.sample),
            "maskloop_key": self._key(item),
            "maskloop_sample": item.sample.id,
            "maskloop_round": item.round,
            "maskloop_uncertainty": round(item.uncertainty.value, 4),
            "maskloop_by": ", ".join(sorted({instance.origin.name for instance in item.instances})),
        }
        score = 1.0 - item.uncertainty.value
        return {
            "data": data,
            "predictions": [prediction(item.instances, tags, model_version=PREDICTIONS, score=score)],
        }

    # --- how images get there -----------------------------------------------------------------------------

    def _address(self, sample: Sample) -> str:
        if isinstance(self._images, Uploaded):
            return self._uploaded(sample)
        inside = _below(sample.path, self._images.root)
        if sample.path.suffix.lower() in _NOT_SHOWN:
            raise ConfigError(
                f"{sample.path}: browsers do not show such files; `images: {{kind: upload}}` converts them",
                key="annotator.images.kind",
            )
        if isinstance(self._images, _S3):
            return f"{self._images.prefix.rstrip('/')}/{inside.as_posix()}"
        if len(inside.parts) == 1:
            raise ConfigError(
                f"{sample.path} lies in {self._images.root} itself, from where Label Studio gives out nothing: name "
                "the folder above it, in annotator.images.root and in LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
                key="annotator.images.root",
            )
        self._project.serve_local_files(self._images.root.resolve() / inside.parts[0])
        return f"/data/local-files/?d={quote(inside.as_posix())}"

    def _uploaded(self, sample: Sample) -> str:
        """Sent once: where each image went is remembered."""
        path = self._resources.work / "uploads" / f"{sample.id}.json"
        known = read_json(path)
        if known is None or known.get("project") != self._project.id:
            content, ending, kind = self._picture(sample)
            address = self._client.upload(self._project.id, f"{sample.id[:16]}.{ending}", content, kind)
            known = {"project": self._project.id, "address": address}
            atomic_write(path, json.dumps(known).encode())
        return str(known["address"])

    def _picture(self, sample: Sample) -> tuple[bytes, str, str]:
        """Bytes, ending and kind: JPEG as it is, for browsers turn it upright; all else as the canonical frame."""
        try:
            content = sample.path.read_bytes()
        except OSError as exc:
            raise ImageUnreadable(f"cannot be read: {exc.strerror or exc}", path=sample.path) from exc
        if content.startswith(_JPEG):
            return content, "jpg", "image/jpeg"
        with io.BytesIO() as file:
            Pillow.fromarray(self._resources.read_image(sample)).save(file, "PNG")
            return file.getvalue(), "png", "image/png"


def _chunks(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Parts of a bounded number of tasks and bytes."""
    chunk: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        length = len(json.dumps(row))
        if chunk and (len(chunk) == _MAX_TASKS or size + length > _MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += length
    if chunk:
        yield chunk


def _below(path: Path, root: Path) -> Path:
    """Where links lead counts, not what they are called."""
    real, top = path.resolve(), root.resolve()
    if not real.is_relative_to(top):
        raise ConfigError(
            f"{path} does not lie below {root}: name a folder above all images, or choose `images: {{kind: upload}}`",
            key="annotator.images.root",
        )
    return real.relative_to(top)
