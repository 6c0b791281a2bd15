"""What the doctor finds at a Label Studio, and what it says to do."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image as Pillow

from connectors.label_studio.client import Client
from connectors.label_studio.convert import Region, brush_row
from connectors.label_studio.doctor.advisories import ADVISORIES, advisories_of
from connectors.label_studio.doctor.backend import backend_checks
from connectors.label_studio.doctor.images import image_checks
from connectors.label_studio.doctor.patient import Patient
from connectors.label_studio.doctor.project import label_checks, project_of
from connectors.label_studio.doctor.server import client_of, server_checks
from connectors.label_studio.importing import ImagesSettings, Uploaded
from connectors.label_studio.labeling_config import Tags, labeling_config, read_config
from connectors.label_studio.project import PREDICTIONS, SECRET_HEADER
from connectors.tasks import Task, Tasks
from pipeline.domain.mask import Mask
from pipeline.errors import BackendRejected
from pipeline.ports import Check
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio

CLASSES = ("coin", "ring")
SECRET = "a-secret-of-some-length"
SIZE_HW = (40, 60)
PROJECT = {"id": 7, "title": "people", "created_at": "then", "label_config": labeling_config(CLASSES)}
TAGS = read_config(labeling_config(CLASSES))
NOWHERE = "http://127.0.0.1:9"


class Stub:
    """A client of a Label Studio that is well: tests make it ill."""

    url = "http://studio.example"

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {
            "ml": [
                {"id": 3, "url": f"{NOWHERE}/", "state": "CO", "is_interactive": True, "auth_method": "BASIC_AUTH"}
            ],
            "webhooks": [{"url": f"{NOWHERE}/webhook", "is_active": True, "headers": {SECRET_HEADER: SECRET}}],
            "storages": [{"path": "/srv/images/one"}],
            "s3": [{"bucket": "bucket", "prefix": "images"}],
        }
        self.answer: Mapping[str, Any] = {"data": {"result": [mask_row(SIZE_HW)]}}
        self.asked: list[dict[str, Any]] = []
        self.image = picture(SIZE_HW)
        self.root = "/srv/images"

    def backends(self, _: int) -> list[Any]:
        return list(self.rows["ml"])

    def webhooks(self, _: int) -> list[Any]:
        return list(self.rows["webhooks"])

    def local_storages(self, _: int) -> list[Any]:
        return list(self.rows["storages"])

    def get(self, path: str, _: str) -> Any:
        return self.rows["s3"] if "storages/s3" in path else self.rows["ml"][0]

    def create(self, path: str, body: Mapping[str, Any], operation: str) -> None:
        assert path.endswith("/validate"), "nothing is made"
        if not body["path"].startswith(f"{self.root.rstrip('/')}/"):
            raise BackendRejected("must be a subdirectory", backend="label_studio", operation=operation)

    def tasks(self, _: int) -> Iterator[dict[str, Any]]:
        for number, sample in enumerate(("one", "two"), start=1):
            yield {"id": number, "data": {"image": f"/data/upload/{sample}.png", "maskloop_sample": sample}}

    def media(self, _: str) -> Any:
        return type("Answer", (), {"content": self.image})

    def ask(self, backend: int, task: int, context: Mapping[str, Any]) -> Mapping[str, Any]:
        assert (backend, task) == (3, 2), "the last task: people are at the others"
        self.asked += context["result"]
        return self.answer

    def project(self, number: int) -> dict[str, Any]:
        if number != PROJECT["id"]:
            raise BackendRejected("404", backend="label_studio", operation="open the project")
        return dict(PROJECT)

    def projects(self, title: str) -> list[dict[str, Any]]:
        return [dict(PROJECT)] if title == PROJECT["title"] else []


def mask_row(size_hw: tuple[int, int]) -> dict[str, Any]:
    bitmap = np.zeros(size_hw, dtype=bool)
    bitmap[2:8, 2:9] = True
    return brush_row(Region("new", "coin", "brush", Mask.from_bitmap(bitmap)), TAGS)


def picture(size_hw: tuple[int, int], orientation: int | None = None) -> bytes:
    exif = Pillow.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    with io.BytesIO() as file:
        Pillow.new("RGB", (size_hw[1], size_hw[0])).save(file, "JPEG", exif=exif)
        return file.getvalue()


def patient(work: Path, *, images: ImagesSettings | None = None, **more: Any) -> Patient:
    for sample in ("one", "two"):
        if sample not in {path.stem.split("-")[1] for path in (work / "tasks").glob("*.json")}:
            Tasks(work / "tasks").add(Task(sample, sample, SIZE_HW, 1, ()))
    fields = {"wanted": "people", "backend": NOWHERE, "token": None, "secret": SECRET, **more}
    return Patient(url="http://studio.example", classes=CLASSES, images=images or Uploaded(), work=work, **fields)


def drained(generator: Any) -> tuple[list[Check], Any]:
    """The checks of a generator, and what it returns."""
    found = []
    while True:
        try:
            found.append(next(generator))
        except StopIteration as end:
            return found, end.value


def states(checks: Iterator[Check] | list[Check]) -> dict[str, str]:
    found = list(checks)
    assert all(check.remedy for check in found if check.state != "ok"), "a fault has its remedy"
    return {check.name: check.state for check in found}


# --- the server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "kind"), [(PERSONAL_TOKEN, "personal access token"), (LEGACY_TOKEN, "legacy token")]
)
def test_a_server_that_takes_the_token_is_well(tmp_path: Path, token: str, kind: str) -> None:
    with FakeLabelStudio() as fake:
        asked = Patient(fake.url, "people", CLASSES, Uploaded(), None, tmp_path, token, None)
        found, client = drained(client_of(asked))
        assert states(found) == {"server": "ok", "token": "ok"}
        assert kind in found[-1].found
        assert states(server_checks(client)) == {"version": "ok"}
        assert token not in repr(asked) + str(found)


@pytest.mark.parametrize("token", [None, "", "f" * 39 + "0", "ey.not.ours", "with space"])
def test_a_token_that_is_not_taken_is_told(tmp_path: Path, token: str | None) -> None:
    with FakeLabelStudio() as fake:
        found, client = drained(
            client_of(Patient(fake.url, "people", CLASSES, Uploaded(), None, tmp_path, token, None))
        )
    assert client is None
    assert states(found) == {"server": "ok", "token": "failed"}
    assert not token or token not in str(found)


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    found, client = drained(client_of(Patient(NOWHERE, "people", CLASSES, Uploaded(), None, tmp_path, "x", None)))
    assert (client, states(found)) == (None, {"server": "failed"})


@pytest.mark.parametrize(
    ("release", "count"),
    [("1.23.2", 0), ("1.24.0.dev3", 0), ("1.23.1", 1), ("1.15.0", 4), ("1.9.2", 7), ("1.9.2.post0", 6), ("", 10)],
)
def test_advisories_by_release(release: str, count: int) -> None:
    assert len(advisories_of(release)) == count
    assert len({one.id for one in ADVISORIES}) == len(ADVISORIES)


# --- the project ----------------------------------------------------------------------------------------------


def of_project(work: Path, **more: Any) -> tuple[list[Check], Any]:
    return drained(project_of(cast(Client, Stub()), patient(work, **more)))


@pytest.mark.parametrize("wanted", ["people", 7])
def test_the_project_is_found_by_title_and_number(tmp_path: Path, wanted: int | str) -> None:
    found, row = of_project(tmp_path, wanted=wanted)
    assert (states(found), row["id"]) == ({"project": "ok"}, 7)


def test_a_project_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    assert states(of_project(tmp_path, wanted="others")[0]) == {"project": "warning"}
    assert states(of_project(tmp_path, wanted=8)[0]) == {"project": "failed"}


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        ({"id": 7, "created_at": "then", "wanted": "people"}, "ok"),
        ({"id": 7, "created_at": "later", "wanted": "people"}, "failed"),
        ({"id": 8, "created_at": "then", "wanted": "people"}, "failed"),
        ({"id": 7, "created_at": "then", "wanted": "others"}, "failed"),
    ],
)
def test_the_workspace_keeps_to_its_project(tmp_path: Path, kept: dict[str, Any], state: str) -> None:
    (tmp_path / "project.json").write_text(json.dumps(kept))
    assert states(of_project(tmp_path)[0]) == {"project": state}


def test_labels_and_predictions() -> None:
    found, tags = drained(label_checks(PROJECT | {"model_version": PREDICTIONS}, CLASSES))
    assert (states(found), tags) == ({"labels": "ok"}, TAGS)
    found, _ = drained(label_checks(PROJECT | {"model_version": "another"}, (*CLASSES, "leaf")))
    assert states(found) == {"labels": "failed", "predictions": "warning"}
    assert "'leaf'" in found[0].found
    dull = PROJECT["label_config"].replace('smart="true"', 'smart="false"')  # type: ignore[attr-defined]
    assert states(drained(label_checks(PROJECT | {"label_config": dull}, CLASSES))[0]) == {"labels": "failed"}
    found, tags = drained(label_checks(PROJECT | {"label_config": "<View>"}, CLASSES))
    assert (states(found), tags) == ({"labels": "failed"}, None)


# --- images ---------------------------------------------------------------------------------------------------


class Kept:
    """Settings of images."""

    def __init__(self, kind: str, root: str = "/srv/images", prefix: str = "s3://bucket/images/x") -> None:
        self.kind, self.root, self.prefix = kind, Path(root), prefix


def of_images(work: Path, stub: Stub, kept: Kept | None = None, tags: Tags | None = TAGS) -> dict[str, str]:
    images = cast(ImagesSettings, kept) if kept is not None else None
    return states(image_checks(cast(Client, stub), PROJECT, tags, patient(work, images=images)))


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        (None, "ok"),
        (Kept("local_files"), "ok"),
        (Kept("local_files", root="/srv/elsewhere"), "warning"),
        (Kept("local_files", root="/"), "failed"),
        (Kept("s3"), "ok"),
        (Kept("s3", prefix="s3://bucket/images-of-others"), "failed"),
        (Kept("s3", prefix="s3://bucket-2/images"), "failed"),
    ],
)
def test_storages(tmp_path: Path, kept: Kept | None, state: str) -> None:
    assert of_images(tmp_path, Stub(), kept) == {"images": state, "frame": "ok"}


def test_a_root_that_gives_out_every_file_is_told(tmp_path: Path) -> None:
    stub = Stub()
    stub.root = "/"
    assert of_images(tmp_path, stub)["local files"] == "failed"


@pytest.mark.parametrize(
    ("image", "state"),
    [
        (picture(SIZE_HW), "ok"),
        (picture(SIZE_HW, 3), "ok"),
        (picture(SIZE_HW[::-1], 6), "ok"),
        (picture(SIZE_HW, 6), "failed"),
        (picture((40, 61)), "failed"),
        (b"<html>", "failed"),
    ],
)
def test_the_frame_is_that_of_the_masks(tmp_path: Path, image: bytes, state: str) -> None:
    stub = Stub()
    stub.image = image
    assert of_images(tmp_path, stub)["frame"] == state


# --- the backend ----------------------------------------------------------------------------------------------


def of_backend(work: Path, change: Callable[[Stub], object] = lambda stub: None, **more: Any) -> dict[str, str]:
    stub = Stub()
    change(stub)
    found = states(backend_checks(cast(Client, stub), PROJECT, TAGS, patient(work, **more)))
    if found.get("studio click") in {"ok", "failed"}:
        [point] = stub.asked
        assert (point["original_width"], point["original_height"], point["is_positive"]) == (60, 40, True)
    return found


def test_a_backend_that_label_studio_alone_reaches_is_well(tmp_path: Path) -> None:
    well = {"backend": "warning", "connection": "ok", "webhook": "ok", "studio click": "ok"}
    assert of_backend(tmp_path) == well
    assert of_backend(tmp_path, backend=None) == {"backend": "warning"}


@pytest.mark.parametrize(
    "change",
    [
        lambda stub: stub.rows.update(ml=[]),
        lambda stub: stub.rows["ml"][0].update(url="http://elsewhere"),
        lambda stub: stub.rows["ml"][0].update(state="ER", error_message="refused"),
        lambda stub: stub.rows["ml"][0].update(is_interactive=False),
        lambda stub: stub.rows["ml"][0].update(auth_method="NONE"),
    ],
)
def test_a_connection_that_does_not_work_is_told_and_nothing_clicked(
    tmp_path: Path, change: Callable[[Stub], object]
) -> None:
    found = of_backend(tmp_path, change)
    assert found["connection"] == "failed"
    assert "studio click" not in found


@pytest.mark.parametrize(
    "change",
    [
        lambda stub: stub.rows.update(webhooks=[]),
        lambda stub: stub.rows["webhooks"][0].update(headers={}),
        lambda stub: stub.rows["webhooks"][0].update(is_active=False),
    ],
)
def test_a_webhook_that_is_not_heard_is_told(tmp_path: Path, change: Callable[[Stub], object]) -> None:
    assert of_backend(tmp_path, change)["webhook"] == "warning"


@pytest.mark.parametrize(
    "answer",
    [
        {"errors": ["503 Server Error"]},
        {"data": {"result": []}},
        {},
        {"data": {"result": [mask_row((60, 40))]}},
        {"data": {"result": [{"id": "x", "type": "brushlabels", "value": {"rle": [1], "brushlabels": ["coin"]}}]}},
    ],
)
def test_a_click_that_comes_back_as_no_mask_is_told(tmp_path: Path, answer: Mapping[str, Any]) -> None:
    assert of_backend(tmp_path, lambda stub: setattr(stub, "answer", answer))["studio click"] == "failed"


def test_without_a_task_there_is_nothing_to_click_in(tmp_path: Path) -> None:
    found = of_backend(tmp_path, lambda stub: setattr(stub, "tasks", lambda _: iter(())))
    assert found["studio click"] == "warning"
