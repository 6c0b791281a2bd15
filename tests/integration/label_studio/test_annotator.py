"""The annotator at the real server: what is imported is what people are shown, and all that they do comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from connectors.annotators import label_studio
from connectors.label_studio.client import Client
from connectors.label_studio.credentials import TOKEN
from connectors.label_studio.project import PREDICTIONS, SECRET, SECRET_HEADER
from connectors.label_studio.starting import Studio
from pipeline.ports import Collected, NoAnswer
from tests.fakes.answers_label_studio import drawn_row
from tests.fakes.people import SIZE_HW, proposed, resources, task
from tests.fakes.served import serving

Hint = tuple[str, str | None, str | None]


@pytest.fixture
def heard() -> list[Hint]:
    """Path, Authorization and secret of what the backend is asked."""
    return []


@pytest.fixture
def backend(heard: list[Hint]) -> Iterator[str]:
    async def say(request: Request) -> JSONResponse:
        headers = request.headers
        heard.append((request.url.path, headers.get("authorization"), headers.get(SECRET_HEADER)))
        return JSONResponse({"status": "UP", "model_class": "none", "model_version": "v1", "results": []})

    paths = ["/setup", "/predict", "/webhook"]
    routes = [Route("/health", say), *(Route(path, say, methods=["POST"]) for path in paths)]
    with serving(Starlette(routes=routes)) as url:
        yield url


def test_from_the_import_to_the_answers(
    studio: Studio, token: str, backend: str, heard: list[Hint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, token)
    monkeypatch.setenv(SECRET, "0123456789abcdef")
    path = tmp_path / "image.jpg"
    Image.new("RGB", SIZE_HW[::-1], (9, 99, 199)).save(path)
    items = [task([proposed(f"m{name}", (5, 5, 25, 25))], name) for name in "abcd"]
    items = [replace(item, sample=replace(item.sample, path=path)) for item in items]
    settings = label_studio.Settings(url=studio.url, project="from import to answers", backend=backend)
    annotator = label_studio.build(settings, resources(tmp_path / "work"))
    assert annotator.submit(items[:2]).keys() == {item.sample.id for item in items[:2]}
    assert annotator.submit(items) == annotator.submit(items)

    client = Client(studio.url, token)
    project = client.projects("from import to answers")[0]["id"]
    rows = list(client.tasks(project))
    assert [row["data"]["maskloop_sample"] for row in rows] == [item.sample.id for item in items]
    assert client.media(rows[0]["data"]["image"]).content == path.read_bytes()
    _people_see_what_was_imported(client, project, items[0].instances[0].id)
    numbers = [int(row["id"]) for row in rows]
    _people_answer(client, numbers)

    said: list[Any] = list(annotator.collect(None))
    assert _summary(said) == ["accepted", "rejected drawn", "skipped", "rejected"]
    _people_change_their_minds(client, numbers)
    said = list(annotator.collect(said[-1].cursor))
    assert _summary(said) == ["rejected", "withdrawn", "skipped"]
    assert list(annotator.collect(said[-1].cursor)) == []
    _the_backend_was_told_and_not_asked(heard)


def _people_see_what_was_imported(client: Client, project: int, region: str) -> None:
    shown = client.get(f"/api/projects/{project}/next", "take the next task")
    (prediction,) = shown["predictions"]
    assert (prediction["model_version"], prediction["result"][0]["id"]) == (PREDICTIONS, region)


def _annotate(client: Client, number: int, **body: Any) -> None:
    client.create(f"/api/tasks/{number}/annotations/", {"result": [], "lead_time": 2.5, **body}, "annotate")


def _people_answer(client: Client, numbers: list[int]) -> None:
    shown = client.task(numbers[0])["predictions"][0]["result"]
    _annotate(client, numbers[0], result=shown)
    _annotate(client, numbers[1], result=[drawn_row()])
    _annotate(client, numbers[2], was_cancelled=True)
    _annotate(client, numbers[3])
    client.create(f"/api/tasks/{numbers[3]}/drafts", {"result": [drawn_row()], "lead_time": 1}, "draft")


def _people_change_their_minds(client: Client, numbers: list[int]) -> None:
    """Everything out of the first, the second taken back, the fourth skipped after all; the third is deleted."""
    own = {
        int(row["id"]): row["annotations"]
        for row in client.tasks(_project(client, numbers), include="id,annotations")
    }
    first, second, fourth = (int(own[numbers[place]][0]["id"]) for place in (0, 1, 3))
    client.change(f"/api/annotations/{first}/", {"result": []}, "change")
    client.delete(f"/api/annotations/{second}/", "delete")
    client.change(f"/api/annotations/{fourth}/", {"was_cancelled": True}, "skip")
    client.delete(f"/api/tasks/{numbers[2]}/", "delete")


def _project(client: Client, numbers: list[int]) -> int:
    return int(client.task(numbers[0])["project"])


def _summary(said: list[Any]) -> list[str]:
    assert all(isinstance(one, (Collected, NoAnswer)) for one in said)
    return [
        one.reason
        if isinstance(one, NoAnswer)
        else " ".join(state.state.value for state in one.annotation.instances)
        for one in said
    ]


def _the_backend_was_told_and_not_asked(heard: list[Hint]) -> None:
    paths = Counter(path for path, _, _ in heard)
    assert paths["/predict"] == 0
    assert paths["/webhook"] >= 5
    assert all(authorization for path, authorization, _ in heard if path in {"/health", "/setup"})
    assert {secret for path, _, secret in heard if path == "/webhook"} == {"0123456789abcdef"}
