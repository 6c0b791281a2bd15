"""What a real Label Studio asks of the backend: masks for pictures that it alone has, ahead of clicks, and training."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from connectors.label_studio.backend.app import application
from connectors.label_studio.client import Client
from connectors.label_studio.convert import read_regions
from connectors.label_studio.labeling_config import labeling_config
from connectors.label_studio.project import connect_backend
from connectors.label_studio.starting import Studio
from pipeline.domain.geometry import Box, Image
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.errors import DataError
from pipeline.formats.image import decode_image
from tests.fakes.served import serving
from tests.unit.connectors.label_studio.backend._tools import services

SECRET = "a-secret-for-this-test-alone"
STORED_HW, UPRIGHT_HW = (40, 60), (60, 40)

pytestmark = pytest.mark.slow


def photograph() -> bytes:
    """A JPEG that was taken with the camera turned: it is stored as 40 x 60 and shown as 60 x 40."""
    target = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(np.full((*STORED_HW, 3), 90, dtype=np.uint8)).save(target, "JPEG", exif=exif)
    return target.getvalue()


@pytest.fixture(scope="module")
def client(studio: Studio, token: str) -> Client:
    return Client(studio.url, token)


def propose(images: Sequence[tuple[str, Image]]) -> list[tuple[Instance, ...] | DataError]:
    """One square in every picture."""
    square = Box(5.0, 5.0, 15.0, 25.0)
    mask = Mask.from_box(square, UPRIGHT_HW)
    origin = Origin(OriginKind.MODEL, "start + brush")
    return [(Instance(name[:16], "cat", square, mask, origin, State.PROPOSED),) for name, _ in images]


@pytest.fixture(scope="module")
def backend(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    lent = services(
        studio=client,
        propose=propose,
        decode_image=lambda data: decode_image(data).image,
        now=lambda: datetime.now(UTC),
        run_command=(sys.executable, "-c", "print('round 1')"),
        jobs=tmp_path_factory.mktemp("jobs"),
    )
    with serving(application(lent, secret=SECRET)) as url:
        yield url


@pytest.fixture(scope="module")
def task(client: Client, backend: str) -> tuple[int, int]:
    """A backend's number, and that of a task whose picture was uploaded."""
    project = client.create(
        "/api/projects/", {"title": "images", "label_config": labeling_config(["cat"])}, "make a project"
    )
    where = client.upload(project["id"], "turned.jpg", photograph(), "image/jpeg")
    [number] = client.import_tasks(project["id"], [{"data": {"image": where}}])
    connect_backend(client, project["id"], backend, SECRET)
    [connected] = client.backends(project["id"])
    return int(connected["id"]), number


def point(x: float, y: float, **more: Any) -> dict[str, Any]:
    height, width = UPRIGHT_HW
    value = {"x": 100 * x / width, "y": 100 * y / height, "width": 0.3, "keypointlabels": ["cat"]}
    row = {"id": "p1", "from_name": "keypoint", "to_name": "image", "type": "keypointlabels", "is_positive": True}
    return {**row, "original_width": width, "original_height": height, "image_rotation": 0, "value": value, **more}


def test_a_click_on_an_uploaded_picture_comes_back_as_a_mask_on_what_is_shown(
    client: Client, task: tuple[int, int]
) -> None:
    answer = client.ask(*task, {"result": [point(20.5, 50.5)]})
    [region] = read_regions(answer["data"]["result"], UPRIGHT_HW)
    ys, xs = np.mgrid[: UPRIGHT_HW[0], : UPRIGHT_HW[1]]
    assert region.mask == Mask.from_bitmap(np.hypot(xs - 20, ys - 50) <= 6)
    assert client.ask(*task, {"result": [point(20.5, 50.5)]}) == answer


def test_destroyed_prompts_are_answered_with_nothing(client: Client, task: tuple[int, int]) -> None:
    assert client.ask(*task, {"result": []})["data"]["result"] == []


def test_a_click_on_a_picture_of_another_size_shows_nothing(client: Client, task: tuple[int, int]) -> None:
    answer = client.ask(*task, {"result": [point(3, 3, original_width=60, original_height=40)]})
    assert not answer.get("data", {}).get("result")
    assert answer["errors"]


def test_strangers_get_nothing(backend: str) -> None:
    answer = httpx.post(f"{backend}/predict", json={}, trust_env=False)
    assert answer.status_code == 401


def test_a_task_that_is_opened_is_pre_annotated(client: Client, task: tuple[int, int]) -> None:
    client.task(task[1])
    [made] = client.task(task[1])["predictions"]
    [region] = read_regions(made["result"], UPRIGHT_HW)
    assert region.mask == Mask.from_box(Box(5.0, 5.0, 15.0, 25.0), UPRIGHT_HW)
    assert made["model_version"] == "start + brush"


def test_start_training_starts_a_run(client: Client, backend: str, task: tuple[int, int]) -> None:
    # Its answer is empty.
    header = {"Authorization": client.authorization()}
    httpx.post(
        f"{client.url}/api/ml/{task[0]}/train", headers=header, trust_env=False, timeout=60
    ).raise_for_status()
    until = time.monotonic() + 30
    jobs: list[dict[str, Any]] = []
    while time.monotonic() < until and not (jobs and jobs[0]["state"] == "done"):
        answer = httpx.get(f"{backend}/jobs", auth=("maskloop", SECRET), trust_env=False)
        jobs = answer.raise_for_status().json()["jobs"]
        time.sleep(0.1)
    assert [(job["state"], job["reason"]) for job in jobs] == [("done", "Start Training")]
