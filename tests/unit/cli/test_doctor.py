"""`pipeline doctor`: healthy or not, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.ports import Check, Segmenter
from pipeline.wiring import House, load_config, open_house

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The dry run, on a few scenes, in a folder of its own."""
    data = yaml.safe_load((REPOSITORY / "configs" / "dry.yaml").read_text(encoding="utf-8"))
    data |= {"workspace": "run", "rounds": 1}
    data["ingest"]["sources"][0]["count"] = 60
    data["select"]["budget"] = {"images": 8}
    path = tmp_path / "dry.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def doctor(config: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["doctor", str(config), *more])


def found(config: Path, *more: str) -> tuple[bool, dict[str, dict[str, Any]]]:
    result = doctor(config, "--json", *more)
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["healthy"] else 1)
    return told["healthy"], {row["name"]: row for row in told["checks"]}


def test_a_healthy_house_before_and_after_its_run(config: Path) -> None:
    healthy, checks = found(config)
    assert healthy
    assert {"configuration", "workspace", "disk", "segmenter", "annotator", "click"} <= set(checks)
    assert "not begun" in checks["workspace"]["found"]
    assert not (config.parent / "run").exists(), "looking makes no workspace"
    assert CliRunner().invoke(main, ["run", str(config)]).exit_code == 0
    before = files(config.parent / "run")
    healthy, checks = found(config)
    assert healthy
    assert "60 images, 1 round finished" in checks["workspace"]["found"]
    assert "as the ledger says" in checks["model"]["found"]
    assert files(config.parent / "run") == before, "looking changes nothing"
    check_a_damaged_model(config)


def files(folder: Path) -> dict[Path, bytes]:
    """All but the ledger's, which SQLite touches when it is read."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "sqlite" not in path.name)
    return {path: path.read_bytes() for path in paths}


def check_a_damaged_model(config: Path) -> None:
    _, opened, _ = open_house(config)
    weights = opened.ledger.models.get(str(opened.ledger.pointers.get("champion"))).weights
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes() + b"x")
    healthy, checks = found(config)
    assert not healthy
    assert checks["model"]["state"] == "failed"
    weights.unlink()
    assert "is gone" in found(config)[1]["model"]["found"]


def test_the_text_ends_with_the_verdict(config: Path) -> None:
    result = doctor(config)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].startswith("healthy: ")


def test_a_wrong_configuration_is_a_finding(config: Path) -> None:
    healthy, checks = found(config, "--set", "rounds=0", "--set", "segmenter.kind=elipse")
    assert not healthy
    assert list(checks) == ["configuration"]
    assert "did you mean 'ellipse'" in checks["configuration"]["found"]


def test_weights_of_another_hash_and_weights_that_are_not_there(config: Path) -> None:
    weights = REPOSITORY / "configs" / "weights" / "base-seg.pt"
    demanded = ["--set", f"detector={{kind: ultralytics_yolo, weights: {weights}, sha256: {'f' * 64}}}"]
    healthy, checks = found(config, *demanded)
    assert not healthy
    assert f"not {'f' * 64}" in checks["detector"]["found"]
    healthy, checks = found(config, "--set", "detector={kind: ultralytics_yolo, weights: nowhere-seg.pt}")
    assert not healthy
    assert "MASKLOOP_WEIGHTS" in checks["detector"]["remedy"]
    assert checks["click"]["state"] == "ok", "the others are looked at all the same"


def test_encodings_that_find_no_room_are_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy, checks = found(config, "--set", "encodings.budget_gb=1000000")
    assert healthy
    assert checks["disk"]["state"] == "warning"
    assert "encodings.budget_gb" in checks["disk"]["remedy"]


def test_a_segmenter_that_answers_nothing_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from connectors.segmenters import ellipse
    from pipeline.domain.mask import Mask
    from pipeline.domain.prompts import MaskPrediction

    real = ellipse.build

    def blind(settings: ellipse.Settings, resources: Any) -> Segmenter:
        segmenter = real(settings, resources)
        monkeypatch.setattr(
            type(segmenter),
            "decode",
            lambda _, encoding, prompts, **more: [[MaskPrediction(Mask.empty(encoding.size_hw), 0.5, 0.5, None)]],
        )
        return segmenter

    monkeypatch.setattr(ellipse, "build", blind)
    healthy, checks = found(config)
    assert not healthy
    assert checks["click"]["state"] == "failed"


def test_what_a_peer_says_of_itself_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from connectors.trainers import dry_run

    said = [Check("stove", "warning", "it is cold", "light it"), Check("fuel", "failed", "none", "buy some")]
    monkeypatch.setattr(dry_run, "checks", lambda settings, resources: iter(said), raising=False)
    result = doctor(config)
    assert result.exit_code == 1
    assert "→ light it" in result.output
    assert result.output.splitlines()[-1] == "not healthy: 10 ok, 1 warning, 1 failed"


def test_the_house_knows_its_peers(config: Path, tmp_path: Path) -> None:
    _, _, house = open_house(config)
    assert isinstance(house, House)
    assert house.families == ["detector", "segmenter", "annotator", "trainer", "executor", "reviewer"]
    assert house.kind("segmenter") == "ellipse"
    assert house.weights("segmenter") == []
    assert load_config(config).rounds == 1
