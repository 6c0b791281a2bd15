"""The report in headless Chromium: it fits a desk's and a hand's screen, asks nobody for anything, and names that look
like HTML do no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow
from playwright.sync_api import Page

from pipeline.domain.mask import Mask
from pipeline.domain.records import Origin, OriginKind
from pipeline.ports import Verdict
from pipeline.scenes import DEMO, make_scenes
from tests.integration.commands import TINY, json_of, pipeline
from tests.integration.label_studio.browser import CHROMIUM, browser_page
from tests.integration.test_people import LATER, answered, opened

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="there is no /usr/bin/chromium: install the package chromium"
)

HOSTILE = "<script>alert(1)</script>&\"'"
"""A class, a person and the project bear this name."""
FILE = "<img src=x onerror=alert(2)>&\"'-{}.png"

_WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
_OPEN = "() => document.querySelectorAll('details').forEach(one => { one.open = true; })"
_TEXTS = """() => [...document.querySelectorAll('svg')].map(svg => {
    const box = one => { const r = one.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
    const texts = [...svg.querySelectorAll('text')].map(one => ({
        text: one.textContent, box: box(one), tick: one.classList.contains('tick'),
    }));
    return {svg: box(svg), texts};
})"""
_STRANGERS = "() => document.querySelectorAll('script, img:not([src^=\"data:\"]), iframe, object, link').length"
_BROKEN = "() => [...document.images].filter(one => !one.complete || one.naturalWidth < 2).length"


def _project(folder: Path) -> Path:
    """Twelve scenes with COCO labels, where one class, the project and every file have a hostile name."""
    names = [HOSTILE, *DEMO.classes[1:]]
    renamed = dict(zip(DEMO.classes, names, strict=True))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir()
    for number, (image, objects) in enumerate(make_scenes(replace(DEMO, size_hw=(64, 64)), 12, 3), start=1):
        file = FILE.format(number)
        Pillow.fromarray(image).save(folder / "images" / file)
        images.append({"id": number, "file_name": file, "height": 64, "width": 64})
        for item in objects:
            mask = Mask.from_bitmap(np.ascontiguousarray(item.visible))
            shape = {"size": [64, 64], "counts": mask.counts.decode()}
            category = names.index(renamed[item.label]) + 1
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            annotations.append(row | {"segmentation": shape, "area": mask.area_px, "bbox": [0, 0, 64, 64]})
    (folder / "images" / FILE.format("torn")).write_bytes(b"\x89PNG\r\n\x1a\n torn")
    images.append({"id": 99, "file_name": FILE.format("torn"), "height": 64, "width": 64})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    labels = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(labels))
    config = yaml.safe_load(TINY.read_text())
    source = {"kind": "coco", "path": "images", "labels": "labels.json", "labels_are": "truth"}
    config["project"] = {"name": HOSTILE, "classes": names}
    config["ingest"]["sources"] = [source]
    config["workspace"] = "workspace"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = _project(tmp_path_factory.mktemp("hostile"))
    assert pipeline("run", config).exit_code == 0
    with opened(config.parent / "workspace") as workspace:
        said = answered(workspace)
        stranger = Origin(OriginKind.HUMAN, HOSTILE)
        workspace.ledger.annotations.append(replace(said, instances=(), origin=stranger, created_at=LATER))
        other = next(key for key in workspace.ledger.tasks.of(1) if key != said.sample_id)
        workspace.ledger.decisions.add(Verdict(other, "hold-out", HOSTILE, None, LATER), 2)
    assert pipeline("run", config, "--set", "rounds=3").exit_code == 0
    return Path(json_of(pipeline("report", config, "--json"))["report"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def told(browser: Page, report: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Page, list[str]]]:
    """The page in a window of the wanted width and scheme, and what it should not have said or asked for."""
    width, scheme = request.param
    heard: list[str] = []

    def on_request(asked: Any) -> None:
        if not asked.url.startswith(("data:", report.as_uri())):
            heard.append(f"asked for {asked.url}")

    def on_dialog(dialog: Any) -> None:
        heard.append(f"dialog {dialog.message}")
        dialog.dismiss()

    listeners: dict[Any, Any] = {
        "request": on_request,
        "dialog": on_dialog,
        "console": lambda message: heard.append(f"console {message.text}"),
        "pageerror": lambda error: heard.append(f"error {error}"),
    }
    for event, listener in listeners.items():
        browser.on(event, listener)
    browser.set_viewport_size({"width": width, "height": 900})
    browser.emulate_media(color_scheme=scheme)
    browser.goto(report.as_uri())
    browser.evaluate(_OPEN)
    yield browser, heard
    for event, listener in listeners.items():
        browser.remove_listener(event, listener)


each_screen = pytest.mark.parametrize(
    "told", [(1400, "light"), (400, "light"), (400, "dark")], indirect=True, ids=["desk", "hand", "hand, dark"]
)


@each_screen
def test_the_page_fits_and_is_quiet(told: tuple[Page, list[str]]) -> None:
    page, heard = told
    wanted, there = page.evaluate(_WIDTHS)
    assert wanted <= there
    assert heard == []
    assert page.evaluate(_STRANGERS) == 0
    assert page.evaluate(_BROKEN) == 0


@each_screen
def test_charts_can_be_read(told: tuple[Page, list[str]]) -> None:
    page, _ = told
    charts = page.evaluate(_TEXTS)
    assert len(charts) >= 6
    for chart in charts:
        left, top, right, bottom = chart["svg"]
        for item in chart["texts"]:
            x1, y1, x2, y2 = item["box"]
            assert x1 >= left - 1, item
            assert x2 <= right + 1, item
            assert y1 >= top - 1, item
            assert y2 <= bottom + 1, item
            assert min(y2 - y1, x2 - x1) > 0 or not item["text"]
            assert max(y2 - y1, x2 - x1) >= 9 or len(item["text"]) < 2, "smaller than anybody can read"
        ticks = sorted((item for item in chart["texts"] if item["tick"]), key=lambda item: item["box"])
        for before in ticks:
            for after in ticks:
                if before is not after and abs(before["box"][1] - after["box"][1]) < 2:
                    apart = before["box"][2] <= after["box"][0] + 1 or after["box"][2] <= before["box"][0] + 1
                    assert apart, f"{before['text']} lies over {after['text']}"


@pytest.mark.parametrize("told", [(1400, "light")], indirect=True, ids=["desk"])
def test_hostile_names_are_shown_as_they_are(told: tuple[Page, list[str]]) -> None:
    page, heard = told
    assert page.title() == f"{HOSTILE}: report"
    assert page.inner_text("h1") == HOSTILE
    assert HOSTILE in page.inner_text("#asked .legend")
    assert HOSTILE in page.inner_text("#people .bars >> nth=1")
    assert HOSTILE in page.inner_text("#people dl.facts")
    assert HOSTILE in page.inner_text("#data table")
    assert HOSTILE in page.inner_text("#data dl.facts"), "whom others do not agree with"
    assert HOSTILE in page.inner_text("#people table"), "a reviewer"
    assert FILE.format("torn") in page.inner_text("#set-aside")
    assert FILE.partition("{}")[0] in page.inner_text("#set-aside .names"), "an image that a reviewer holds out"
    assert heard == []
