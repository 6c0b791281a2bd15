"""The fake Label Studio answers as the real one does: the same requests to both, statuses and shapes compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from connectors.calling import json_of
from connectors.label_studio.labeling_config import labeling_config
from connectors.label_studio.starting import Studio
from tests.fakes.answers_label_studio import drawn_row
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio
from tests.fakes.label_studio.state import DOCUMENT_ROOT
from tests.fakes.served import serving

_EXACT = {"listed with few fields", "listed with ids alone", "its own webhook", "a mended webhook"}
"""Where the real server must say nothing that the fake does not say."""
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class Asker:
    """Requests with a bearer token; answers are kept by the request's name."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.said: dict[str, httpx.Response] = {}
        self("log in", "POST", "/api/token/refresh", json={"refresh": token})
        self._http.headers["Authorization"] = f"Bearer {self.said['log in'].json()['access']}"

    def __call__(self, name: str, method: str, path: str, **more: Any) -> Any:
        answer = self.said[name] = self._http.request(method, path, **more)
        return json_of(answer) if answer.status_code < 300 else None

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


def talk(ask: Asker, legacy: str, root: Path | str, backend: str) -> None:
    """Everything that our client asks for, and what it must get right when it is refused."""
    _strangers(ask, legacy)
    project = _projects(ask)
    _images(ask, project, root)
    tasks = _tasks(ask, project)
    _answers(ask, project, tasks)
    _backend(ask, project, backend)


def _strangers(ask: Asker, legacy: str) -> None:
    path = "/api/projects/?title=nobody"
    ask("a legacy token", "GET", path, headers={"Authorization": f"Token {legacy}"})
    ask("a wrong legacy token", "GET", path, headers={"Authorization": "Token 0000"})
    ask("a wrong access token", "GET", path, headers={"Authorization": "Bearer a.b.c"})
    ask("a wrong refresh token", "POST", "/api/token/refresh", json={"refresh": "a.b.c"})
    ask("health", "GET", "/health")
    ask("version", "GET", "/api/version")
    ask("who we are", "GET", "/api/current-user/whoami")
    ask("users", "GET", "/api/users/")


def _projects(ask: Asker) -> int:
    ask("a title too short", "POST", "/api/projects/", json={"title": "ab"})
    body = {
        "title": "Same talk",
        "label_config": labeling_config(("ring", "star")),
        "expert_instruction": "<b>click</b>",
        "show_instruction": True,
        "show_collab_predictions": True,
        "sampling": "Sequential sampling",
    }
    project = int(ask("a project", "POST", "/api/projects/", json=body)["id"])
    ask("found by a part of its title", "GET", "/api/projects/?title=same+ta&page=1&page_size=100")
    ask("not found by title", "GET", "/api/projects/?title=nothing+such&page=1&page_size=100")
    ask("opened", "GET", f"/api/projects/{project}/")
    ask("opened: not there", "GET", "/api/projects/9999999/")
    for_two = ask("for two people", "PATCH", f"/api/projects/{project}/", json={"maximum_annotations": 2})
    assert for_two["maximum_annotations"] == 2
    ask("a version that nobody has", "PATCH", f"/api/projects/{project}/", json={"model_version": "no such"})
    return project


def _images(ask: Asker, project: int, root: Path | str) -> None:
    where = f"/api/projects/{project}/import?commit_to_project=false"
    made = ask("an upload", "POST", where, files={"a.png": ("a.png", _PNG, "image/png")})
    stored = ask("an upload's place", "GET", f"/api/import/file-upload/{made['file_upload_ids'][0]}")
    ask("an upload's bytes", "GET", f"/data/{stored['file']}")
    for name, path in (("a folder", f"{root}/photos"), ("a folder outside", "/nowhere")):
        body = {"project": project, "title": "maskloop", "path": path, "use_blob_urls": True}
        ask(name, "POST", "/api/storages/localfiles", json=body)
    ask("folders", "GET", f"/api/storages/localfiles?project={project}")


def _tasks(ask: Asker, project: int) -> list[int]:
    where = f"/api/projects/{project}/import?return_task_ids=true"
    shown = {"model_version": "found", "score": 0.5, "result": [drawn_row("m1")]}
    rows = [
        {"data": {"image": f"/{number}.png", "maskloop_key": f"k{number % 2}/1/s{number}"}, "predictions": [shown]}
        for number in range(4)
    ]
    tasks = [int(one) for one in ask("tasks", "POST", where, json=rows)["task_ids"]]
    ask("a task without its image", "POST", where, json=[{"data": {"maskloop_key": "k"}}])
    ask("no JSON", "POST", where, content=b"[{", headers={"Content-Type": "application/json"})
    ask("a task", "GET", f"/api/tasks/{tasks[0]}/")
    ask("a task: not there", "GET", "/api/tasks/9999999/")
    _listed(ask, "listed with ids alone", project, "id,data", key="k0/")
    _listed(ask, "listed beyond the end", project, "id,data", page=9)
    change = {"model_version": "found", "show_collab_predictions": True}
    ask("the version that is shown", "PATCH", f"/api/projects/{project}/", json=change)
    return tasks


def _listed(
    ask: Asker, name: str, project: int, include: str, *, key: str = "", since: str = "", page: int = 1
) -> Any:
    items = []
    if key:
        column = {"filter": "filter:tasks:data.maskloop_key", "operator": "contains", "type": "String"}
        items.append({**column, "value": key})
    if since:
        column = {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime"}
        items.append({**column, "value": since})
    query = json.dumps({"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]})
    fields = {
        "project": project,
        "fields": "all",
        "include": include,
        "query": query,
        "page": page,
        "page_size": 100,
    }
    return ask(name, "GET", "/api/tasks/", params=fields)


def _answers(ask: Asker, project: int, tasks: list[int]) -> None:
    light = "id,data,updated_at,annotations"
    before = _listed(ask, "listed with few fields", project, light)["tasks"]
    where = f"/api/tasks/{tasks[1]}/annotations/"
    mine = ask("an annotation", "POST", where, json={"result": [drawn_row()], "lead_time": 2.5})
    ask("an annotation of no task", "POST", "/api/tasks/9999999/annotations/", json={"result": []})
    path = f"/api/annotations/{mine['id']}/"
    ask("an annotation read", "GET", path)
    ask("all annotations of a task", "GET", where)
    ask("a draft", "POST", f"/api/tasks/{tasks[2]}/drafts", json={"result": [drawn_row()], "lead_time": 1})
    ask("a skip", "POST", f"/api/tasks/{tasks[3]}/annotations/", json={"result": [], "was_cancelled": True})
    newest = max(row["updated_at"] for row in before)
    changed = _listed(ask, "listed by change", project, light, since=newest)["tasks"]
    assert [row["id"] for row in changed] == [tasks[1], tasks[3]]  # a draft is no change
    assert [len(row["annotations"]) for row in changed] == [1, 1]
    ask("an annotation changed", "PATCH", path, json={"result": [], "lead_time": 4})
    newest = max(row["updated_at"] for row in changed)
    assert len(_listed(ask, "listed by a later change", project, light, since=newest)["tasks"]) == 1
    newest = ask("a task that changed", "GET", f"/api/tasks/{tasks[1]}/")["updated_at"]
    ask("an annotation deleted", "DELETE", path)
    assert len(_listed(ask, "listed by a deletion", project, light, since=newest)["tasks"]) == 1
    ask("an annotation: not there", "GET", path)
    ask("a task deleted", "DELETE", f"/api/tasks/{tasks[0]}/")
    assert len(_listed(ask, "listed after a task is gone", project, light)["tasks"]) == 3


def _backend(ask: Asker, project: int, backend: str) -> None:
    body = {
        "project": project,
        "url": backend,
        "title": "maskloop",
        "is_interactive": True,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "maskloop",
        "basic_auth_pass": "0123456789abcdef",
    }
    made = ask("a backend", "POST", "/api/ml/", json=body)
    ask("a backend changed", "PATCH", f"/api/ml/{made['id']}", json=body)
    ask("backends", "GET", f"/api/ml/?project={project}")
    (hook,) = ask("its own webhook", "GET", f"/api/webhooks/?project={project}")
    assert (hook["url"], hook["headers"], hook["actions"]) == (f"{backend}/webhook", {}, [])
    assert hook["send_for_all_actions"] is True
    change = {"headers": {"X-A": "b"}, "send_for_all_actions": False, "actions": ["ANNOTATION_CREATED"]}
    mended = ask("a mended webhook", "PATCH", f"/api/webhooks/{hook['id']}/", json=change)
    assert {key: mended[key] for key in change} == change
    assert ask("opened again", "GET", f"/api/projects/{project}/")["model_version"] == "found"


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    """As little of a backend as Label Studio takes."""

    async def say(_: Request) -> JSONResponse:
        return JSONResponse({"status": "UP", "model_class": "none", "model_version": "v1"})

    app = Starlette(routes=[Route("/health", say), Route("/setup", say, methods=["POST"])])
    with serving(app) as url:
        yield url


@pytest.fixture(scope="module")
def both(studio: Studio, token: str, backend: str) -> tuple[Mapping[str, httpx.Response], ...]:
    """What the fake said, and what the real one said."""
    (studio.files / "photos").mkdir(exist_ok=True)
    with FakeLabelStudio() as fake, Asker(fake.url, PERSONAL_TOKEN) as ours, Asker(studio.url, token) as theirs:
        talk(ours, LEGACY_TOKEN, DOCUMENT_ROOT, backend)
        talk(theirs, studio.account.legacy_token, studio.files, backend)
    return ours.said, theirs.said


def test_statuses_are_the_same(both: tuple[Mapping[str, httpx.Response], ...]) -> None:
    fake, real = both
    assert len(fake) > 40
    assert {name: one.status_code for name, one in fake.items()} == {
        name: one.status_code for name, one in real.items()
    }


def test_what_the_fake_says_is_of_the_real_shape(both: tuple[Mapping[str, httpx.Response], ...]) -> None:
    fake, real = both
    wrong = [
        f"{name}{where}"
        for name, one in fake.items()
        if one.headers.get("content-type") == "application/json"
        for where in _differences(one.json(), real[name].json(), exact=name in _EXACT)
    ]
    assert wrong == []


def test_refusals_say_the_same(both: tuple[Mapping[str, httpx.Response], ...]) -> None:
    fake, real = both
    names = ["a wrong legacy token", "a wrong access token", "a wrong refresh token", "a title too short"]
    told: Callable[[httpx.Response], Any] = lambda one: {  # noqa: E731
        key: one.json().get(key) for key in ("detail", "status_code", "validation_errors")
    }
    assert [told(fake[name]) for name in names] == [told(real[name]) for name in names]


def _differences(fake: Any, real: Any, *, exact: bool, where: str = "") -> Iterator[str]:
    """Where the fake says what the real server does not, or says it in another type."""
    if isinstance(fake, dict) and isinstance(real, dict):
        yield from (f"{where}.{key} is said by the fake alone" for key in fake.keys() - real.keys())
        if exact and where.startswith(".tasks"):
            yield from (f"{where}.{key} is said by the real one alone" for key in real.keys() - fake.keys())
        for key in fake.keys() & real.keys():
            yield from _differences(fake[key], real[key], exact=exact, where=f"{where}.{key}")
    elif isinstance(fake, list) and isinstance(real, list):
        if len(fake) != len(real):
            yield f"{where} has {len(fake)} and {len(real)} rows"
        for ours, theirs in zip(fake, real, strict=False):
            yield from _differences(ours, theirs, exact=exact, where=f"{where}[]")
    elif fake is not None and real is not None and _kind(fake) != _kind(real):
        yield f"{where} is {_kind(fake)} and {_kind(real)}"


def _kind(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__
