"""The whole interactive path with nothing faked: Label Studio, `pipeline serve`, a browser, and the loop around them.

A picture is opened with the machine's masks on it; a person adds an object by two clicks, corrects another, and
submits. What the browser showed is what the loop collects, and what the next round learns from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml

from connectors.label_studio.client import Client
from connectors.label_studio.convert import Region, read_regions
from connectors.label_studio.starting import Studio, free_port
from connectors.tasks import Tasks, read_task
from pipeline.domain.clicks import Click, next_click
from pipeline.domain.dataset import parse_manifest
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.domain.records import Instance, OriginKind, State
from pipeline.domain.refinement import Refinement
from pipeline.ports import Segmenter
from pipeline.segmenting.refining import begun, refined
from pipeline.wiring import open_house
from tests.integration.commands import pipeline
from tests.integration.label_studio.browser import CHROMIUM, Editor, Said, browser_page
from tests.integration.label_studio.serving import accept_all, serving

SECRET = "a-secret-for-this-test-alone"
SHOTS = Path(__file__).resolve().parents[3] / "runs" / "screenshots" / "label_studio"
POINT: Literal["key-point-tool"] = "key-point-tool"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason="there is no /usr/bin/chromium: install the package chromium"
    ),
]


@dataclass(frozen=True)
class Project:
    """A configuration, the port of its backend, and who asks Label Studio."""

    config: Path
    port: int
    client: Client


@pytest.fixture
def project(studio: Studio, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Generated scenes, a detector that misses much, the shipped segmenter, two rounds."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    monkeypatch.setenv("MASKLOOP_SECRET", SECRET)
    port = free_port()
    body = {
        "project": {"name": "browser test", "classes": ["coin", "ring", "leaf", "star"]},
        "workspace": "run",
        "rounds": 2,
        "detector": {"kind": "ground_truth", "skill": 0.5},
        "segmenter": {"kind": "nano_sam"},
        "annotator": {"kind": "label_studio", "url": studio.url, "backend": f"http://127.0.0.1:{port}"},
        "trainer": {"kind": "dry_run"},
        "ingest": {
            "sources": [{"kind": "scenes", "count": 14, "seed": 20, "size": 512, "labels_are": "truth"}],
            "split": {"train": 0.7, "val": 0.3, "test": 0.0},
        },
        "score": {"measures": {"entropy": 1.0}},
        "select": {"kind": "top_k", "budget": {"images": 3}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(body))
    return Project(path, port, Client(studio.url, studio.account.legacy_token))


@dataclass(frozen=True)
class Case:
    """A task with an object that the machine missed, and one of its masks that is not right."""

    task: int
    sample_id: str
    size_hw: tuple[int, int]
    shown: tuple[Instance, ...]
    missed: Instance
    wrong: Instance
    right: Mask


def case_of(project: Project, number: int) -> Case:
    """The first of the round's tasks that has both, and on which the small network does what the clicks ask for: what
    is shown here is how they travel."""
    _, workspace, house = open_house(project.config)
    rows = list(project.client.tasks(number))
    for path in Tasks(workspace.root / "work" / "annotators-label_studio" / "tasks").known().values():
        task = read_task(path)
        masks = [one.mask for one in task.instances if one.mask is not None]
        truth = [one for one in workspace.ledger.samples.truth(task.sample_id) or () if one.mask is not None]
        [encoding] = house.segmenter.encode([house.read_image(workspace.ledger.samples.get(task.sample_id))])
        missed = [
            one
            for one in truth
            if sum(mask_of(one).intersection(mask).area_px for mask in masks) == 0
            and shrinks(house.segmenter, encoding, one)
        ]
        pairs = [(one, other) for one in task.instances if one.mask for other in truth if one.label == other.label]
        wrong = [
            (a, b)
            for a, b in pairs
            if 0.4 < mask_of(a).iou(mask_of(b)) < 0.97
            and is_corrected(house.segmenter, encoding, a, b, [one for one in task.instances if one is not a])
        ]
        if missed and wrong:
            shown, right = min(wrong, key=lambda pair: mask_of(pair[0]).iou(mask_of(pair[1])))
            largest = max(missed, key=lambda one: mask_of(one).area_px)
            found = next(int(row["id"]) for row in rows if row["data"]["maskloop_sample"] == task.sample_id)
            return Case(found, task.sample_id, task.size_hw, task.instances, largest, shown, mask_of(right))
    raise AssertionError(
        "no task has both an object that was missed and a mask that is wrong: choose another seed"
    )


def shrinks(segmenter: Segmenter, encoding: Encoding, missed: Instance) -> bool:
    """Whether a click finds the object, and one that takes away its right half makes it smaller."""
    prompt = Prompt(points_xy=(deepest(mask_of(missed)).point_xy,), point_labels=(True,))
    first = begun(segmenter, encoding, prompt)
    if first.mask.iou(mask_of(missed)) <= 0.5:
        return False
    return refined(segmenter, encoding, first, right_half(first.mask)).mask.area_px < first.mask.area_px


def is_corrected(
    segmenter: Segmenter, encoding: Encoding, wrong: Instance, right: Instance, others: Sequence[Instance]
) -> bool:
    """Whether a click takes away what is too much, where no other region lies, and all around it is too much."""
    click = surplus_of(wrong, right)
    if click is None:
        return False
    around = slice(max(click.y - 3, 0), click.y + 4), slice(max(click.x - 3, 0), click.x + 4)
    if not (mask_of(wrong).bitmap() & ~mask_of(right).bitmap())[around].all():
        return False
    if any(mask_of(other).bitmap()[click.y, click.x] for other in others if other.mask):
        return False
    after = refined(segmenter, encoding, Refinement.of_mask(mask_of(wrong)), click)
    return not after.mask.bitmap()[click.y, click.x]


def right_half(mask: Mask) -> Click:
    surplus = mask.bitmap()
    surplus[:, : int(np.median(np.nonzero(surplus)[1]))] = False
    return deepest(Mask.from_bitmap(surplus))


def surplus_of(wrong: Instance, right: Instance) -> Click | None:
    """Where to take something away, if that is what the mask needs most."""
    click = next_click(mask_of(wrong).bitmap(), mask_of(right).bitmap())
    return click if click is not None and not click.positive else None


def mask_of(instance: Instance) -> Mask:
    assert instance.mask is not None
    return instance.mask


def deepest(mask: Mask) -> Click:
    """The pixel farthest from the mask's edge."""
    click = next_click(np.zeros(mask.size_hw, dtype=np.bool_), mask.bitmap())
    assert click is not None
    return click


def answered(said: Said, size_hw: tuple[int, int]) -> Region:
    """The one mask that came back."""
    [region] = read_regions(said.rows, size_hw)
    assert region.mask is not None
    return region


def add_an_object(editor: Editor, case: Case) -> None:
    """A click, and one more, with Alt, that takes something away."""
    label = case.missed.label
    editor.choose(POINT, label)
    click = deepest(mask_of(case.missed))
    first = answered(editor.click(click.x + 0.5, click.y + 0.5), case.size_hw)
    editor.shot("2-one-click")
    assert first.label == label
    assert first.mask is not None
    assert first.mask.iou(mask_of(case.missed)) > 0.5, "the object under the click"
    assert len(editor.suggestions()) == 1
    off = right_half(first.mask)
    editor.choose_label(POINT, label)
    said = editor.click(off.x + 0.5, off.y + 0.5, negative=True)
    assert [row["is_positive"] for row in said.prompts] == [True, False]
    second = answered(said, case.size_hw)
    editor.shot("3-alt-click")
    assert second.id == first.id, "the same object"
    assert second.mask is not None
    assert second.mask.area_px < first.mask.area_px
    editor.accept()


def correct_an_object(editor: Editor, case: Case) -> Mask:
    """A Ctrl + Alt + click where the machine's mask is most wrong: it is replaced in place."""
    before = mask_of(case.wrong)
    click = next_click(before.bitmap(), case.right.bitmap())
    assert click is not None
    assert not click.positive
    editor.choose(POINT, case.wrong.label)
    said = editor.click(click.x + 0.5, click.y + 0.5, negative=True, inside=True)
    region = answered(said, case.size_hw)
    editor.shot("4-corrected")
    assert region.id == case.wrong.id, "the machine's own region is edited"
    assert region.mask is not None
    assert region.mask != before
    assert not region.mask.bitmap()[click.y, click.x]
    editor.accept()
    return region.mask


def work(project: Project, studio: Studio, case: Case, number: int, profile: Path) -> dict[str, Mask]:
    """A person's minute with one picture; the masks that the browser showed at the end, by region."""
    with browser_page(profile) as page:
        editor = Editor(page, studio.url, SHOTS)
        editor.log_in(studio.account.email, studio.account.password)
        editor.open(number, case.task)
        editor.shot("1-opened")
        there = {row["id"] for row in editor.regions()}
        assert there == {one.id for one in case.shown if one.mask is not None and one.mask.area_px}
        editor.switch_on_auto_annotation()
        add_an_object(editor, case)
        edited = correct_an_object(editor, case)
        shown = {region.id: region for region in read_regions(editor.rows(), case.size_hw)}
        assert len(shown) == len(there) + 1, "one object more, and none twice"
        assert shown[case.wrong.id].mask == edited
        editor.asked.clear()
        submitted = editor.submit()
        page.wait_for_timeout(2500)
        editor.shot("5-submitted")
        assert [row["type"] for row in submitted["result"]] == ["brushlabels"] * len(shown)
        assert editor.asked == [], "nothing is asked after the submission"
        assert editor.strangers == [], "the page asks nobody else"
    return {key: region.mask for key, region in shown.items() if region.mask is not None}


def test_a_person_in_a_browser_teaches_the_next_round(project: Project, studio: Studio, tmp_path: Path) -> None:
    with serving(project.config, project.port, tmp_path / "serve.log"):
        assert pipeline("run", project.config).exit_code == 3
        number = int(json.loads((tmp_path / "run/work/annotators-label_studio/project.json").read_text())["id"])
        case = case_of(project, number)
        seen = work(project, studio, case, number, tmp_path / "profile")
        assert accept_all(project.client, number, but=frozenset({case.task})) == 2
        assert pipeline("run", project.config).exit_code == 3, "round 2 asks"
        accept_all(project.client, number)
        result = pipeline("run", project.config)
    assert result.exit_code == 0, result.output
    check_what_was_learnt(project, case, seen)
    log = (tmp_path / "serve.log").read_text()
    assert SECRET not in log
    assert "Traceback" not in log


def check_what_was_learnt(project: Project, case: Case, seen: dict[str, Mask]) -> None:
    """The answer is a person's, pixel for pixel what the browser showed, and in the version that was trained on."""
    _, workspace, _ = open_house(project.config)
    shown, said = workspace.ledger.annotations.history(case.sample_id)
    assert (shown.origin.kind, said.origin.kind) == (OriginKind.MODEL, OriginKind.HUMAN)
    kept = {one.id: one for one in said.instances}
    assert kept[case.wrong.id].state is State.EDITED
    [drawn] = [one for one in said.instances if one.state is State.DRAWN]
    assert drawn.label == case.missed.label
    assert drawn.clicks > 0
    assert kept[case.wrong.id].clicks > 0
    assert mask_of(kept[case.wrong.id]) == seen[case.wrong.id]
    assert mask_of(drawn) in seen.values()
    untouched = [one for one in said.instances if one.state is State.ACCEPTED]
    assert all(mask_of(one) == seen[one.id] for one in untouched)
    version = workspace.ledger.versions.of_round(1)
    assert version is not None
    entries = {entry.sample_id: entry for entry in parse_manifest(workspace.blobs.read(version.id))[1]}
    assert {one.id for one in entries[case.sample_id].instances} == {one.id for one in said.present}
