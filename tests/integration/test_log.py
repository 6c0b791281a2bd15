"""`pipeline log`, as a person meets it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.checker import query
from tests.integration.commands import TINY, json_of, pipeline


def _asked(finished: Path) -> str:
    return str(query(finished, "SELECT sample_id FROM tasks WHERE round = 1 ORDER BY sample_id")[0][0])


def test_the_life_of_an_image_that_a_person_was_asked_about(run_once: Path) -> None:
    sample = _asked(run_once)
    life = json_of(pipeline("log", TINY, sample[:12], "--workspace", run_once, "--json"))
    assert life["sample"] == sample
    assert [event["what"] for event in life["events"]] == [
        "ingest", "propose", "segment", "score", "select", "submit", "collect", "merge", "train", "merge", "train",
    ]  # fmt: skip
    rounds = [event["round"] for event in life["events"]]
    assert rounds == sorted(rounds)
    answer = life["events"][6]
    asked = query(run_once, f"SELECT count(*), sum(clicks) FROM instances WHERE sample_id = '{sample}' "
                            "AND state != 'proposed'")  # fmt: skip
    assert (len(answer["objects"]), answer["facts"]["clicks"]) == asked[0]
    assert {row["origin"] for row in life["events"][5]["objects"]} <= {"model"}
    models = [name for (name,) in query(run_once, "SELECT id FROM models ORDER BY round")]
    assert [event["by"] for event in life["events"] if event["what"] == "train"] == models


def test_the_same_as_text(run_once: Path) -> None:
    result = pipeline("log", TINY, _asked(run_once)[:12], "--workspace", run_once)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(_asked(run_once)[:16])
    told = [line.split()[1] for line in lines[3:] if line[:3].strip()]
    assert told[:7] == ["ingest", "propose", "segment", "score", "select", "submit", "collect"]
    assert "learnt from it" in result.stdout
    assert all(line == line.rstrip() for line in lines)


def test_a_held_out_image_is_what_models_are_judged_by(run_once: Path) -> None:
    (name, path), *_ = query(run_once, "SELECT id, path FROM samples WHERE split = 'val' ORDER BY id")
    life = json_of(pipeline("log", TINY, Path(path).name, "--workspace", run_once, "--json"))
    assert life["sample"] == name
    assert {event["what"] for event in life["events"]} == {"ingest", "merge", "evaluate"}


def test_an_unknown_image_is_a_usage_error(run_once: Path) -> None:
    result = pipeline("log", TINY, "nobody.png", "--workspace", run_once)
    assert result.exit_code == 2
    assert "no images are called 'nobody.png'" in result.stderr
