from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from connectors.reviewers import text
from pipeline.domain.records import Origin, OriginKind, State
from pipeline.domain.rounds import Uncertainty
from pipeline.errors import BadFormat
from pipeline.ports import Reviewer, ReviewRow, Verdict
from tests.fakes.people import proposed, resources, sample

A = sample("a")
ROWS = [
    ReviewRow(
        A,
        (proposed("m1", (5, 5, 25, 25)), proposed("m2", (1, 1, 9, 9)), proposed("m3", (2, 2, 8, 8), "star")),
        (),
        uncertainty=Uncertainty(A.id, 0.5, {"random": 0.5}, 3),
        round=1,
    ),
    ReviewRow(sample("b"), (), ()),
    ReviewRow(sample("c"), (), ()),
]


@pytest.fixture
def reviewer(tmp_path: Path) -> Reviewer:
    return text.build(text.Settings(author="ada"), resources(tmp_path))


def lines(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "review.tsv").read_text().splitlines()]


def fill_in(folder: Path, *verdicts: str) -> None:
    header, *rows = lines(folder)
    column = header.index("verdict")
    for row, verdict in zip(rows, verdicts, strict=False):
        row[column] = verdict
    (folder / "review.tsv").write_text("".join("\t".join(row) + "\n" for row in [header, *rows]))


def test_the_table_tells_what_there_is_to_judge(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.open(ROWS)
    header, first, *_ = lines(tmp_path)
    assert dict(zip(header, first, strict=True)) == {
        "sample_id": sample("a").id,
        "round": "1",
        "uncertainty": "0.5000",
        "instances": "3",
        "labels": "2 ring, 1 star",
        "held_out_by": "",
        "path": "a.png",
        "verdict": "",
        "author": "ada",
    }


def test_what_people_threw_out_is_not_counted(reviewer: Reviewer, tmp_path: Path) -> None:
    person = Origin(OriginKind.HUMAN, "ann")
    kept = replace(proposed("m1", (5, 5, 25, 25)), origin=person, state=State.ACCEPTED)
    reviewer.open([ReviewRow(A, (), (kept, replace(kept, id="m2", state=State.REJECTED)))])
    header, row = lines(tmp_path)
    assert (row[header.index("instances")], row[header.index("labels")]) == ("1", "1 ring")


@pytest.mark.parametrize("word", ["accept", "fix", "reject", "hold-out", "relabel:star"])
def test_every_verdict_is_read(reviewer: Reviewer, tmp_path: Path, word: str) -> None:
    reviewer.open(ROWS)
    fill_in(tmp_path, "", f" {word} ")
    assert list(reviewer.verdicts()) == [Verdict(sample("b").id, word, "ada")]


@pytest.mark.parametrize("word", ["ok", "Accept", "relabel", "relabel:", "relabel:disc", "accept:star"])
def test_any_other_word_is_refused_with_its_line(reviewer: Reviewer, tmp_path: Path, word: str) -> None:
    reviewer.open(ROWS)
    fill_in(tmp_path, "accept", word)
    with pytest.raises(BadFormat) as caught:
        list(reviewer.verdicts())
    assert caught.value.line == 3
    assert caught.value.path == tmp_path / "review.tsv"


def test_opening_again_begins_without_verdicts(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.open(ROWS)
    fill_in(tmp_path, "accept", "fix")
    reviewer.open(ROWS[1:])
    assert list(reviewer.verdicts()) == []


def test_a_spreadsheets_byte_order_mark_does_no_harm(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.open(ROWS)
    fill_in(tmp_path, "accept")
    path = tmp_path / "review.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert [verdict.decision for verdict in reviewer.verdicts()] == ["accept"]


@pytest.mark.parametrize(
    "content", [b"", b"sample_id\tdecision\na\taccept\n", b"\xff\xfe\x00", b'sample_id\tverdict\n"a\t']
)
def test_what_is_not_the_table_is_refused(reviewer: Reviewer, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "review.tsv").write_bytes(content)
    with pytest.raises(BadFormat):
        list(reviewer.verdicts())


def test_a_row_cut_short_is_refused(reviewer: Reviewer, tmp_path: Path) -> None:
    (tmp_path / "review.tsv").write_text("verdict\tsample_id\naccept\n")
    with pytest.raises(BadFormat) as caught:
        list(reviewer.verdicts())
    assert caught.value.line == 2
