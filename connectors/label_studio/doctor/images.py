"""How images get to people: the storage, its root, and the size in which they are shown."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from connectors.label_studio.client import Client
from connectors.label_studio.doctor.patient import Patient
from connectors.label_studio.labeling_config import Tags
from pipeline.domain.geometry import SizeHW
from pipeline.errors import BackendError, BackendRejected
from pipeline.ports import Check

__all__ = ["image_checks"]

_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})
"""Values of EXIF's orientation that swap width and height."""
_LOOKS = 3
"""As many tasks' images are fetched."""


def image_checks(
    client: Client, project: Mapping[str, Any], tags: Tags | None, patient: Patient
) -> Iterator[Check]:
    """Raises BadFormat for damaged records of tasks, BackendError if the server does not answer."""
    yield from _document_root(client, int(project["id"]))
    images = patient.images
    if images.kind == "upload":
        yield Check("images", "ok", "they are sent to Label Studio, which keeps them")
    elif images.kind == "local_files":
        folders = [Path(str(row.get("path"))) for row in client.local_storages(int(project["id"]))]
        yield _local_files(images.root, folders)
    else:
        rows = client.get(f"/api/storages/s3?project={project['id']}", "list a project's storages")
        yield _bucket(images.prefix, rows)
    if tags is not None:
        yield from _frames(client, int(project["id"]), tags.value, patient)


def _document_root(client: Client, project: int) -> Iterator[Check]:
    """Served from `/`, every account reads every file of the server. It is asked whether it would give out /etc, which
    makes nothing."""
    body = {"project": project, "path": "/etc", "use_blob_urls": True}
    try:
        client.create("/api/storages/localfiles/validate", body, "judge a folder")
    except BackendRejected:
        return
    remedy = "start Label Studio with LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT at the folder above the images"
    yield Check("local files", "failed", "their root is /: every account reads every file of the server", remedy)


def _local_files(root: Path, folders: list[Path]) -> Check:
    if root == Path(root.anchor):
        return Check("images", "failed", f"annotator.images.root is {root}", "name the folder above the images")
    if any(folder.is_relative_to(root) for folder in folders):
        return Check("images", "ok", f"Label Studio reads them where they lie, below {root}")
    found = f"the project has no storage below {root} yet"
    return Check("images", "warning", found, "`pipeline run CONFIG` adds it when it makes tasks")


def _bucket(prefix: str, rows: list[Mapping[str, Any]]) -> Check:
    wanted = f"{prefix.removeprefix('s3://').rstrip('/')}/"
    for row in rows:
        parts = [str(row.get(key) or "").strip("/") for key in ("bucket", "prefix")]
        if wanted.startswith("/".join(part for part in parts if part) + "/"):
            return Check("images", "ok", f"{prefix} is in a storage of the project")
    remedy = "add the bucket in the project: Settings > Cloud Storage > Add Source Storage"
    return Check("images", "failed", f"no storage of the project gives out {prefix}", remedy)


def _frames(client: Client, project: int, key: str, patient: Patient) -> Iterator[Check]:
    """Masks lie on the pictures only where Label Studio's are, upright, of the size that ours have."""
    asked = patient.asked()
    looked = 0
    for row in client.tasks(project):
        address, task = str(row["data"].get(key, "")), asked.get(str(row["data"].get("maskloop_sample")))
        if task is None or not address.startswith("/"):
            continue
        fault = _fault(client, address, task.size_hw)
        if fault is not None:
            remedy = (
                "see that nobody has replaced the file; delete the task, and `pipeline run CONFIG` makes it again"
            )
            yield Check("frame", "failed", f"the image of task {row['id']} {fault}", remedy)
            return
        looked += 1
        if looked == _LOOKS:
            break
    if looked:
        yield Check("frame", "ok", "images come back upright, in the size that their masks have")


def _fault(client: Client, address: str, wanted: SizeHW) -> str | None:
    try:
        height, width = _upright_size(client.media(address).content)
    except BackendError as exc:
        return f"is not given out: {exc}"
    except (UnidentifiedImageError, OSError, ImportError) as exc:
        # Ultralytics, where it was imported, looks for a package of its own to open what Pillow cannot.
        return f"is none: {type(exc).__name__}"
    return (
        None
        if (height, width) == wanted
        else f"is {height}x{width} (h x w), its masks are {wanted[0]}x{wanted[1]}"
    )


def _upright_size(data: bytes) -> SizeHW:
    """As a browser shows it."""
    with Pillow.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        sideways = picture.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (width, height) if sideways else (height, width)
