"""Whose pixels a task means, and what lies out of reach."""

from __future__ import annotations

import hashlib
import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.label_studio.backend.bodies import Task
from connectors.label_studio.backend.fetching import Fetcher
from connectors.label_studio.backend.local_files import open_below, read_below
from connectors.label_studio.backend.pictures import Pictures
from connectors.label_studio.backend.services import Limits
from pipeline.domain.geometry import Image
from pipeline.errors import ImageUnreadable
from pipeline.formats.image import decode_image, png_bytes
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.store.encodings import EncodingStore
from tests.fakes.brush import BrushSegmenter
from tests.unit.connectors.label_studio.backend._tools import SIZE_HW, name_of, services

PICTURE = np.full((20, 30, 3), 7, dtype=np.uint8)


class Studio:
    url = "http://studio.example/ls"

    def authorization(self, stale: str | None = None) -> str:
        return "Token t"


class Fetched(Fetcher):
    """Keeps what is asked instead of asking."""

    def __init__(self) -> None:
        super().__init__(Studio(), most=1000, timeout_s=1)
        self.urls: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.urls.append(url)
        return png_bytes(PICTURE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "set 1").mkdir(parents=True)
    (root / "set 1" / "a.png").write_bytes(png_bytes(PICTURE))
    (tmp_path / "secret.png").write_bytes(png_bytes(PICTURE))
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "outside").symlink_to(tmp_path)
    (root / "in.png").symlink_to(root / "set 1" / "a.png")
    os.mkfifo(root / "pipe.png")
    return root


def pictures(fetcher: Fetcher | None = None, **changes: Any) -> Pictures:
    lent = services(**{"decode_image": lambda data: decode_image(data).image, "studio": Studio(), **changes})
    return Pictures(lent, Limits(), fetcher or Fetched())


def task(address: object, number: int = 5) -> Task:
    return Task.model_validate({"id": number, "data": {"image": address}})


def loaded(task_: Task, **changes: Any) -> Image:
    return pictures(**changes).find(task_, "image").load()[1]


def test_our_own_sample_goes_before_any_address() -> None:
    one = Task.model_validate({"id": 5, "data": {"image": "http://evil.example/", "maskloop_sample": name_of(1)}})
    name, image = pictures().find(one, "image").load()
    assert (name, image.shape[:2]) == (name_of(1), SIZE_HW)


@pytest.mark.parametrize("told", [name_of(99), "../../etc/passwd", 7, None, ["x"], "A" * 64])
def test_a_sample_that_is_none_of_ours_is_found_by_its_address(told: object) -> None:
    one = Task.model_validate({"id": 5, "data": {"image": "/data/upload/1/a.png", "maskloop_sample": told}})
    fetched = Fetched()
    name, image = pictures(fetched).find(one, "image").load()
    assert np.array_equal(image, PICTURE)
    assert name == hashlib.sha256(png_bytes(PICTURE)).hexdigest()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/data/upload/1/a.png", "http://studio.example/ls/data/upload/1/a.png"),
        ("/ls/data/upload/1/a.png", "http://studio.example/ls/data/upload/1/a.png"),
        ("/data/local-files/?d=a.png", "http://studio.example/ls/data/local-files/?d=a.png"),
        ("http://studio.example/data/upload/1/a.png", "http://studio.example/data/upload/1/a.png"),
        ("s3://b/k.png", "http://studio.example/ls/tasks/5/presign/?fileuri=czM6Ly9iL2sucG5n"),
        ("https://cdn.example/a.png", "https://cdn.example/a.png"),
    ],
)
def test_addresses_lead_where_they_say(address: str, url: str) -> None:
    fetched = Fetched()
    pictures(fetched).find(task(address), "image").load()
    assert fetched.urls == [url]


@pytest.mark.parametrize("address", ["//evil.example/a.png", "/\\evil.example/a.png", "\\\\evil.example\\a.png"])
def test_what_only_looks_like_a_path_goes_to_nobody(address: str) -> None:
    asking = Pictures(services(studio=Studio()), Limits(), Fetcher(Studio(), most=1000, timeout_s=1))
    with pytest.raises(ImageUnreadable):
        asking.find(task(address), "image").load()


@pytest.mark.parametrize("address", [None, "", 7, {}, "x" * 9000, "http://[::1"])
def test_no_address_is_told(address: object) -> None:
    with pytest.raises(ImageUnreadable):
        loaded(task(address))


def test_label_studios_addresses_need_label_studio() -> None:
    with pytest.raises(ImageUnreadable, match="annotator is"):
        loaded(task("/data/upload/1/a.png"), studio=None)
    with pytest.raises(ImageUnreadable, match="without an id"):
        loaded(Task.model_validate({"data": {"image": "s3://b/k"}}))


@pytest.mark.parametrize("path", ["set 1/a.png", "set%201/a.png", "/set 1/a.png", "in.png", "./set 1//a.png"])
def test_local_files_are_read_below_their_folder(folder: Path, path: str) -> None:
    image = loaded(task(f"/data/local-files/?d={path}"), local_files=folder)
    assert np.array_equal(image, PICTURE)


OUT = [
    "../secret.png", "set 1/../../secret.png", "out.png", "outside/secret.png", "%2e%2e/secret.png", "", ".", "/", "..",
    "..%2fsecret.png", "..\\secret.png", "set 1/a.png\0.png", "%00", "pipe.png", "set 1", "nothing.png", "a" * 5000,
    "/etc/passwd", "//etc/passwd", "file:///etc/passwd", "~/secret.png", "%252e%252e/secret.png",
]  # fmt: skip


@pytest.mark.parametrize("path", OUT, ids=range(len(OUT)))
def test_nothing_outside_is_read(folder: Path, path: str) -> None:
    asking = pictures(Fetcher(None, most=1000, timeout_s=1), local_files=folder)
    with pytest.raises(ImageUnreadable):
        asking.find(task(f"/data/local-files/?d={path}"), "image").load()


PARTS = st.sampled_from(
    ["..", ".", "", "set 1", "a.png", "out.png", "outside", "secret.png", "in.png", "root", "\0"]
)


@given(parts=st.lists(PARTS, max_size=6))
def test_whatever_is_opened_lies_below(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "below"
    if not root.exists():
        (root / "set 1").mkdir(parents=True)
        (root / "set 1" / "a.png").write_bytes(b"in")
        (root.parent / "secret.png").write_bytes(b"out")
        (root / "out.png").symlink_to(root.parent / "secret.png")
        (root / "outside").symlink_to(root.parent)
    try:
        assert read_below(root, "/".join(parts), most=10) == b"in"
    except ImageUnreadable:
        return


def test_a_link_that_is_put_in_the_way_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest: Callable[..., str] = os.path.realpath

    def beaten(path: Any, **more: Any) -> str:
        found = honest(path, **more)
        if str(path).endswith("a.png"):
            (folder / "set 1" / "a.png").unlink()
            (folder / "set 1" / "a.png").symlink_to(folder.parent / "secret.png")
        return found

    monkeypatch.setattr(os.path, "realpath", beaten)
    with pytest.raises(ImageUnreadable, match="symbolic links"):
        open_below(folder, "set 1/a.png")


def test_too_large_a_file_is_not_read(folder: Path) -> None:
    with pytest.raises(ImageUnreadable, match="more than 10 bytes"):
        read_below(folder, "set 1/a.png", most=10)


def test_no_descriptor_stays_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in ("set 1/a.png", *OUT):
        try:
            read_below(folder, urllib.parse.unquote(path), most=10_000)
        except ImageUnreadable:
            continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_picture_is_encoded_once_and_a_changed_file_anew(folder: Path) -> None:
    segmenter = BrushSegmenter()
    found = pictures(local_files=folder, segmenter=segmenter)
    one = task("/data/local-files/?d=set 1/a.png")
    for _ in range(3):
        assert found.encoding(found.find(one, "image")).size_hw == (20, 30)
    assert segmenter.encoded == 1
    (folder / "set 1" / "a.png").write_bytes(png_bytes(PICTURE[:10]))
    assert found.encoding(found.find(one, "image")).size_hw == (10, 30)


class Storable(BrushSegmenter):
    storable = True


def test_after_a_restart_encodings_are_still_there(tmp_path: Path) -> None:
    one = Task.model_validate({"id": 5, "data": {"maskloop_sample": name_of(1)}})
    counted = []
    for _ in range(2):
        segmenter = Storable()
        stored = StoredSegmenter(segmenter, EncodingStore(tmp_path, 10**9))
        found = pictures(segmenter=stored)
        assert found.encoding(found.find(one, "image")).size_hw == SIZE_HW
        counted.append(segmenter.encoded)
    assert counted == [1, 0]
