"""`pipeline report` on a finished workspace, as a person calls it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration import checker
from tests.integration.commands import TINY, json_of, pipeline
from tests.integration.test_review import decide, review, unasked

MOST_BYTES = 3_000_000


def report(root: Path, *more: str | Path) -> str:
    told = json_of(pipeline("report", TINY, "--workspace", root, "--json", *more))
    page = Path(told["report"]).read_bytes()
    assert len(page) == told["bytes"] <= MOST_BYTES
    return page.decode()


def sections(page: str) -> dict[str, str]:
    """Section id -> its HTML."""
    parts = re.split(r'<section id="([\w-]+)">', page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_report_tells_what_the_ledger_holds(finished: Path) -> None:
    page = report(finished)
    found = sections(page)
    assert list(found) == ["models", "asked", "people", "edits", "trust", "data", "set-aside", "times"]
    with checker.Ledger(finished) as ledger:
        versions = [version for _, version in ledger.versions]
        models = [model for (model,) in ledger("SELECT id FROM models")]
        ((clicks,),) = ledger(
            "SELECT sum(i.clicks) FROM revisions r JOIN instances i "
            "ON i.sample_id = r.sample_id AND i.revision = r.revision WHERE r.origin_kind = 'human'"
        )
    assert all(version[:12] in found["data"] for version in versions)
    assert all(model in found["models"] for model in models)
    assert f"{clicks} clicks for" in found["people"]
    assert "2 rounds" in page
    assert "train" in found["times"]
    assert found["models"].count("<svg") >= 3
    assert found["asked"].count("data:image/jpeg;base64,") == 6, "three images a round, as they were shown"
    assert found["asked"].count("<details") == 2


def test_the_same_workspace_gives_the_same_bytes_wherever_they_go(finished: Path, tmp_path: Path) -> None:
    assert report(finished) == report(finished) == report(finished, "--out", tmp_path / "page.html")


def test_the_report_changes_nothing_that_the_loop_knows(finished: Path) -> None:
    before = checker.take(finished)
    report(finished)
    assert checker.differences(before, checker.take(finished)) == []


def test_an_image_that_is_gone_leaves_its_reason(finished: Path) -> None:
    for path in (finished / "scenes").glob("*.png"):
        path.unlink()
    page = report(finished)
    assert "data:image" not in page
    assert "no picture:" in page


def test_what_reviewers_said_is_told_as_theirs(finished: Path) -> None:
    review(finished)
    accepted = unasked(finished)[0]
    with checker.Ledger(finished) as ledger:
        (fixed,), (held,) = ledger("SELECT sample_id FROM tasks WHERE round = 1 ORDER BY sample_id LIMIT 2")
        names = {key: Path(path).name for key, path in ledger("SELECT id, path FROM samples")}
    decide(finished, {accepted: "accept", held: "hold-out", fixed: "fix"})
    review(finished, "--pull")
    answered = sections(report(finished))
    assert "round 3" not in answered["people"], "nobody was asked anything in it yet"
    assert re.search(r'"reviewer">reviewer<(.*?)</tr>', answered["people"], re.DOTALL)
    assert f"training until a reviewer says otherwise: <span>{names[held]}</span>" in answered["set-aside"]
    result = pipeline("run", TINY, "--workspace", finished, "--set", "rounds=3")
    assert result.exit_code == 0, result.output
    asked = sections(report(finished))["asked"]
    assert ", and 1 asked again</span>" in asked
    newest = asked.split("<details")[1]
    assert newest.index("Asked again") < newest.index(names[fixed]) < newest.index("asked again: fix, ")


def test_a_person_is_told_where_the_report_is(finished: Path) -> None:
    result = pipeline("report", TINY, "--workspace", finished)
    assert result.exit_code == 0
    assert re.fullmatch(r"report {2}\S*report\.html {2}\(\d\.\d MB\)\n", result.stdout)


def test_a_run_that_has_not_begun_has_no_report(tmp_path: Path) -> None:
    result = pipeline("report", TINY, "--workspace", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "is no workspace yet" in result.stderr
