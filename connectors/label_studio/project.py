"""The project that people work in: found or made, and kept such that clicks work in it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from connectors.label_studio.client import Client
from connectors.label_studio.labeling_config import (
    Tags,
    config_problems,
    instructions,
    labeling_config,
    read_config,
)
from connectors.work_folder import atomic_write, read_json
from pipeline.errors import BackendRejected, BackendUnavailable

__all__ = [
    "BACKEND_TITLE",
    "BACKEND_USER",
    "PREDICTIONS",
    "SECRET",
    "SECRET_HEADER",
    "WEBHOOK_ACTIONS",
    "Project",
    "connect_backend",
]

PREDICTIONS = "found by maskloop"
"""The model version of every prediction that is imported. People are shown one version, so it is one in all rounds; and
not the backend's title, or Label Studio asks the backend again for every task that it has one for."""
BACKEND_TITLE = "maskloop"
BACKEND_USER = "maskloop"
"""The user name of the basic authentication with which Label Studio comes to the backend."""
SECRET = "MASKLOOP_SECRET"  # noqa: S105  # the variable's name
"""The environment variable with what the backend and Label Studio share."""
SECRET_HEADER = "X-Maskloop-Secret"  # noqa: S105  # the header's name
WEBHOOK_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")

_NAME = "label_studio"
_DOWN = "DI"
"""The state of a backend that does not answer, as Label Studio has just found it."""


class Project:
    """A project of `client`'s server; `work` is a folder to remember it in."""

    def __init__(
        self, client: Client, work: Path, wanted: str | int, classes: Sequence[str], *, people: int = 1
    ) -> None:
        self._client = client
        self._people = people
        self._work = work
        self._wanted = wanted
        self._classes = tuple(classes)
        self._row: dict[str, Any] | None = None
        self._served: set[Path] = set()

    @property
    def key(self) -> str:
        """What the keys of this workspace's tasks begin with; drawn once, and kept."""
        path = self._work / "workspace.json"
        known = read_json(path)
        if known is None:
            known = {"key": secrets.token_hex(8)}
            atomic_write(path, json.dumps(known).encode())
        return str(known["key"])

    @property
    def id(self) -> int:
        """The number of the project, once it is open. Raises BackendRejected before."""
        if self._row is None:
            raise _rejected("no project was opened yet")
        return int(self._row["id"])

    def reopen(self) -> bool:
        """Open the project that this workspace worked in before; False if there is none.

        Raises BackendRejected if it is gone, is another one now, or the settings name another one now.
        """
        known = read_json(self._work / "project.json")
        if self._row is not None or known is None:
            return self._row is not None
        if known.get("wanted") != self._wanted:
            raise _rejected(
                f"this workspace's tasks are in project {known['id']} ({known.get('wanted')!r:.60}), and "
                f"annotator.project says {self._wanted!r:.60}: put it back, or begin another workspace"
            )
        row = self._client.project(int(known["id"]))
        if row.get("created_at") != known.get("created_at"):
            raise _rejected(
                f"project {known['id']} at {self._client.url} is not the one that this workspace's tasks are in: put "
                "annotator.url right, or begin another workspace"
            )
        self._row = row
        return True

    def open(self) -> Tags:
        """Find the project, or make it; and the tags of its labelling configuration.

        One that is there is taken as it is, so that nobody's configuration is overwritten. Raises BackendRejected,
        with what to change, for one in which masks or clicks would not work.
        """
        row = self._row if self.reopen() else self._find() or self._make()
        if row is None:
            raise _rejected("it is not there")
        problems = config_problems(str(row.get("label_config", "")), self._classes)
        if problems:
            raise _rejected(
                f"project {row['id']} ({row.get('title')!r:.60}) does not fit: {'; '.join(problems)}. Change its "
                "labelling interface, or name another project (annotator.project)"
            )
        if self._row is None:
            kept = {"id": row["id"], "created_at": row.get("created_at"), "wanted": self._wanted}
            atomic_write(self._work / "project.json", json.dumps(kept).encode())
            self._row = row
        self._ask_several(row)
        return read_config(str(row["label_config"]))

    def _ask_several(self, row: dict[str, Any]) -> None:
        """Label Studio gives a task to so many people as the project says, and to no more."""
        if int(row.get("maximum_annotations") or 1) < self._people:
            change = {"maximum_annotations": self._people}
            self._client.change(f"/api/projects/{row['id']}/", change, "have several people answer each task")
            row |= change

    def show_predictions(self) -> None:
        """Let people see what was imported, once something was.

        Label Studio would otherwise show what the backend answers, which it names when one is connected, and ask it
        again about every task that is opened.
        """
        if self._row is not None and self._row.get("model_version") != PREDICTIONS:
            change = {"model_version": PREDICTIONS, "show_collab_predictions": True}
            self._client.change(f"/api/projects/{self.id}/", change, "choose what people are shown")
            self._row["model_version"] = PREDICTIONS

    def serve_local_files(self, folder: Path) -> None:
        """Let the server give out images in `folder`, which it must see at the same path."""
        if folder in self._served:
            return
        self._served |= {Path(str(row.get("path"))) for row in self._client.local_storages(self.id)}
        if folder in self._served:
            return
        body = {"project": self.id, "title": BACKEND_TITLE, "path": str(folder), "use_blob_urls": True}
        try:
            self._client.create("/api/storages/localfiles", body, "add the images' folder")
        except BackendRejected as exc:
            raise BackendRejected(
                f"{exc}. Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT at a folder above {folder}, or choose "
                "`images: {kind: upload}`",
                backend=_NAME,
                operation="serve local images",
            ) from exc
        self._served.add(folder)

    def _find(self) -> dict[str, Any] | None:
        if isinstance(self._wanted, int):
            return self._client.project(self._wanted)
        found = self._client.projects(self._wanted)
        return self._client.project(int(found[0]["id"])) if found else None

    def _make(self) -> dict[str, Any]:
        """Made once: one whose answer was lost is found by its title."""
        body = {
            "title": str(self._wanted),
            "label_config": labeling_config(self._classes),
            "expert_instruction": instructions(self._classes),
            "show_instruction": True,
            "show_collab_predictions": True,
            "sampling": "Sequential sampling",
        }
        try:
            return dict(self._client.create("/api/projects/", body, "make the project"))
        except BackendUnavailable:
            found = self._find()
            if found is None:
                raise
            return found


def connect_backend(client: Client, project: int, url: str, secret: str | None) -> None:
    """Let clicks in a project go to the backend at `url`, and what happens there be told to it, with the secret.

    One of ours that was elsewhere before has moved. Label Studio makes the webhook by itself, and without any header:
    it is mended. Done again, it changes nothing; a backend that was connected and is down at the moment stays so.
    Raises BackendRejected if Label Studio cannot reach one that is new or has moved.
    """
    url = url.rstrip("/")
    body: dict[str, Any] = {"project": project, "url": url, "title": BACKEND_TITLE, "is_interactive": True}
    if secret is not None:
        body |= {"auth_method": "BASIC_AUTH", "basic_auth_user": BACKEND_USER, "basic_auth_pass": secret}
    rows = {str(row.get("url", "")).rstrip("/"): row for row in client.backends(project)}
    ours = (row for row in rows.values() if row.get("title") == BACKEND_TITLE)
    known = rows.get(url) or next(ours, None)
    try:
        if known is None:
            client.create("/api/ml/", body, "connect the backend")
        elif known.get("state") != _DOWN or url not in rows:  # of one that is down Label Studio takes no change
            client.change(f"/api/ml/{known['id']}", body, "connect the backend")
    except BackendRejected as exc:
        raise BackendRejected(
            f"{exc}. Is `pipeline serve` running at {url}? Label Studio refuses private addresses unless it is started "
            "with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false",
            backend=_NAME,
            operation="connect the backend",
        ) from exc
    before = str(known["url"]).rstrip("/") if known is not None else url
    _mend_webhook(client, project, f"{url}/webhook", secret, before=f"{before}/webhook")


def _rejected(message: str) -> BackendRejected:
    return BackendRejected(message, backend=_NAME, operation="open the project")


def _mend_webhook(client: Client, project: int, url: str, secret: str | None, *, before: str) -> None:
    """The one at `url`; or the one of `before`, which goes there from now on."""
    wanted: dict[str, Any] = {
        "url": url,
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": list(WEBHOOK_ACTIONS),
        "headers": {SECRET_HEADER: secret} if secret is not None else {},
        "is_active": True,
    }
    rows = {row.get("url"): row for row in client.webhooks(project)}
    row = rows.get(url) or rows.get(before)
    if row is None:
        client.create("/api/webhooks/", {"project": project, **wanted}, "add a webhook")
    elif not _equal(row, wanted):
        client.change(f"/api/webhooks/{row['id']}/", wanted, "mend its webhook")


def _equal(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        sorted(row.get(key) or []) == sorted(value) if key == "actions" else row.get(key) == value
        for key, value in wanted.items()
    )
