"""Champions by hand: listed, promoted, rolled back, and used from then on."""

from __future__ import annotations

import getpass
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.live import Live
from pipeline.wiring import open_house
from tests.integration.commands import TINY, json_of, pipeline

WHY = ("--reason", "the masks look better")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of two rounds, both of whose models were promoted."""
    workspace = tmp_path_factory.mktemp("models") / "workspace"
    result = pipeline("run", TINY, "--workspace", workspace, "--set", "seed=7")
    assert result.exit_code == 0, result.output
    assert result.output.count(" replaces ") == 2, "with this seed both are better"
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


def told(workspace: Path) -> dict[str, Any]:
    return json_of(pipeline("models", TINY, "--workspace", workspace, "--json"))


def test_models_are_listed_with_lineage_figures_and_decisions(finished: Path) -> None:
    found = told(finished)
    first, second = found["models"]
    assert (first["base"], second["base"]) == ("start", first["id"])
    assert (first["round"], second["round"]) == (1, 2)
    assert [row["champion"] for row in found["models"]] == [False, True]
    assert found["champion"] == second["id"]
    judged = second["judged"]
    assert judged["by"] == "mask"
    assert judged["candidate"]["low"] < judged["candidate"]["value"] < judged["candidate"]["high"]
    assert judged["candidate"]["value"] == pytest.approx(second["figures"]["mask_map50_95"])
    assert judged["champion"]["value"] == pytest.approx(first["figures"]["mask_map50_95"])
    assert judged["difference"]["low"] > 0
    assert [row["decision"] for row in found["decisions"]] == ["promoted", "promoted"]
    assert all("mAP50-95 rises from" in row["reason"] for row in found["decisions"])
    text = pipeline("models", TINY, "--workspace", finished).stdout
    assert f"*  {second['id']}" in text
    assert f"{judged['candidate']['low']:.3f} to {judged['candidate']['high']:.3f}" in text


def test_a_workspace_without_models_says_so(tmp_path: Path) -> None:
    pipeline("ingest", TINY, "--workspace", tmp_path / "fresh")
    assert told(tmp_path / "fresh") | {"workspace": ""} == {
        "workspace": "",
        "champion": "start",
        "models": [],
        "decisions": [],
    }
    text = pipeline("models", TINY, "--workspace", tmp_path / "fresh").stdout
    assert "*  start" in text
    assert "nothing was decided yet" in text


def test_rolling_back_walks_to_the_start_and_promoting_comes_again(workspace: Path) -> None:
    first, second = (row["id"] for row in told(workspace)["models"])
    assert first in pipeline("rollback", TINY, "--workspace", workspace, *WHY).stdout
    assert told(workspace)["champion"] == first
    row = json_of(pipeline("rollback", TINY, "--workspace", workspace, *WHY, "--json"))
    assert (row["model"], row["previous"], row["decision"]) == ("start", first, "rolled back")
    assert (row["by"], row["reason"]) == (getpass.getuser(), WHY[1])
    over = pipeline("rollback", TINY, "--workspace", workspace, *WHY)
    assert (over.exit_code, "no champion is known before" in over.stderr) == (2, True)
    assert pipeline("promote", TINY, second[:8], "--workspace", workspace, *WHY).exit_code == 0
    found = told(workspace)
    assert found["champion"] == second
    assert [row["decision"] for row in found["decisions"][2:]] == [
        "rolled back",
        "rolled back",
        "promoted by hand",
    ]
    assert "back again" not in pipeline("models", TINY, "--workspace", workspace).stdout.split(second)[1]


@pytest.mark.parametrize(
    ("arguments", "code", "told_"),
    [
        (("promote", TINY, "dry-", *WHY), 2, "2 models start with 'dry-'"),
        (("promote", TINY, "nobody", *WHY), 2, "no model starts with 'nobody'"),
        (("promote", TINY, "", *WHY), 2, "start with ''"),
        (("promote", TINY, "start"), 2, "--reason"),
        (("promote", TINY, "start", "--reason", " "), 2, "say why"),
        (("rollback", TINY), 2, "--reason"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    finished: Path, arguments: tuple[str | Path, ...], code: int, told_: str
) -> None:
    before = told(finished)
    answer = pipeline(*arguments, "--workspace", finished)
    assert (answer.exit_code, told_ in answer.stderr) == (code, True), answer.stderr
    assert told(finished) == before


def test_the_champion_is_not_made_champion(finished: Path) -> None:
    answer = pipeline("promote", TINY, told(finished)["champion"], "--workspace", finished, *WHY)
    assert (answer.exit_code, "is the champion already" in answer.stderr) == (2, True)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"torn")])
def test_a_damaged_model_does_not_become_champion(workspace: Path, harm: Any) -> None:
    found = told(workspace)
    harm(Path(found["models"][0]["weights"].replace(found["workspace"], str(workspace))))
    for arguments in (("rollback", TINY), ("promote", TINY, found["models"][0]["id"])):
        answer = pipeline(*arguments, "--workspace", workspace, *WHY)
        assert (answer.exit_code, "nothing was changed" in answer.stderr) == (1, True), answer.stderr
    assert told(workspace)["champion"] == found["champion"]


def test_the_click_server_asks_the_new_champion_without_a_restart(workspace: Path) -> None:
    first, second = (row["id"] for row in told(workspace)["models"])
    config, opened, house = open_house(TINY, workspace=workspace)
    live = Live(config, opened, house)
    [sample, *_] = opened.ledger.samples.all("train")
    picture = [(sample.id, house.read_image(sample))]

    def asked() -> tuple[str, object]:
        answer = live.propose(picture)[0]
        return live.model_version().partition(" ")[0], answer

    name, best = asked()
    assert name == second
    assert pipeline("rollback", TINY, "--workspace", workspace, *WHY).exit_code == 0
    name, older = asked()
    assert (name, older != best) == (first, True)
    assert pipeline("promote", TINY, second, "--workspace", workspace, *WHY).exit_code == 0
    assert asked()[0] == second
    assert np.array_equal([one.box for one in asked()[1]], [one.box for one in best])  # type: ignore[attr-defined]


def test_a_run_asks_the_new_champion_from_the_next_propose_on(workspace: Path) -> None:
    first, second = (row["id"] for row in told(workspace)["models"])
    more = ("--workspace", workspace, "--set", "rounds=3")
    assert pipeline("rollback", TINY, "--workspace", workspace, *WHY).exit_code == 0
    for stage in ("ingest", "propose"):
        assert pipeline(stage, TINY, *more).exit_code == 0
    _, opened, _ = open_house(TINY, workspace=workspace)
    facts = opened.ledger.rounds.marked(3, "propose")
    assert facts is not None
    assert facts["champion"] == first
    # In the middle of the round somebody thinks better of it: the candidate meets the champion of that moment.
    assert pipeline("promote", TINY, second, "--workspace", workspace, *WHY).exit_code == 0
    assert pipeline("run", TINY, *more).exit_code == 0
    row = opened.ledger.promotions.of_round(3)
    assert row is not None
    assert row.previous == second
    assert told(workspace)["models"][2]["base"] == second


def test_what_trains_is_configuration(tmp_path: Path) -> None:
    """Without replay, the second round's training sees what the first one did not know."""
    for name, replay in (("all", "1"), ("new", "0")):
        answer = pipeline(
            "run", TINY, "--workspace", tmp_path / name, "--set", f"train.replay={replay}", "--set", "seed=3"
        )
        assert answer.exit_code == 0, answer.stderr
    everything, news = (
        json_of(pipeline("models", TINY, "--workspace", tmp_path / name, "--json")) for name in ("all", "new")
    )
    instances = [
        [json.loads(Path(row["weights"]).read_text())["instances"] for row in side["models"]]
        for side in (everything, news)
    ]
    assert instances[0][0] == instances[1][0]
    assert instances[0][1] == instances[0][0] + instances[1][1]


def test_weights_are_written_with_a_card(finished: Path, tmp_path: Path) -> None:
    found = told(finished)
    first, second = found["models"]
    out = tmp_path / "out"
    card = json_of(pipeline("export-model", TINY, "--workspace", finished, "--out", out, "--json"))
    assert json.loads((out / "card.json").read_text()) == {name: card[name] for name in card if name != "folder"}
    assert (card["model"], card["champion"], card["round"], card["base"]) == (second["id"], True, 2, first["id"])
    assert card["classes"] == ["coin", "ring", "leaf", "star"]
    assert card["dataset_version"] == second["trained_on"]
    assert card["figures"] == second["figures"]
    written = out / card["file"]
    assert written.read_bytes() == Path(second["weights"]).read_bytes()
    assert card["sha256"] == {card["file"]: hashlib.sha256(written.read_bytes()).hexdigest()}
    assert card["trained_weights_sha256"] == card["sha256"][card["file"]]
    again = pipeline("export-model", TINY, first["id"], "--workspace", finished, "--out", out)
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)
    other = pipeline("export-model", TINY, first["id"], "--workspace", finished, "--out", tmp_path / "other")
    assert first["id"] in other.stdout


def test_a_format_that_the_trainer_does_not_write_leaves_nothing(finished: Path, tmp_path: Path) -> None:
    answer = pipeline("export-model", TINY, "--workspace", finished, "--format", "onnx", "--out", tmp_path / "out")
    assert (answer.exit_code, "as they were trained only" in answer.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_starting_weights_are_not_written(workspace: Path, tmp_path: Path) -> None:
    assert pipeline("promote", TINY, "start", "--workspace", workspace, *WHY).exit_code == 0
    answer = pipeline("export-model", TINY, "--workspace", workspace, "--out", tmp_path / "out")
    assert (answer.exit_code, "no model of this workspace" in answer.stderr) == (2, True)


def test_a_collapsed_model_is_never_promoted(tmp_path: Path) -> None:
    answer = pipeline(
        "run", TINY, "--workspace", tmp_path / "w", "--set", "trainer.best_skill=0.01", "--set", "rounds=1"
    )
    assert answer.exit_code == 0, answer.stderr
    found = told(tmp_path / "w")
    assert found["champion"] == "start"
    (row,) = found["decisions"]
    assert (row["decision"], row["reason"].startswith("collapsed: ")) == ("kept", True)
