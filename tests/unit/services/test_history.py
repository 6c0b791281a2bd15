"""The life of one image, from a ledger that is written by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.domain.dataset import DatasetEntry, manifest_bytes, version_of
from pipeline.domain.records import Annotation, Before, Instance, Origin, OriginKind, State
from pipeline.errors import ConfigError
from pipeline.ports import Verdict
from pipeline.services.history import Life, find_sample, life_of
from pipeline.store.decisions import Request
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, SIZE_HW, ingested, instance, sample_id

KEY = sample_id(1)
SHOWN = Origin(OriginKind.MODEL, "start + ellipse", "box 1.0,2.0,3.0,4.0", 1)


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    workspace.ledger.samples.add([ingested(1), ingested(2, labels=(instance(kind=OriginKind.IMPORTED),))])
    return workspace


def said(*instances: Instance, minute: int, round_: int = 1, author: str = "anna") -> Annotation:
    at = NOON + timedelta(minutes=minute)
    return Annotation(KEY, 0, instances, Origin(OriginKind.HUMAN, author), round_, at, seconds=7.0)


def merged(
    workspace: Workspace, number: int, *instances: Instance, revision: int = 1, absent: bool = False
) -> str:
    """A version of round `number`, and its mark."""
    entry = DatasetEntry(KEY, SIZE_HW, "train", KEY, revision, instances)
    data = manifest_bytes([] if absent else [entry], ["cat", "dog"])
    workspace.blobs.put(data)
    version = version_of(data, None)
    workspace.ledger.versions.add(version, number)
    workspace.ledger.rounds.mark(number, "merge", {"version": version.id})
    return version.id


def told(life: Life) -> list[tuple[str, int]]:
    return [(event.what, event.round) for event in life.events]


def of(workspace: Workspace, number: int = 1) -> Life:
    return life_of(workspace, workspace.ledger.samples.get(sample_id(number)))


def test_a_new_image_was_only_found(workspace: Workspace) -> None:
    life = of(workspace)
    assert told(life) == [("ingest", 0)]
    assert life.sources == (Path("/images/1.png"),)
    assert life.events[0].by == "/images/1.png"


def test_imported_labels_are_a_revision_before_the_first_round(workspace: Workspace) -> None:
    found, labelled = of(workspace, 2).events
    assert (found.what, labelled.what, labelled.round) == ("ingest", "ingest", 0)
    assert labelled.facts["origin"] == "imported"
    assert [row["state"] for row in labelled.objects] == ["accepted"]


def test_before_and_after_of_an_answer(workspace: Workspace) -> None:
    one = instance(state=State.EDITED, clicks=2)
    assert one.mask is not None
    before = Before(SHOWN, "dog", type(one.mask).from_box(one.box, SIZE_HW))
    workspace.ledger.annotations.append(said(replace(one, before=before), instance("two"), minute=1))
    edited, drawn = of(workspace).events[-1].objects
    assert edited["before"] == {"label": "dog", "by": "start + ellipse", "iou": pytest.approx(44 / 48, abs=1e-6)}
    assert (edited["state"], edited["clicks"]) == ("edited", 2)
    assert drawn["before"] is None


def test_a_late_answer_stands_in_the_round_that_heard_it_first(workspace: Workspace) -> None:
    annotations = workspace.ledger.annotations
    annotations.append(said(instance("one"), minute=1))
    merged(workspace, 1, instance("one"), revision=1)
    merged(workspace, 2, instance("one"), revision=1)
    annotations.append(said(instance("two"), minute=2))
    merged(workspace, 3, instance("two"), revision=2)
    found = [(event.what, event.round, event.facts.get("revision")) for event in of(workspace).events[1:]]
    assert found == [
        ("collect", 1, 1),
        ("merge", 1, 1),
        ("merge", 2, 1),
        ("collect", 3, 2),
        ("merge", 3, 2),
    ]
    assert of(workspace).events[4].facts["asked_in"] == 1


def test_labels_that_were_imported_later_stand_where_they_were_heard(workspace: Workspace) -> None:
    workspace.ledger.annotations.append(said(instance("one"), minute=1))
    merged(workspace, 1, instance("one"), revision=1)
    file = Origin(OriginKind.IMPORTED, "more.json")
    late = Annotation(KEY, 0, (instance("two", kind=OriginKind.IMPORTED),), file, 0, NOON + timedelta(minutes=2))
    workspace.ledger.annotations.append(late)
    (event,) = [event for event in of(workspace).events if event.what == "import"]
    assert (event.round, event.by, event.facts["revision"]) == (2, "more.json", 2)


def test_people_are_told_in_the_order_of_their_times(workspace: Workspace) -> None:
    ledger = workspace.ledger
    ledger.tasks.record(1, {KEY: "task-7"})
    ledger.annotations.append(said(instance("one"), minute=1), task_id="task-7")
    ledger.annotations.withdraw(
        KEY, "anna", NOON + timedelta(minutes=2), "withdrawn", "task-7", cursor=("collect", "2")
    )
    ledger.annotations.append(said(instance("one"), minute=3), task_id="task-7")
    ledger.decisions.add(Verdict(KEY, "fix", "bob", "one", NOON + timedelta(minutes=4)), 1)
    ledger.requests.open(Request("fix-1", KEY, "fix", "bob", NOON + timedelta(minutes=4)))
    events = of(workspace).events
    assert [event.what for event in events] == [
        "ingest", "submit", "collect", "withdraw", "collect", "review", "request",
    ]  # fmt: skip
    assert [event.round for event in events] == [0, 1, 1, 1, 1, 1, 1]
    assert [event.facts["withdrawn"] for event in events if event.what == "collect"] == [True, False]
    assert events[5].facts == {"decision": "fix", "instance": "one"}
    assert events[6].facts == {"reason": "fix", "state": "open"}


def test_a_task_says_what_was_shown(workspace: Workspace) -> None:
    proposed = replace(instance("one", State.PROPOSED, OriginKind.MODEL), origin=SHOWN)
    workspace.ledger.annotations.append_shown([Annotation(KEY, 0, (proposed,), SHOWN, 1, NOON)])
    workspace.ledger.tasks.record(1, {KEY: "task-7"})
    workspace.ledger.rounds.mark(1, "submit", {"annotator": "folder"})
    (event,) = of(workspace).events[1:]
    assert (event.what, event.by, event.facts) == ("submit", "folder", {"task": "task-7", "state": "asked"})
    assert [(row["by"], row["prompt"]) for row in event.objects] == [("start + ellipse", SHOWN.prompt)]


def test_an_image_that_leaves_the_dataset_is_told_once(workspace: Workspace) -> None:
    merged(workspace, 1, instance("one"))
    workspace.ledger.rounds.mark(1, "train", {"model": "m1"})
    gone = merged(workspace, 2, absent=True)
    merged(workspace, 3, absent=True)
    workspace.ledger.samples.set_aside(KEY, "replaced under the same name")
    events = of(workspace).events[1:]
    assert [(event.what, event.round) for event in events] == [
        ("merge", 1), ("train", 1), ("merge", 2), ("quarantine", 3),
    ]  # fmt: skip
    assert (events[2].by, events[2].facts) == (gone, {"left_out": True})
    assert events[3].facts == {"reason": "replaced under the same name"}


def test_an_image_is_found_by_name_stem_path_and_id(workspace: Workspace) -> None:
    for word in ("1.png", "1", "/images/1.png", KEY, KEY[:10], KEY[:10].upper()):
        assert find_sample(workspace, word).id == KEY


@pytest.mark.parametrize("word", ["", "nothing.png", "zz"])
def test_a_word_for_no_image_is_an_error(word: str, workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="no images are called"):
        find_sample(workspace, word)


def test_a_word_for_several_images_names_them(workspace: Workspace) -> None:
    twin = ingested(3)
    workspace.ledger.samples.add([replace(twin, source=Path("/other/1.png"))])
    with pytest.raises(ConfigError, match="2 images are called") as caught:
        find_sample(workspace, "1.png")
    assert str(caught.value).splitlines()[1:] == [
        f"  {KEY[:16]}  /images/1.png",
        f"  {twin.sample.id[:16]}  /other/1.png",
    ]
    assert find_sample(workspace, "images/1.png").id == KEY
    assert find_sample(workspace, "other/1.png").id == twin.sample.id
    with pytest.raises(ConfigError, match="no images are called"):
        find_sample(workspace, "mages/1.png")


def test_of_many_images_only_some_are_named(workspace: Workspace) -> None:
    workspace.ledger.samples.add(
        [replace(ingested(number), source=Path(f"/{number}/a.png")) for number in range(3, 10)]
    )
    with pytest.raises(ConfigError, match="7 images are called 'a'") as caught:
        find_sample(workspace, "a")
    assert str(caught.value).count("/a.png") == 5
    assert str(caught.value).endswith("…")


def test_the_file_that_the_word_is_a_path_to_comes_first(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.ledger.samples.add([replace(ingested(3), source=tmp_path / "1.png")])
    monkeypatch.chdir(tmp_path)
    assert find_sample(workspace, "1.png").id == sample_id(3)
