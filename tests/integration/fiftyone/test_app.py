"""The real FiftyOne App, in a real browser: opened, tagged, ended, and the tags taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from connectors.fiftyone import mongod
from connectors.fiftyone.masks import mask_of
from connectors.fiftyone.processes import environment, free_port
from connectors.fiftyone.views import VIEWS
from pipeline.cli.processes import child, pipeline_command
from pipeline.domain.mask import Mask
from pipeline.domain.records import OriginKind, State
from pipeline.ports import ReviewRow
from pipeline.services.reviewing import rows, subject_of
from pipeline.shelf import Shelf
from pipeline.wiring import open_house
from tests.integration.commands import TINY, json_of, pipeline
from tests.integration.label_studio.browser import CHROMIUM, browser_page

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).resolve().parents[3] / "runs" / "screenshots"
_CAME_S = 150.0


@dataclass(frozen=True)
class Desk:
    """A workspace with a finished round, and how `pipeline review` is called for it."""

    workspace: Path
    overrides: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        told = [word for one in self.overrides for word in ("--set", one)]
        return [str(TINY), "--workspace", str(self.workspace), *told]

    @property
    def folder(self) -> Path:
        return self.workspace / "work" / "reviewers-fiftyone_app"

    def rows(self) -> list[ReviewRow]:
        config, opened, house = open_house(TINY, workspace=self.workspace)
        shelf = Shelf(opened, lambda: house.executor, house.read_image, batch=4, emit=lambda *_, **__: None)
        return list(rows(config, opened, shelf, subject_of(opened)))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    pytest.importorskip("playwright", reason="a browser is driven by playwright: pip install 'maskloop[test]'")
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's package chromium")
    if mongod.executable() is None:
        pytest.skip(
            "FiftyOne, or the mongod that comes with it, is not installed: pip install 'maskloop[fiftyone]'"
        )
    root = tmp_path_factory.mktemp("review") / "workspace"
    assert pipeline("run", TINY, "--workspace", root, "--set", "rounds=1").exit_code == 0
    return Desk(root, ("reviewer.kind=fiftyone_app", f"reviewer.port={free_port()}"))


@pytest.fixture(scope="module")
def app(desk: Desk) -> Iterator[str]:
    """The App's address; ended by Ctrl-C, after which nothing runs any more."""
    said = desk.workspace / "review.log"
    command = pipeline_command("review", *desk.arguments, "--remote", "--json")
    with child(command, os.environ, log=said) as process:
        until = time.monotonic() + _CAME_S
        while not (lines := [line for line in said.read_text().splitlines() if line.startswith("{")]):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.2)
        database = psutil.Process(int((desk.folder / "database" / "data" / "mongod.lock").read_text()))
        started = [database, *psutil.Process(process.pid).children(recursive=True)]
        assert len(started) >= 2
        yield json.loads(lines[0])["url"]
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
        assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert "takes the verdicts back" in said.read_text()
    assert not (desk.folder / "database" / "mongod.json").exists()


@pytest.fixture(scope="module")
def shown(app: str, desk: Desk) -> list[ReviewRow]:
    """What the App was opened with."""
    return desk.rows()


@pytest.fixture(scope="module")
def tagged(
    app: str, shown: list[ReviewRow], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str | None], str]:
    """What a person said in the App: (sample id, instance id) -> tag."""
    from tests.integration.fiftyone.person import Reviewer

    first, second = [index for index, row in enumerate(shown) if row.machine and not row.merged][:2]
    target = max(shown[second].machine, key=lambda one: one.mask.area_px if one.mask is not None else 0)
    assert target.mask is not None
    x, y = _inside(target.mask, [one.mask for one in shown[second].machine if one is not target])
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        person = Reviewer(page, app, SHOTS)
        person.shot("grid")
        assert set(VIEWS) <= set(person.views())
        person.tag_sample(first, "fix")
        person.open(second)
        person.tag_label(x, y, shown[second].sample.size_hw, "accept")
    return {(shown[first].sample.id, None): "fix", (shown[second].sample.id, target.id): "accept"}


@pytest.mark.parametrize("path", ["/fiftyone", f"/media?filepath={TINY}"])
def test_no_other_web_page_may_read_what_the_app_gives_out(app: str, path: str) -> None:
    base = app.partition("/datasets")[0]
    asked = urllib.request.Request(f"{base}{path}", headers={"Origin": "http://elsewhere.example"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as refused:
        headers = refused.headers
    assert headers.get("Access-Control-Allow-Origin") is None


@pytest.fixture(scope="module")
def pulled(tagged: dict[tuple[str, str | None], str], desk: Desk) -> list[dict[str, str | None]]:
    """The decisions that the tags became, taken back while the App was open."""
    return list(json_of(pipeline("review", *desk.arguments, "--pull", "--json"))["decisions"])


def test_what_a_person_tags_in_the_app_arrives_while_it_is_open(
    pulled: list[dict[str, str | None]], tagged: dict[tuple[str, str | None], str], desk: Desk
) -> None:
    assert {(row["sample"], row["instance"]): row["decision"] for row in pulled} == tagged
    assert {row["state"] for row in pulled} == {"new"}
    ledger = open_house(TINY, workspace=desk.workspace)[1].ledger
    (fixed,) = [sample for (sample, _), tag in tagged.items() if tag == "fix"]
    assert ledger.requests.waiting() == [fixed]
    ((name, instance),) = [about for about, tag in tagged.items() if tag == "accept"]
    said = list(ledger.annotations.history(name))[-1]
    assert (said.origin.kind, said.partial) == (OriginKind.HUMAN, True)
    assert [(item.id, item.state) for item in said.instances] == [(instance, State.ACCEPTED)]


def test_every_mask_in_the_dataset_is_ours_to_the_pixel(shown: list[ReviewRow], desk: Desk) -> None:
    facts = json.loads((desk.folder / "database" / "mongod.json").read_text())
    told = environment(f"mongodb://127.0.0.1:{facts['port']}", own=True)
    command = [sys.executable, "-m", "tests.integration.fiftyone.reading", "tiny"]
    said = subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in said.splitlines() if line.startswith(("[", "{"))]
    whole, labels = lines[0], lines[1:]
    assert whole["count"] == len(shown)
    assert set(whole["views"]) == set(VIEWS)
    assert set(whole["runs"]) == {"likeness", "uniqueness"}
    found = {
        (sample, field, own): mask_of(xywh, np.array(crop), tuple(size))
        for sample, field, own, xywh, crop, size, _ in labels
    }
    expected: dict[tuple[str, str, str], Mask | None] = {}
    for row in shown:
        spoken = {one.id for one in row.merged if one.origin.kind is not OriginKind.MODEL}
        expected |= {(row.sample.id, "proposals", one.id): one.mask for one in row.machine if one.id not in spoken}
        for one in row.merged:
            field = "rejected" if one.state is State.REJECTED else "human"
            expected[row.sample.id, field, one.id] = one.mask
            if one.before is not None and field == "human":
                expected[row.sample.id, "before", one.id] = one.before.mask
        expected |= {(row.sample.id, "truth", one.id): one.mask for one in row.truth or ()}
    assert len(expected) > 20
    assert found == expected


def test_the_next_review_begins_without_verdicts_and_doubles_nothing(
    pulled: list[dict[str, str | None]],
    tagged: dict[tuple[str, str | None], str],
    desk: Desk,
    shown: list[ReviewRow],
) -> None:
    assert pulled
    _, _, house = open_house(TINY, desk.overrides, workspace=desk.workspace)
    reviewer = house.reviewer()
    fresh = desk.rows()
    assert fresh != shown  # an accepted proposal is a person's word by now
    reviewer.open(fresh)
    assert list(reviewer.verdicts()) == []


def _inside(mask: Mask, others: list[Mask | None]) -> tuple[float, float]:
    """The middle of a pixel that belongs to the mask alone, as far from its edge as can be."""
    import cv2

    alone = mask.bitmap()
    for other in others:
        if other is not None:
            alone &= ~other.bitmap()
    depth = cv2.distanceTransform(np.pad(alone, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(column) + 0.5, float(row) + 0.5
