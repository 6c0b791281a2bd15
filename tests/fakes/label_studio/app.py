"""The fake's requests, answered from its `State`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from typing import Any, cast
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.label_studio.state import LEGACY_TOKEN, PERSONAL_TOKEN, VERSION, Missing, State, Wrong

__all__ = ["application"]

_TABLES = {"ml": "backends", "webhooks": "webhooks", "storages/localfiles": "storages"}
_MAKE = {"ml": "make_backend", "webhooks": "make_webhook", "storages/localfiles": "make_storage"}

_Handler = Callable[[Request], Awaitable[Response]]


def application(state: State) -> Starlette:
    """Every route is behind the token, but for health and the token's own."""
    answers = _Answers(state)
    routes = [
        Route("/health", answers.health),
        Route("/api/token/refresh", answers.refresh, methods=["POST"]),
        Route("/api/version", answers.version),
    ]
    behind: list[tuple[str, _Handler, list[str]]] = [
        ("/api/current-user/whoami", answers.whoami, ["GET"]),
        ("/api/users/", answers.users, ["GET"]),
        ("/api/projects/", answers.projects, ["GET", "POST"]),
        ("/api/projects/{id:int}/", answers.project, ["GET", "PATCH"]),
        ("/api/projects/{id:int}/import", answers.import_, ["POST"]),
        ("/api/import/file-upload/{id:int}", answers.file_upload, ["GET"]),
        ("/api/tasks/", answers.tasks, ["GET"]),
        ("/api/tasks/{id:int}/", answers.task, ["GET", "DELETE"]),
        ("/api/tasks/{id:int}/annotations/", answers.annotations, ["GET", "POST"]),
        ("/api/tasks/{id:int}/drafts", answers.drafts, ["POST"]),
        ("/api/annotations/{id:int}/", answers.annotation, ["GET", "PATCH", "DELETE"]),
        ("/api/{table:path}/{id:int}", answers.thing, ["PATCH"]),
        ("/api/{table:path}/{id:int}/", answers.thing, ["PATCH"]),
        ("/api/{table:path}", answers.things, ["GET", "POST"]),
        ("/data/{path:path}", answers.data, ["GET"]),
    ]
    routes += [Route(path, _guarded(state, handler), methods=methods) for path, handler, methods in behind]
    return Starlette(routes=routes)


def _guarded(state: State, handler: _Handler) -> _Handler:
    async def guarded(request: Request) -> Response:
        sent = request.headers.get("authorization", "")
        if sent != f"Bearer {state.access}" and not (state.legacy_allowed and sent == f"Token {LEGACY_TOKEN}"):
            return _error(401, _refusal(sent, state))
        try:
            return await handler(request)
        except Missing as exc:
            return _error(404, str(exc))
        except Wrong as exc:
            return _error(400, "Validation error", validation_errors=exc.found)
        except ValueError as exc:
            return _error(400, f"JSON parse error - {exc}")

    return guarded


def _refusal(sent: str, state: State) -> str:
    if sent == f"Token {LEGACY_TOKEN}" and not state.legacy_allowed:
        said = "legacy token authentication has been disabled for this organization"
        return f"Authentication token no longer valid: {said}"
    return "Invalid token." if sent.startswith("Token ") else "Authentication credentials were not provided."


def _error(status: int, detail: str, **more: Any) -> Response:
    body = {"id": str(uuid4()), "status_code": status, "version": VERSION, "detail": detail, "exc_info": None}
    return JSONResponse({**body, **more}, status)


class _Answers:
    def __init__(self, state: State) -> None:
        self._state = state

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "UP"})

    async def version(self, _: Request) -> Response:
        return JSONResponse({"release": VERSION})

    async def refresh(self, request: Request) -> Response:
        if (await request.json()).get("refresh") != PERSONAL_TOKEN:
            return _error(401, "Token is invalid")
        return JSONResponse({"access": self._state.renew_access()})

    async def whoami(self, _: Request) -> Response:
        return JSONResponse(self._state.users[0])

    async def users(self, _: Request) -> Response:
        return JSONResponse(self._state.users)

    async def projects(self, request: Request) -> Response:
        if request.method == "POST":
            return JSONResponse(self._state.make_project(await request.json()), 201)
        wanted = request.query_params.get("title", "").lower()
        found = [row for row in self._state.projects.values() if wanted in row["title"].lower()]
        page, _ = _page(request, found)
        return JSONResponse({"count": len(found), "next": None, "previous": None, "results": page})

    async def project(self, request: Request) -> Response:
        number = request.path_params["id"]
        if request.method == "PATCH":
            return JSONResponse(self._state.change_project(number, await request.json()))
        return JSONResponse(self._state.row(self._state.projects, number))

    async def import_(self, request: Request) -> Response:
        number = request.path_params["id"]
        answer: dict[str, Any] = {"annotation_count": 0, "prediction_count": 0, "file_upload_ids": []}
        if request.headers.get("content-type", "").startswith("multipart/"):
            files = _files(request.headers["content-type"], await request.body())
            made = [self._state.upload(number, name, content) for name, content in files]
            answer |= {"file_upload_ids": [row["id"] for row in made], "task_count": len(made)}
            return JSONResponse(answer, 201)
        rows = await request.json()
        ids = self._state.import_tasks(number, rows)
        answer |= {"task_count": len(ids), "task_ids": ids}
        return JSONResponse(answer, 201)

    async def file_upload(self, request: Request) -> Response:
        return JSONResponse(self._state.row(self._state.uploads, request.path_params["id"]))

    async def tasks(self, request: Request) -> Response:
        query = json.loads(request.query_params.get("query", "{}"))
        filters = query.get("filters", {}).get("items", [])
        found = self._state.find(int(request.query_params["project"]), filters)
        page, there = _page(request, found)
        if not there:
            raise Missing("Invalid page.")
        include = [name for name in request.query_params.get("include", "").split(",") if name]
        rows = [self._state.shown(task, include) for task in page]
        return JSONResponse({"total_annotations": 0, "total_predictions": 0, "total": len(found), "tasks": rows})

    async def task(self, request: Request) -> Response:
        number = request.path_params["id"]
        if request.method == "DELETE":
            self._state.delete_task(number)
            return Response(status_code=204)
        task = self._state.shown(self._state.row(self._state.tasks, number), [])
        people = {row["id"]: {"id": row["id"], "email": row["email"]} for row in self._state.users}
        task["annotations"] = [{**one, "completed_by": people[one["completed_by"]]} for one in task["annotations"]]
        return JSONResponse(task)

    async def annotations(self, request: Request) -> Response:
        number = request.path_params["id"]
        if request.method == "POST":
            return JSONResponse(self._state.annotate(number, await request.json()), 201)
        return JSONResponse(self._state.shown(self._state.row(self._state.tasks, number), [])["annotations"])

    async def drafts(self, request: Request) -> Response:
        return JSONResponse(self._state.draft(request.path_params["id"], await request.json()), 201)

    async def annotation(self, request: Request) -> Response:
        number = request.path_params["id"]
        if request.method == "DELETE":
            self._state.delete_annotation(number)
            return Response(status_code=204)
        if request.method == "PATCH":
            return JSONResponse(self._state.change_annotation(number, await request.json()))
        return JSONResponse(self._state.row(self._state.annotations, number))

    async def things(self, request: Request) -> Response:
        """Backends, webhooks or storages of a project."""
        name = request.path_params["table"].rstrip("/")
        if name not in _TABLES:
            raise Missing("Not found.")
        if request.method == "POST":
            return JSONResponse(getattr(self._state, _MAKE[name])(await request.json()), 201)
        rows = getattr(self._state, _TABLES[name]).values()
        number = int(request.query_params["project"])
        return JSONResponse([row for row in rows if row["project"] == number])

    async def thing(self, request: Request) -> Response:
        name = request.path_params["table"]
        if name not in _TABLES:
            raise Missing("Not found.")
        number, wanted = request.path_params["id"], await request.json()
        if name == "ml":
            return JSONResponse(self._state.change_backend(number, wanted))
        row = self._state.row(getattr(self._state, _TABLES[name]), number)
        row.update(wanted)
        return JSONResponse(row)

    async def data(self, request: Request) -> Response:
        content = self._state.files.get(request.url.path)
        return _error(404, "Not found.") if content is None else Response(content, media_type="image/png")


def _files(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of the files in a form."""
    form = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    parts = [part for part in form.walk() if not part.is_multipart()]
    return [(part.get_filename() or "", cast(bytes, part.get_payload(decode=True))) for part in parts]


def _page(request: Request, rows: list[Any]) -> tuple[list[Any], bool]:
    """The page that is asked for, and whether there is one."""
    number, size = (
        int(request.query_params.get(key, default)) for key, default in (("page", 1), ("page_size", 30))
    )
    return rows[(number - 1) * size : number * size], number == 1 or (number - 1) * size < len(rows)
