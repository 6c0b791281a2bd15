"""`pipeline diff`, as a person meets it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.checker import query
from tests.integration.commands import TINY, json_of, pipeline


def test_what_a_round_added(run_once: Path) -> None:
    first, second = (name for (name,) in query(run_once, "SELECT id FROM versions ORDER BY round"))
    told = json_of(pipeline("diff", TINY, "--workspace", run_once, "--json"))
    assert (told["before"], told["after"]) == (first, second)
    assert told["images"]["added"] == len(query(run_once, "SELECT 1 FROM tasks WHERE round = 2"))
    assert told["instances"]["added"] == len([row for row in told["changes"] if row["kind"] == "added"]) > 0
    assert told["page"] is None
    for words in ((first[:8],), ("@1", "@2"), (first[:8], second)):
        assert json_of(pipeline("diff", TINY, *words, "--workspace", run_once, "--json")) == told


def test_the_table(run_once: Path) -> None:
    result = pipeline("diff", TINY, "--workspace", run_once)
    assert result.exit_code == 0
    assert re.match(r"[0-9a-f]{12} \(@1\) -> [0-9a-f]{12} \(@2\)\n", result.stdout)
    assert re.search(r"^images +\d+ +\d+ +3 +0 +0$", result.stdout, re.MULTILINE)
    same = pipeline("diff", TINY, "@2", "--workspace", run_once)
    assert "the same images with the same objects" in same.stdout


def test_the_page_stands_alone(run_once: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "changes.html"
    result = pipeline("diff", TINY, "--workspace", run_once, "--out", out, "--pictures", "4")
    assert result.exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert text.count("<figure>") == 4
    assert text.count('src="data:image/jpeg;base64,') == 8
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "The 4 most changed are shown." in text


def test_versions_that_are_not_there(run_once: Path, tmp_path: Path) -> None:
    for words, complaint in (
        (("@9",), "V1: no dataset version is called '@9' (known: @1, @2)"),
        (("@1", "zz"), "V2: no dataset version starts with 'zz'"),
        (("@1", ""), "V2: no dataset version starts with ''"),
    ):
        result = pipeline("diff", TINY, *words, "--workspace", run_once)
        assert result.exit_code == 2
        assert complaint in result.stderr
    pipeline("ingest", TINY, "--workspace", tmp_path / "new")
    assert "there is no dataset version yet" in pipeline("diff", TINY, "--workspace", tmp_path / "new").stderr


def test_the_first_version_came_from_none(tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "one", "--set", "rounds=1")
    assert pipeline("run", TINY, *place).exit_code == 0
    result = pipeline("diff", TINY, *place)
    assert result.exit_code == 2
    assert "is the first: there is nothing to compare it with" in result.stderr
