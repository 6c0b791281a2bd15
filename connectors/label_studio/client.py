"""The dozen requests that we make of Label Studio, over HTTP alone.

Reading is tried again, with patience, when the server is away, busy or answers with a proxy's page. What makes
something is sent once: whoever makes looks first whether it is there already.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx

from connectors.calling import Caller, json_of
from connectors.label_studio.credentials import Credentials
from pipeline.errors import BackendRejected

__all__ = ["Client"]

_NAME = "label_studio"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_BODIES = 3
"""How often a body that is no JSON is asked for."""
_PAGE = 100
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
"""The one form of time that its filters read."""


class Client:
    """Label Studio at `url`. Safe from many threads.

    Every method raises BackendUnavailable if nobody answers in time, and BackendRejected for a refusal, with what the
    server says.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.credentials = Credentials(token)
        self._sleep = sleep
        self._caller = Caller(
            self.url,
            backend=_NAME,
            hint="start Label Studio, or put its address right (annotator.url)",
            timeout_s=timeout_s,
            retries=retries,
            passing=_PASSING,
            sleep=sleep,
        )

    def authorization(self, stale: str | None = None) -> str:
        """The header of that name, for who fetches images itself; `stale` is one that was just refused."""
        return self.credentials.header(self._caller, stale)

    # --- what there is ------------------------------------------------------------------------------------

    def version(self) -> str:
        """Label Studio's release, as 1.23.2."""
        return str(self.get("/api/version", "tell its version").get("release", ""))

    def whoami(self) -> dict[str, Any]:
        return dict(self.get("/api/current-user/whoami", "tell who we are"))

    def users(self) -> dict[int, str]:
        """Id -> e-mail address, or the name where there is none."""
        rows = self.get("/api/users/", "list its users")
        return {int(row["id"]): str(row.get("email") or row.get("username") or row["id"]) for row in rows}

    def projects(self, title: str) -> list[dict[str, Any]]:
        """Those of exactly this title, oldest first."""
        found = self.pages("/api/projects/", {"title": title}, "results", "find the project")
        return sorted((row for row in found if row.get("title") == title), key=lambda row: int(row["id"]))

    def project(self, project: int) -> dict[str, Any]:
        return dict(self.get(f"/api/projects/{project}/", "open the project"))

    def tasks(
        self, project: int, *, key: str = "", since: datetime | None = None, include: str = "id,data"
    ) -> Iterator[dict[str, Any]]:
        """Tasks whose `maskloop_key` contains `key`, changed after `since` (UTC); `include` names their fields."""
        filters = [_filter("data.maskloop_key", "contains", "String", key)] if key else []
        if since is not None:
            filters.append(_filter("updated_at", "greater", "Datetime", since.astimezone(UTC).strftime(_TIME)))
        query = json.dumps({"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]})
        fields = {"project": str(project), "fields": "all", "include": include, "query": query}
        yield from self.pages("/api/tasks/", fields, "tasks", "list its tasks")

    def task(self, task: int | str) -> dict[str, Any]:
        return dict(self.get(f"/api/tasks/{task}/", "open a task"))

    def annotation(self, number: int) -> dict[str, Any] | None:
        """None for one that is not there (any more)."""
        path, operation = f"/api/annotations/{number}/", "read an annotation"
        answer = self._send("GET", path, operation, missing=True)
        return None if answer.status_code == 404 else dict(self._read(answer, "GET", path, operation))

    def backends(self, project: int) -> list[dict[str, Any]]:
        return list(self.get(f"/api/ml/?{urlencode({'project': project})}", "list a project's backends"))

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        return list(self.get(f"/api/webhooks/?{urlencode({'project': project})}", "list a project's webhooks"))

    def local_storages(self, project: int) -> list[dict[str, Any]]:
        where = f"/api/storages/localfiles?{urlencode({'project': project})}"
        return list(self.get(where, "list a project's storages"))

    # --- what is made and changed: once --------------------------------------------------------------------

    def create(self, path: str, body: Any, operation: str) -> Any:
        """POST, sent once."""
        return self._json("POST", path, operation, once=True, json=body)

    def change(self, path: str, body: Mapping[str, Any], operation: str) -> Any:
        """PATCH: done twice it ends the same, so it may be tried again."""
        return self._json("PATCH", path, operation, json=body)

    def delete(self, path: str, operation: str) -> None:
        self._send("DELETE", path, operation)

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Task ids in the order of the tasks."""
        where = f"/api/projects/{project}/import?return_task_ids=true"
        return [int(one) for one in self.create(where, list(tasks), "import tasks")["task_ids"]]

    def upload(self, project: int, name: str, content: bytes, mime: str) -> str:
        """The address, within Label Studio, of a file that is stored there; no task is made of it."""
        where = f"/api/projects/{project}/import?commit_to_project=false"
        made = self._json("POST", where, "store an image", once=True, files={name: (name, content, mime)})
        stored = self.get(f"/api/import/file-upload/{made['file_upload_ids'][0]}", "find a stored image")
        return f"/data/{stored['file']}"

    def ask(self, backend: int, task: int, context: Mapping[str, Any] | None) -> dict[str, Any]:
        """As the editor asks after a click; nothing is stored."""
        body = {"task": task, "context": context}
        return dict(self.create(f"/api/ml/{backend}/interactive-annotating", body, "ask the backend"))

    # --- requests -----------------------------------------------------------------------------------------

    def get(self, path: str, operation: str) -> Any:
        """The JSON at `path`."""
        return self._json("GET", path, operation)

    def pages(self, path: str, fields: Mapping[str, str], rows: str, operation: str) -> Iterator[dict[str, Any]]:
        """Every row under `rows` of a listing in pages."""
        number = 1
        while True:
            query = urlencode({**fields, "page": number, "page_size": _PAGE})
            answer = self._send("GET", f"{path}?{query}", operation, missing=True)
            if answer.status_code == 404 and number > 1:
                return  # the last page was full
            found = self._read(answer, "GET", f"{path}?{query}", operation)[rows]
            yield from found
            if len(found) < _PAGE:
                return
            number += 1

    def media(self, path: str) -> httpx.Response:
        """An image that Label Studio keeps; `path` begins with a slash, so that the token goes nowhere else."""
        if not path.startswith("/") or path.startswith("//"):
            raise BackendRejected("it is no address of its own", backend=_NAME, operation="fetch an image")
        return self._send("GET", path, "fetch an image")

    def _json(self, method: str, path: str, operation: str, **more: Any) -> Any:
        return self._read(self._send(method, path, operation, **more), method, path, operation)

    def _read(self, answer: httpx.Response, method: str, path: str, operation: str) -> Any:
        """The body; a page of HTML or half a body where JSON should be is asked for again, if that does no harm."""
        for attempt in range(1, _BODIES + 1):
            if answer.status_code == 404:
                raise self._refused(answer, operation)
            body = json_of(answer)
            if isinstance(body, (dict, list)):
                return body
            if method != "GET" or attempt == _BODIES:
                break
            self._sleep(0.2 * 2**attempt)
            answer = self._send(method, path, operation)
        kind = answer.headers.get("content-type", "nothing")
        raise self._caller.unavailable(
            f"no JSON but {kind:.60}: perhaps a proxy's page, or half an answer", operation
        )

    def _send(
        self, method: str, path: str, operation: str, *, missing: bool = False, **more: Any
    ) -> httpx.Response:
        header = self.credentials.header(self._caller)
        answer = self._caller.send(method, path, operation, headers={"Authorization": header}, **more)
        if answer.status_code == 401 and self.credentials.is_personal:
            # Access tokens live for some minutes. What was refused was not done: sending it again is safe.
            header = self.credentials.header(self._caller, stale=header)
            answer = self._caller.send(method, path, operation, headers={"Authorization": header}, **more)
        if answer.status_code == 401:
            body = json_of(answer)
            raise self.credentials.refusal(str(body.get("detail", "")) if isinstance(body, dict) else "")
        if answer.status_code >= 400 and not (missing and answer.status_code == 404):
            raise self._refused(answer, operation)
        return answer

    def _refused(self, answer: httpx.Response, operation: str) -> BackendRejected:
        """With what its checks found, where it says more than that they found something."""
        body = json_of(answer)
        found = body.get("validation_errors") if isinstance(body, dict) else None
        if not isinstance(found, dict) or not found:
            return self._caller.refused(answer, operation)
        said = "; ".join(f"{where}: {' '.join(map(str, texts))}" for where, texts in found.items())
        return BackendRejected(
            f"{self.url} answers {answer.status_code}: {said:.500}",
            backend=_NAME,
            operation=operation,
        )


def _filter(column: str, operator: str, kind: str, value: str) -> dict[str, str]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
