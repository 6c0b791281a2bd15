"""The annotator's settings, and what it needs of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.annotators.label_studio import Settings, build
from connectors.label_studio.credentials import TOKEN
from connectors.label_studio.project import SECRET_HEADER
from pipeline.errors import ConfigError
from tests.fakes.label_studio import PERSONAL_TOKEN, FakeLabelStudio
from tests.fakes.people import proposed, resources, task

S3 = {"kind": "s3", "root": Path.cwd(), "prefix": "s3://bucket"}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "localhost:8080"},
        {"url": "ftp://studio"},
        {"url": "http://studio", "project": "ab"},
        {"url": "http://studio", "images": {"kind": "local_files"}},
        {"url": "http://studio", "images": {"kind": "s3", "root": "."}},
        {"url": "http://studio", "images": {"kind": "s3", "root": ".", "prefix": "gs://bucket"}},
        {"url": "http://studio", "output": "box"},
        {"url": "http://studio", "timeout_s": 0},
        {"url": "http://studio", "token": "never here"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_without_a_token_it_says_where_to_take_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(ConfigError, match="take a personal access token from Label Studio"):
        build(Settings(url="http://studio"), resources(tmp_path))


@pytest.mark.parametrize(("name", "title"), [("rings", "rings"), ("ab", "maskloop ab"), ("x" * 60, "x" * 50)])
def test_the_project_has_the_loops_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, title: str
) -> None:
    monkeypatch.setenv(TOKEN, PERSONAL_TOKEN)
    with FakeLabelStudio() as fake:
        settings = Settings.model_validate({"url": fake.url, "images": S3})
        build(settings, resources(tmp_path, project=name)).submit([task()])
        assert [row["title"] for row in fake.state.projects.values()] == [title]


def test_polygons_and_a_backend_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TOKEN, PERSONAL_TOKEN)
    monkeypatch.setenv("MASKLOOP_SECRET", "0123456789abcdef")
    with FakeLabelStudio() as fake:
        more = {"images": S3, "output": "polygon", "backend": "http://backend:9090", "project": "rings"}
        annotator = build(Settings.model_validate({"url": fake.url, **more}), resources(tmp_path))
        annotator.submit([task([proposed("m1", (5, 5, 25, 25))])])
        (row,) = fake.state.tasks.values()
        assert [one["type"] for one in row["predictions"][0]["result"]] == ["polygonlabels"]
        assert [hook["headers"] for hook in fake.state.webhooks.values()] == [{SECRET_HEADER: "0123456789abcdef"}]
        # Polygons that come back as they were are the mask that was shown.
        fake.state.annotate(row["id"], {"result": row["predictions"][0]["result"]})
        (said,) = annotator.collect(None)
        assert [one.state.value for one in said.annotation.instances] == ["accepted"]  # type: ignore[union-attr]
