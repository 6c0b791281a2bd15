"""From configuration to live objects: the folder is the registry, objects are built when asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, MissingExtra, UnknownPeer, WeightsUnavailable
from pipeline.wiring import (
    FAMILIES,
    House,
    find_weights,
    is_workspace,
    list_family,
    load_config,
    open_house,
    peer_module,
    peer_names,
)
from tests.contracts._yolo import skip_without
from tests.integration.commands import TINY

CONFIGS = sorted((TINY.parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_folder_is_the_registry(family: str) -> None:
    folder = TINY.parents[2] / "connectors" / FAMILIES[family]
    files = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert peer_names(family) == files == [row.kind for row in list_family(family)]


def test_an_unknown_peer_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownPeer, match="did you mean 'grabcut'") as raised:
        peer_module("segmenter", "grabcat")
    assert raised.value.key == "segmenter.kind"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_of_the_project_is_good(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASKLOOP_DATA", str(tmp_path))
    assert load_config(path).project.name


# --- weights --------------------------------------------------------------------------------------------------


def test_weights_are_looked_for_in_order(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("config", "workspace", "lent")]
    for place in places[1:]:
        place.mkdir()
        (place / "a.pt").touch()
    assert find_weights("a.pt", places) == places[1] / "a.pt"


def test_weights_by_path(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.pt"
    file.parent.mkdir()
    file.touch()
    assert find_weights(str(file), [Path("/nowhere")]) == file
    assert find_weights("deep/a.pt", [tmp_path]) == file


def test_weights_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.pt").touch()
    assert find_weights("~/a.pt", [Path("/nowhere")]) == tmp_path / "a.pt"


def test_every_place_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable) as raised:
        find_weights("/no/a.pt", [tmp_path, tmp_path / "b"])
    assert raised.value.searched == ("/no/a.pt",)
    with pytest.raises(WeightsUnavailable) as raised:
        find_weights("a.pt", [tmp_path, tmp_path / "b", tmp_path])
    assert raised.value.searched == (str(tmp_path / "a.pt"), str(tmp_path / "b" / "a.pt"))


def test_a_folder_is_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable):
        find_weights("", [tmp_path])


# --- the house ------------------------------------------------------------------------------------------------


def house(tmp_path: Path, *overrides: str) -> House:
    return open_house(TINY, overrides, workspace=tmp_path / "ws")[2]


def test_peers_are_built_once_and_detectors_for_each_model(tmp_path: Path) -> None:
    opened = house(tmp_path)
    assert opened.segmenter is opened.segmenter
    assert opened.detector(None) is not opened.detector(None)
    assert opened.annotator.name
    assert opened.trainer.name
    opened.check()


def test_a_missing_package_is_told_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = house(tmp_path, "trainer={kind: ultralytics_yolo, weights: a.pt}")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'maskloop\[ultralytics\]'"):
        opened.check()
    with pytest.raises(MissingExtra):
        _ = opened.trainer


def test_weights_are_looked_for_beside_the_configuration_in_the_workspace_and_in_the_lent_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = tmp_path / "lent"
    lent.mkdir()
    monkeypatch.delenv("MASKLOOP_WEIGHTS", raising=False)
    opened = house(tmp_path, "trainer={kind: ultralytics_yolo, weights: a.pt}")
    with pytest.raises(WeightsUnavailable) as raised:
        opened.check()
    assert raised.value.searched == (str(TINY.parent / "a.pt"), str(tmp_path / "ws" / "a.pt"))
    monkeypatch.setenv("MASKLOOP_WEIGHTS", str(lent))
    (lent / "a.pt").touch()
    opened.check()


@pytest.mark.parametrize(
    ("segmenter", "missing"),
    [
        ("{kind: mobile_sam}", "mobile_sam.pt"),
        ("{kind: fastsam, weights: here.pt, text_weights: clip.pt}", "clip.pt"),
        ("{kind: cascade, fast: {kind: grabcut}, better: {kind: sam2, size: s}}", "sam2.1_s.pt"),
        ("{kind: cascade, fast: {kind: sam, weights: a.pt}, better: {kind: grabcut}}", "a.pt"),
    ],
    ids=["published", "words", "better", "fast"],
)
def test_weights_that_are_only_needed_later_are_missed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segmenter: str, missing: str
) -> None:
    skip_without("torch", "ultralytics")
    monkeypatch.delenv("MASKLOOP_WEIGHTS", raising=False)
    opened = house(tmp_path, f"segmenter={segmenter}")
    (tmp_path / "ws" / "here.pt").touch()
    with pytest.raises(WeightsUnavailable, match=missing.replace(".", r"\.")):
        opened.check()
    (tmp_path / "ws" / missing).touch()
    opened.check()


def test_a_cascade_lacks_what_its_members_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKLOOP_WEIGHTS", raising=False)
    lacks = {row.kind: row.lacks for row in list_family("segmenter")}
    assert "for fast mobile_sam: weights mobile_sam.pt" in lacks["cascade"]
    assert "for better sam2: weights sam2.1_t.pt" in lacks["cascade"]
    assert lacks["grabcut"] == ""


def test_a_workspace_is_made_only_on_purpose(tmp_path: Path) -> None:
    config = load_config(TINY, workspace=tmp_path / "ws")
    assert not is_workspace(config)
    with pytest.raises(ConfigError, match="is no workspace yet") as raised:
        open_house(TINY, workspace=tmp_path / "ws", create=False)
    assert raised.value.key == "workspace"
    (tmp_path / "ws").mkdir()
    with pytest.raises(ConfigError, match="is no workspace yet"):
        open_house(TINY, workspace=tmp_path / "ws", create=False)
    assert list((tmp_path / "ws").iterdir()) == []
    house(tmp_path)
    assert is_workspace(config)


def test_times_are_utc(tmp_path: Path) -> None:
    resources = house(tmp_path)._resources("annotator", "simulated")
    now = resources.now()
    assert now.tzinfo is UTC
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60
    assert resources.work == tmp_path / "ws" / "work" / "annotators-simulated"
