"""Tasks: each exactly once, in order, with images that Label Studio can show."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from connectors.label_studio import importing
from connectors.label_studio.client import Client
from connectors.label_studio.importing import ImagesSettings, Importer
from connectors.label_studio.labeling_config import Tags
from connectors.label_studio.project import PREDICTIONS, Project
from pipeline.errors import BackendRejected, BackendUnavailable, ConfigError, ImageUnreadable
from pipeline.ports import TaskItem
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.label_studio.state import DOCUMENT_ROOT
from tests.fakes.people import CLASSES, SIZE_HW, proposed, resources, task

Submit = Callable[..., None]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one picture as JPEG, PNG and TIFF."""
    folder = tmp_path / "images" / "photos"
    folder.mkdir(parents=True)
    picture = Image.new("RGB", SIZE_HW[::-1], (200, 10, 10))
    for name in ("a.jpg", "a b.png", "c.tif"):
        picture.save(folder / name)
    return folder


@pytest.fixture
def submit(client: Client, tmp_path: Path) -> Submit:
    """Submit items with these settings of images, as a new process would."""

    def go(items: list[TaskItem], images: Any = None, tags: Tags | None = None) -> None:
        work = tmp_path / "work"
        project = Project(client, work, "rings", CLASSES)
        settings: Any = TypeAdapter(ImagesSettings).validate_python(images or {"kind": "upload"})
        own = project.open()
        Importer(client, project, settings, resources(work)).submit(items, tags or own)

    return go


def item_of(path: Path, name: str = "a", number: int = 1) -> TaskItem:
    item = task([proposed(f"m-{name}", (5, 5, 25, 25))], name, number)
    return replace(item, sample=replace(item.sample, path=path))


def keys(fake: FakeLabelStudio) -> list[tuple[int, str]]:
    data = [row["data"] for row in fake.state.tasks.values()]
    return [(one["maskloop_round"], one["maskloop_sample"]) for one in data]


def test_a_task_says_what_it_is(fake: FakeLabelStudio, submit: Submit, photos: Path) -> None:
    item = item_of(photos / "a.jpg")
    submit([item])
    (row,) = fake.state.tasks.values()
    data = row["data"]
    assert data["maskloop_key"].endswith(f"/1/{item.sample.id}")
    assert (data["maskloop_uncertainty"], data["maskloop_by"]) == (0.5, "model")
    (shown,) = row["predictions"]
    assert (shown["model_version"], shown["score"]) == (PREDICTIONS, 0.5)
    assert [one["id"] for one in shown["result"]] == ["m-a"]
    assert next(iter(fake.state.projects.values()))["model_version"] == PREDICTIONS


def test_tasks_are_in_the_order_of_the_items_and_made_once(
    fake: FakeLabelStudio, submit: Submit, photos: Path
) -> None:
    items = [item_of(photos / "a.jpg", name) for name in "dacb"]
    submit(items[:2])
    submit(items)
    submit(items)
    assert keys(fake) == [(1, item.sample.id) for item in items]


def test_an_image_may_be_asked_again_in_a_later_round(fake: FakeLabelStudio, submit: Submit, photos: Path) -> None:
    submit([item_of(photos / "a.jpg")])
    submit([item_of(photos / "a.jpg", number=2)])
    assert [number for number, _ in keys(fake)] == [1, 2]


def test_polygons_are_shown_where_the_configuration_has_no_brush(
    fake: FakeLabelStudio, submit: Submit, photos: Path
) -> None:
    submit([item_of(photos / "a.jpg")], tags=Tags("image", "image", polygon="polygon"))
    (row,) = fake.state.tasks.values()
    assert [one["type"] for one in row["predictions"][0]["result"]] == ["polygonlabels"]


@pytest.mark.parametrize(
    "fault", ["answer lost", "request lost", "500", "500 after the work", "half the JSON", "too late"]
)
def test_an_answer_that_is_lost_makes_no_second_task(
    fake: FakeLabelStudio, submit: Submit, photos: Path, fault: str
) -> None:
    items = [item_of(photos / "a.jpg", name) for name in "abc"]
    fake.faults.plan("POST", "import?return", fault, fault)
    submit(items)
    assert keys(fake) == [(1, item.sample.id) for item in items]


def test_a_server_that_stays_busy_is_an_error(fake: FakeLabelStudio, submit: Submit, photos: Path) -> None:
    fake.faults.plan("POST", "import?return", *["503"] * 9)
    with pytest.raises(BackendUnavailable, match="503"):
        submit([item_of(photos / "a.jpg")])
    assert (
        fake.faults.seen[next(key for key in fake.faults.seen if key.endswith("/import"))] == 4
    )  # one is an upload


def test_the_last_try_counts(fake: FakeLabelStudio, submit: Submit, photos: Path) -> None:
    fake.faults.plan("POST", "import?return", "500", "500")
    submit([item_of(photos / "a.jpg")])
    assert len(fake.state.tasks) == 1
    fake.faults.plan("POST", "import?return", "500", "500", "answer lost")
    submit([item_of(photos / "a.jpg", "b")])
    assert len(fake.state.tasks) == 2


def test_what_cannot_be_imported_is_told(fake: FakeLabelStudio, submit: Submit, photos: Path) -> None:
    with pytest.raises(BackendRejected, match='"image" key is expected'):
        submit([item_of(photos / "a.jpg")], tags=Tags("image", "picture", brush="brush"))


@pytest.mark.parametrize(("max_tasks", "requests"), [(500, 1), (2, 3), (1, 5)])
def test_tasks_go_in_parts(
    fake: FakeLabelStudio,
    submit: Submit,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    max_tasks: int,
    requests: int,
) -> None:
    monkeypatch.setattr(importing, "_MAX_TASKS", max_tasks)
    items = [item_of(photos / "a.jpg", name) for name in "abcde"]
    images = {"kind": "s3", "root": photos, "prefix": "s3://bucket/x"}
    submit(items, images)
    assert keys(fake) == [(1, item.sample.id) for item in items]
    assert sum(count for key, count in fake.faults.seen.items() if key.endswith("/import")) == requests


def test_large_tasks_go_alone(
    fake: FakeLabelStudio, submit: Submit, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_MAX_BYTES", 1000)
    submit([item_of(photos / "a.jpg", name) for name in "ab"], {"kind": "s3", "root": photos, "prefix": "s3://b"})
    assert len(fake.state.tasks) == 2
    assert sum(count for key, count in fake.faults.seen.items() if key.endswith("/import")) == 2


def test_a_jpeg_is_uploaded_as_it_is_and_once(fake: FakeLabelStudio, submit: Submit, photos: Path) -> None:
    submit([item_of(photos / "a.jpg")])
    submit([item_of(photos / "a.jpg", number=2)])
    assert list(fake.state.files.values()) == [(photos / "a.jpg").read_bytes()]
    places = {row["data"]["image"] for row in fake.state.tasks.values()}
    assert places == set(fake.state.files)
    assert places.pop().endswith(".jpg")


@pytest.mark.parametrize("name", ["a b.png", "c.tif"])
def test_other_pictures_are_uploaded_as_they_are_seen(
    fake: FakeLabelStudio, submit: Submit, photos: Path, name: str
) -> None:
    submit([item_of(photos / name)])
    ((place, content),) = fake.state.files.items()
    assert place.endswith(".png")
    with Image.open(io.BytesIO(content)) as shown:
        assert (shown.format, shown.size) == ("PNG", SIZE_HW[::-1])
        assert shown.getpixel((0, 0)) == (0, 0, 0)  # what the test's read_image gives


def test_an_image_that_is_gone_is_told(submit: Submit, photos: Path) -> None:
    with pytest.raises(ImageUnreadable, match="No such file"):
        submit([item_of(photos / "gone.jpg")])


def test_local_files_are_named_from_the_root(
    fake: FakeLabelStudio, submit: Submit, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.label_studio.state.DOCUMENT_ROOT", str(photos.parent))
    submit([item_of(photos / "a b.png")], {"kind": "local_files", "root": photos.parent})
    (row,) = fake.state.tasks.values()
    assert row["data"]["image"] == "/data/local-files/?d=photos/a%20b.png"
    assert [one["path"] for one in fake.state.storages.values()] == [str(photos)]


def test_objects_are_named_by_their_place_below_the_root(
    fake: FakeLabelStudio, submit: Submit, photos: Path
) -> None:
    submit([item_of(photos / "a.jpg")], {"kind": "s3", "root": photos.parent, "prefix": "s3://bucket/x/"})
    (row,) = fake.state.tasks.values()
    assert row["data"]["image"] == "s3://bucket/x/photos/a.jpg"


@pytest.mark.parametrize("kind", ["local_files", "s3"])
def test_where_a_link_leads_counts(submit: Submit, photos: Path, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes((photos / "a.jpg").read_bytes())
    (photos / "link.jpg").symlink_to(outside)
    images = {"kind": kind, "root": photos.parent} | ({"prefix": "s3://b"} if kind == "s3" else {})
    with pytest.raises(ConfigError, match=r"annotator.images.root.*does not lie below.*kind: upload"):
        submit([item_of(photos / "link.jpg")], images)


def test_images_in_the_root_itself_are_told(submit: Submit, photos: Path) -> None:
    with pytest.raises(ConfigError, match="name the folder above it"):
        submit([item_of(photos / "a.jpg")], {"kind": "local_files", "root": photos})


def test_what_browsers_do_not_show_is_told(submit: Submit, photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"annotator.images.kind.*browsers do not show"):
        submit([item_of(photos / "c.tif")], {"kind": "local_files", "root": photos.parent})


def test_a_folder_that_the_server_does_not_see_is_told(submit: Submit, photos: Path) -> None:
    with pytest.raises(BackendRejected, match=f"subdirectory of '{DOCUMENT_ROOT}'"):
        submit([item_of(photos / "a.jpg")], {"kind": "local_files", "root": photos.parent})
