"""What the ledger promises of samples, annotations, products, tasks, rounds and models."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.domain.dataset import DatasetVersion
from pipeline.domain.ingested import Quarantined
from pipeline.domain.likeness import THUMBNAIL_BYTES, Likeness
from pipeline.domain.metrics import ClassMetrics, Metrics
from pipeline.domain.records import Origin, OriginKind, State
from pipeline.domain.rounds import Budget, ModelRef, Round, Selection
from pipeline.errors import LedgerCorrupt, LedgerError
from pipeline.store.ledger import Ledger
from pipeline.store.schema import DIGESTED, SCHEMA_VERSION
from tests.fakes.store import NOON, annotation, ingested, instance, sample, sample_id

METRICS = Metrics(3, 4, 0.5, 0.25, None, None, {"cat": ClassMetrics(4, 0.5, 0.25, None, None)})


def ids(*numbers: int) -> list[str]:
    return [sample_id(number) for number in numbers]


def test_samples_come_back_sorted_and_by_split(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2, "val"), ingested(3)])
    everyone = ledger.samples.all()
    assert [one.id for one in everyone] == sorted(ids(1, 2, 3))
    assert ledger.samples.all("val") == [sample(2, "val")]
    assert ledger.samples.get(sample_id(1)) == sample(1)
    assert ledger.samples.count() == 3


def test_a_known_sample_keeps_its_split_and_labels_and_gains_a_source(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1, "val", labels=(instance(),))])
    again = replace(ingested(1, "train", labels=()), source=Path("/elsewhere/copy.png"))
    ledger.samples.add([again])
    assert ledger.samples.get(sample_id(1)).split == "val"
    assert set(ledger.samples.sources()) == {"/images/1.png", "/elsewhere/copy.png"}
    assert [row.instances for row in ledger.annotations.history(sample_id(1))] == [(instance(),)]


def test_a_sample_whose_file_is_gone_is_read_from_where_it_was_found_again(ledger: Ledger, tmp_path: Path) -> None:
    first, copy, moved = (ingested(1, folder=tmp_path / name) for name in ("first", "copy", "moved"))
    for item in (first, copy, moved):
        item.source.parent.mkdir()
        item.source.touch()
    ledger.samples.add([first])
    ledger.samples.add([copy])
    assert ledger.samples.get(sample_id(1)).path == first.source, "a second file of it changes nothing"
    first.source.unlink()
    ledger.samples.add([moved])
    assert ledger.samples.get(sample_id(1)).path == moved.source


def test_unknown_samples_are_an_error(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no sample"):
        ledger.samples.get("nobody")


def test_labels_are_the_first_revision_and_truth_is_apart(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1, labels=()), ingested(2, truth=(instance(),)), ingested(3)])
    (row,) = ledger.annotations.imported()
    assert (row.sample_id, row.revision, row.instances, row.origin.kind) == (
        sample_id(1),
        1,
        (),
        OriginKind.IMPORTED,
    )
    assert ledger.samples.truth(sample_id(2)) == (instance(),)
    assert ledger.samples.truth(sample_id(1)) is None
    assert ledger.annotations.annotated_ids() == {sample_id(1)}


def test_paths_inside_the_workspace_survive_a_move(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    ledger = Ledger(before / "ledger.sqlite", root=before, now=lambda: NOON)
    ledger.join_fence()
    ledger.samples.add([ingested(1, folder=before / "scenes"), ingested(2)])
    ledger.close()
    before.rename(after)
    moved = Ledger(after / "ledger.sqlite", root=after, now=lambda: NOON)
    assert moved.samples.get(sample_id(1)).path == after / "scenes" / "1.png"
    assert moved.samples.get(sample_id(2)).path == Path("/images/2.png")
    moved.close()


def test_revisions_are_numbered_and_nothing_is_overwritten(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2)])
    first = ledger.annotations.append(annotation(1, instance("one", clicks=2)))
    second = ledger.annotations.append(annotation(1, instance("one", State.REJECTED)))
    assert (first.revision, second.revision) == (1, 2)
    assert list(ledger.annotations.history(sample_id(1))) == [first, second]
    assert list(ledger.annotations.latest()) == [second]
    assert list(ledger.annotations.latest([sample_id(2)])) == []


def test_what_repeats_the_newest_revision_adds_nothing(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    first = ledger.annotations.append(annotation(1, instance()))
    assert ledger.annotations.append(annotation(1, instance())) == first
    changed = ledger.annotations.append(annotation(1))
    back = ledger.annotations.append(annotation(1, instance()))
    assert (changed.revision, back.revision) == (2, 3)


def test_of_label_files_the_one_that_was_taken_in_last_speaks(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    first, second = (
        replace(annotation(1, instance(name), round_=0), origin=Origin(OriginKind.IMPORTED, f"{name}.json"))
        for name in ("a", "b")
    )
    said = [ledger.annotations.append(one).revision for one in (first, first, second, first, first)]
    assert said == [1, 1, 2, 3, 3]
    assert next(ledger.annotations.latest()).origin.name == "a.json"


@pytest.mark.parametrize("statement", ["UPDATE revisions SET round = 9", "DELETE FROM instances"])
def test_the_database_itself_refuses_to_change_annotations(ledger: Ledger, tmp_path: Path, statement: str) -> None:
    ledger.samples.add([ingested(1)])
    ledger.annotations.append(annotation(1, instance()))
    with (
        sqlite3.connect(tmp_path / "ledger.sqlite") as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    connection.close()


def test_totals_count_images_once_and_effort_always(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2, labels=(instance(),)), ingested(3)])
    ledger.annotations.append(annotation(1, instance("a", clicks=3), instance("b", State.REJECTED, clicks=1)))
    ledger.annotations.append(annotation(1, instance("a", clicks=2), round_=2))
    ledger.annotations.append(annotation(3, round_=2, seconds=1.0))
    assert ledger.annotations.totals(1) == (1, 1, 4, 2.5)
    assert ledger.annotations.totals(2) == (2, 1, 6, 6.0)


def test_products_are_found_again_by_fingerprint(ledger: Ledger) -> None:
    asked = ids(3, 1, 2)
    assert ledger.products.pending("propose", "f", asked) == asked
    ledger.products.record("propose", "f", "propose/x.parquet", "0" * 64, ids(1, 3))
    assert ledger.products.pending("propose", "f", asked) == ids(2)
    assert ledger.products.pending("propose", "other", asked) == asked
    assert ledger.products.shards("propose", "f", ids(1, 2, 3)) == ["propose/x.parquet"]
    assert ledger.products.shards("propose", "f", ids(2)) == []
    assert ledger.products.all_shards() == {"propose/x.parquet": "0" * 64}


def test_more_ids_than_one_statement_holds(ledger: Ledger) -> None:
    many = ids(*range(1200))
    ledger.products.record("propose", "f", "a", "0" * 64, many)
    assert ledger.products.shards("propose", "f", many) == ["a"]
    ledger.samples.add([ingested(number) for number in range(1200)])
    assert len(ledger.samples.some(many)) == 1200


def test_a_task_is_intended_recorded_and_answered(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2)])
    ledger.tasks.intend(1, ids(1, 2))
    assert len(ledger.tasks.pending_intents()) == 2
    ledger.tasks.record(1, {sample_id(1): "t1", sample_id(2): "t2"})
    assert ledger.tasks.pending_intents() == []
    assert ledger.tasks.unanswered(1) == sorted(ids(1, 2))
    ledger.annotations.append(annotation(1), task_id="t1", cursor=("collect/x", "5"))
    assert ledger.pointers.get("collect/x") == "5"
    ledger.tasks.refuse("t2", cursor=("collect/x", "6"))
    assert ledger.tasks.unanswered(1) == []
    assert dict(ledger.tasks.of(1)) == {sample_id(1): "t1", sample_id(2): "t2"}
    assert ledger.pointers.get("collect/x") == "6"


def test_quarantine_keeps_the_newest_reason_and_knows_samples(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    ledger.samples.quarantine(Quarantined(Path("/images/bad.png"), "torn", (1, 2)))
    ledger.samples.quarantine(Quarantined(Path("/images/bad.png"), "still torn", (1, 3)))
    ledger.samples.set_aside(sample_id(1), "gone")
    assert [(row.path.name, row.reason) for row in ledger.samples.quarantined()] == [
        ("1.png", "gone"),
        ("bad.png", "still torn"),
    ]
    assert ledger.samples.set_aside_ids() == {sample_id(1)}


def test_marks_selections_and_rounds_come_back(ledger: Ledger) -> None:
    assert ledger.rounds.marked(1, "merge") is None
    ledger.rounds.mark(1, "merge", {"version": "abc", "images": 3})
    assert ledger.rounds.marked(1, "merge") == {"version": "abc", "images": 3}
    ledger.rounds.mark(1, "train", {}, seconds=61.5)
    assert ledger.rounds.seconds() == {(1, "train"): 61.5}
    selection = Selection(1, tuple(ids(2, 1)), "top_k", Budget("images", 2), 7)
    ledger.rounds.save_selection(selection)
    assert ledger.rounds.selection(1) == selection
    with pytest.raises(LedgerError, match="no selection"):
        ledger.rounds.selection(2)
    done = Round(1, 2, 3, 4, 5.5, True, METRICS)
    ledger.rounds.finish(done)
    assert ledger.rounds.all() == [done]


def test_models_versions_evaluations_and_pointers_come_back(ledger: Ledger) -> None:
    model = ModelRef("m1", Path("/weights/m1.pt"), "0" * 64, ("cat",), "v1")
    ledger.models.add(model, 1)
    ledger.models.add(replace(model, weights=Path("/elsewhere")), 2)
    assert ledger.models.get("m1") == model
    assert ledger.models.all() == [model]
    with pytest.raises(LedgerError, match="no model"):
        ledger.models.get("m2")
    version = DatasetVersion("v1", None, {"split/train": 2})
    ledger.versions.add(version, 1)
    assert ledger.versions.of_round(1) == version
    assert ledger.versions.of_round(2) is None
    ledger.evaluations.save("m1", "state", METRICS)
    assert ledger.evaluations.get("m1", "state") == METRICS
    assert ledger.evaluations.get("m1", "other") is None


def test_a_newer_schema_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    ledger.pointers.set("schema", "99")
    with pytest.raises(LedgerCorrupt, match=r"newer version.*upgrade"):
        Ledger(tmp_path / "ledger.sqlite", root=tmp_path, now=lambda: NOON)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(LedgerCorrupt, match="damaged"):
        Ledger(tmp_path / "ledger.sqlite", root=tmp_path, now=lambda: NOON)


def withdraw(ledger: Ledger, number: int, reason: str = "withdrawn") -> None:
    ledger.annotations.withdraw(sample_id(number), "anna", NOON, reason, f"t{number}", cursor=("collect/x", "7"))


def test_what_was_taken_back_stays_in_the_history_and_stands_no_more(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2, labels=(instance(kind=OriginKind.IMPORTED),))])
    ledger.tasks.record(1, {sample_id(1): "t1", sample_id(2): "t2"})
    for number in (1, 2):
        ledger.annotations.append(annotation(number, instance(clicks=3)), task_id=f"t{number}")
        withdraw(ledger, number)
        withdraw(ledger, number)  # told twice
    assert [row.withdrawn for row in ledger.annotations.history(sample_id(1))] == [True]
    assert [row.withdrawn for row in ledger.annotations.history(sample_id(2))] == [False, True], "labels stand"
    assert ledger.annotations.annotated_ids() == {sample_id(2)}
    assert ledger.annotations.totals(1) == (0, 0, 6, 5.0), "the work was done"
    assert ledger.tasks.unanswered(1) == sorted(ids(1, 2)), "the tasks are open again"
    assert ledger.pointers.get("collect/x") == "7"


def test_one_persons_word_is_taken_back_and_the_others_stand(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    ledger.tasks.record(1, {sample_id(1): "t1"})
    bert = Origin(OriginKind.HUMAN, "bert")
    ledger.annotations.append(annotation(1, instance()), task_id="t1")
    ledger.annotations.append(replace(annotation(1), origin=bert), task_id="t1")
    for _ in range(2):  # told twice
        withdraw(ledger, 1, "retracted")
    said = list(ledger.annotations.history(sample_id(1)))
    assert [(row.origin.name, row.withdrawn) for row in said] == [("anna", True), ("bert", False)]
    assert ledger.annotations.annotated_ids() == {sample_id(1)}
    assert ledger.tasks.unanswered(1) == [], "the task is answered all the same"
    assert ledger.annotations.append(annotation(1, instance())).revision == 3, "said anew"
    assert [row.withdrawn for row in ledger.annotations.history(sample_id(1))] == [True, False, False]


def test_a_task_for_two_people_is_answered_when_both_have_spoken(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2)])
    ledger.tasks.record(1, {sample_id(1): "t1", sample_id(2): "t2"})
    bert = replace(annotation(1), origin=Origin(OriginKind.HUMAN, "bert"))

    def missing(people: int) -> list[str]:
        ledger.annotations.close_answered(1, people)
        return ledger.tasks.unanswered(1)

    assert missing(2) == sorted(ids(1, 2))
    ledger.annotations.append(annotation(1))
    ledger.annotations.append(annotation(1, instance()))  # the same person, otherwise
    ledger.annotations.append(replace(bert, partial=True))  # a reviewer's word on one object is no answer
    assert missing(2) == sorted(ids(1, 2))
    ledger.annotations.append(bert)
    assert missing(2) == ids(2)
    ledger.annotations.append(annotation(2, round_=0))  # what was said in another round is none either
    assert missing(1) == ids(2)
    ledger.annotations.append(annotation(2))
    assert missing(2) == ids(2)
    assert missing(1) == [], "the setting was changed meanwhile"


def test_a_word_that_was_taken_back_is_not_counted(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    ledger.tasks.record(1, {sample_id(1): "t1"})
    ledger.annotations.append(annotation(1))
    withdraw(ledger, 1, "retracted")
    ledger.annotations.append(replace(annotation(1), origin=Origin(OriginKind.HUMAN, "bert")))
    ledger.annotations.close_answered(1, 2)
    assert ledger.tasks.unanswered(1) == ids(1)


@pytest.mark.parametrize("reason", ["skipped", "withdrawn", "retracted"])
def test_what_was_answered_in_another_round_or_reviewed_stands(ledger: Ledger, reason: str) -> None:
    """Who is asked again, and passes by, takes nobody's earlier answer back."""
    ledger.samples.add([ingested(1)])
    ledger.tasks.record(1, {sample_id(1): "t0"})
    ledger.annotations.append(annotation(1, instance()), task_id="t0")
    ledger.tasks.record(2, {sample_id(1): "t1"})
    ledger.annotations.append(replace(annotation(1, instance(), round_=2), partial=True))
    withdraw(ledger, 1, reason)
    assert ledger.annotations.annotated_ids() == {sample_id(1)}
    ledger.annotations.append(annotation(1, instance(), round_=2), task_id="t1")
    for _ in range(2):  # told twice
        withdraw(ledger, 1, reason)
    said = list(ledger.annotations.history(sample_id(1)))
    assert [(row.round, row.partial, row.withdrawn) for row in said] == [
        (1, False, False),
        (2, True, False),
        (2, False, True),
    ]
    assert ledger.annotations.annotated_ids() == {sample_id(1)}
    assert ledger.annotations.totals(2)[:2] == (1, 1)


def test_the_same_words_after_a_withdrawal_are_said_anew(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    ledger.tasks.record(1, {sample_id(1): "t1"})
    first = ledger.annotations.append(annotation(1, instance()), task_id="t1")
    withdraw(ledger, 1)
    again = ledger.annotations.append(annotation(1, instance()), task_id="t1")
    assert (first.revision, again.revision) == (1, 2)
    assert [row.withdrawn for row in ledger.annotations.history(sample_id(1))] == [True, False]
    assert ledger.annotations.annotated_ids() == {sample_id(1)}


def test_a_task_that_was_passed_by_is_closed_and_not_asked_again(ledger: Ledger) -> None:
    ledger.samples.add([ingested(1), ingested(2)])
    assert not ledger.tasks.any()
    ledger.tasks.record(1, {sample_id(1): "t1", sample_id(2): "t2"})
    withdraw(ledger, 1, "skipped")
    assert ledger.tasks.any()
    assert ledger.tasks.unanswered(1) == ids(2)
    assert ledger.tasks.busy_ids() == set(ids(1, 2)), "one is being asked, one was passed by"
    ledger.annotations.append(annotation(2), task_id="t2")
    assert ledger.tasks.busy_ids() == set(ids(1))
    assert list(ledger.annotations.history(sample_id(1))) == []


def test_a_ledger_of_the_first_version_gains_what_is_missing(tmp_path: Path, ledger: Ledger) -> None:
    ledger.samples.add([ingested(1)])
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("DROP TABLE withdrawals")
        connection.execute("UPDATE pointers SET value = '1' WHERE name = 'schema'")
    connection.close()
    opened = Ledger(tmp_path / "ledger.sqlite", root=tmp_path, now=lambda: NOON)
    assert opened.samples.count() == 1
    assert opened.annotations.annotated_ids() == set()
    assert opened.pointers.get("schema") == str(SCHEMA_VERSION)
    opened.close()


def test_rows_of_an_older_ledger_get_their_digests(tmp_path: Path, ledger: Ledger) -> None:
    like = Likeness(7, bytes(THUMBNAIL_BYTES))
    numbers = range(1, 1_203)  # more than go into one statement
    ledger.samples.add([replace(ingested(number, truth=(instance(),)), likeness=like) for number in numbers])
    ledger.rounds.mark(1, "merge", {"version": "a"}, seconds=0.5)
    ledger.rounds.mark(1, "merge", {"version": "b"}, seconds=0.5)
    ledger.rounds.mark(1, "train", {"model": "c"})
    ledger.close()
    tables = [table.name for table in DIGESTED]
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        wanted = {name: sorted(connection.execute(f"SELECT digest FROM {name}")) for name in tables}
        for name in tables:
            connection.execute(f"ALTER TABLE {name} DROP COLUMN digest")
        connection.execute("UPDATE pointers SET value = '3' WHERE name = 'schema'")
    connection.close()
    opened = Ledger(tmp_path / "ledger.sqlite", root=tmp_path, now=lambda: NOON)
    assert list(opened.problems()) == []
    opened.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert {name: sorted(connection.execute(f"SELECT digest FROM {name}")) for name in tables} == wanted
        assert [len(set(wanted[name])) for name in ("samples", "truths", "likenesses", "marks")] == [1202] * 3 + [
            2
        ]
    connection.close()
