"""What keeps splits where they are: likenesses of older samples, refused leaks, changed settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image as Pillow

from connectors.executors import serial
from pipeline.config import IngestSettings
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Image
from pipeline.domain.ingested import IngestedSample
from pipeline.domain.likeness import likeness_of
from pipeline.domain.records import Sample, Split
from pipeline.errors import ImageUnreadable, SplitLeak
from pipeline.formats.image import read_frame
from pipeline.scenes import DEMO, scene_at
from pipeline.services.splitting import all_likenesses, refuse_leaks, tell_changed_settings
from pipeline.stages.ingest import SourceSettings, SplitSettings
from pipeline.store.workspace import Workspace
from tests.fakes.people import resources

SETTINGS = IngestSettings(sources=(SourceSettings(kind="scenes", count=1),))


class Heard:
    """An `emit` that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, name: str, /, **data: object) -> None:
        self.events.append((name, data))

    def of(self, name: str) -> list[dict[str, object]]:
        return [data for heard, data in self.events if heard == name]


def image(number: int) -> Image:
    return scene_at(DEMO, 9, number)[0]


def add(workspace: Workspace, name: str, number: int, split: Split = "train", *, group: str = "") -> Sample:
    """A sample without a likeness, as older versions made them."""
    path = workspace.root / f"{name}.png"
    Pillow.fromarray(image(number)).save(path)
    sample = Sample(name, path, (160, 160), split, group or name)
    workspace.ledger.samples.add([IngestedSample(sample, path, (1, number), None, None)])
    return sample


def read(sample: Sample) -> Image:
    return read_frame(sample.path)


def entries(*samples: Sample) -> list[DatasetEntry]:
    return [DatasetEntry(one.id, one.size_hw, one.split, one.group, 1, ()) for one in samples]


def test_samples_without_a_likeness_are_read_once(workspace: Workspace) -> None:
    for number in range(3):
        add(workspace, f"s{number}", number)
    executor, heard = serial.build(serial.Settings(), resources(workspace.root)), Heard()
    found = all_likenesses(workspace.ledger, executor, read, emit=heard)
    assert found == {f"s{number}": likeness_of(image(number)) for number in range(3)}

    def never(sample: Sample) -> Image:
        raise AssertionError(f"{sample.id} was read again")

    assert all_likenesses(workspace.ledger, executor, never, emit=heard) == found


def test_what_cannot_be_read_goes_without_and_is_told(workspace: Workspace) -> None:
    for number in range(2):
        add(workspace, f"s{number}", number)
    (workspace.root / "s0.png").write_bytes(b"no image")
    executor, heard = serial.build(serial.Settings(), resources(workspace.root)), Heard()
    assert all_likenesses(workspace.ledger, executor, read, emit=heard).keys() == {"s1"}
    (told,) = heard.of("likeness.unreadable")
    assert told["path"] == str(workspace.root / "s0.png")


def test_a_leak_carries_its_pair(workspace: Workspace) -> None:
    train, val = add(workspace, "a", 1), add(workspace, "b", 1, "val")
    looks = {one.id: likeness_of(read(one)) for one in (train, val)}
    with pytest.raises(SplitLeak) as caught:
        refuse_leaks(workspace, entries(train, val), SETTINGS, lambda: looks, read, emit=Heard())
    error = caught.value
    assert (error.sample_id, error.path) == ("a", train.path)
    assert (error.other_id, error.other_path) == ("b", val.path)
    assert error.distance == 0
    assert error.picture is not None
    assert error.picture.is_file()
    assert str(error.picture) in str(error)


def test_a_leak_whose_file_is_gone_is_told_without_a_picture(workspace: Workspace) -> None:
    train, val = add(workspace, "a", 1), add(workspace, "b", 2, "val")

    def gone(sample: Sample) -> Image:
        raise ImageUnreadable("gone", path=sample.path)

    grouped = entries(replace(train, group="clip"), replace(val, group="clip"))
    with pytest.raises(SplitLeak, match="of the same group") as caught:
        refuse_leaks(workspace, grouped, SETTINGS, dict, gone, emit=Heard())
    assert caught.value.picture is None


def test_a_held_out_sample_in_train_is_a_leak_of_itself(workspace: Workspace) -> None:
    held_out = add(workspace, "b", 2, "val")
    with pytest.raises(SplitLeak, match="is held out as val"):
        refuse_leaks(workspace, entries(replace(held_out, split="train")), SETTINGS, dict, read, emit=Heard())


def test_nobody_looks_where_near_duplicates_are_off(workspace: Workspace) -> None:
    train, val = add(workspace, "a", 1), add(workspace, "b", 1, "val")
    settings = SETTINGS.model_copy(update={"split": SplitSettings(near_duplicates="off")})

    def never() -> dict[str, object]:
        raise AssertionError("likenesses were asked for")

    refuse_leaks(workspace, entries(train, val), settings, never, read, emit=Heard())  # type: ignore[arg-type]


def test_a_warning_lets_it_pass(workspace: Workspace) -> None:
    train, val, heard = add(workspace, "a", 1), add(workspace, "b", 1, "val"), Heard()
    looks = {one.id: likeness_of(read(one)) for one in (train, val)}
    settings = SETTINGS.model_copy(update={"leaks": "warn"})
    refuse_leaks(workspace, entries(train, val), settings, lambda: looks, read, emit=heard)
    (told,) = heard.of("leaks.warned")
    assert told["train_images"] == 1


def test_changed_settings_are_told_once_and_only_of_a_pool(workspace: Workspace) -> None:
    heard, other = Heard(), SplitSettings(train=0.5, val=0.5)
    tell_changed_settings(workspace.ledger, SplitSettings(), 0, emit=heard)
    tell_changed_settings(workspace.ledger, SplitSettings(salt="x"), 0, emit=heard)
    assert heard.events == [], "there is no image whose split could have been meant"
    add(workspace, "a", 1)
    for _ in range(2):
        tell_changed_settings(workspace.ledger, other, 3, emit=heard)
    (told,) = heard.of("ingest.settings_changed")
    assert told == {
        "samples": 1,
        "changed": {
            "seed": (0, 3),
            "ingest.split.salt": ("x", ""),
            "ingest.split.train": (0.8, 0.5),
            "ingest.split.val": (0.2, 0.5),
        },
    }
