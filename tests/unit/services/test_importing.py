"""Labels into a ledger: all or none, once, and never for the wrong image."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Annotation, Split
from pipeline.errors import ConfigError
from pipeline.formats.labels import Found, LabelProblem, Labels, imported
from pipeline.services.importing import Imported, Renaming, import_labels
from pipeline.store.ledger import Ledger
from tests.fakes.store import NOON, ingested, sample_id

LATER = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    """Objects of these labels, or a problem that loses one."""

    labels: tuple[str, ...] = ("cat",)
    lost: bool = False
    path: Path = Path("labels.json")

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        mask = Mask.from_box(Box(2, 2, 9, 9), size_hw)
        rows = [
            imported(label, None, mask, key=key, index=n, source=self.path) for n, label in enumerate(self.labels)
        ]
        problems = (LabelProblem(self.path, None, "an object was lost"),) if self.lost else ()
        return Labels(tuple(rows), problems)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Three images, whose files are there."""
    opened = Ledger(tmp_path / "ledger.sqlite", root=tmp_path, now=lambda: NOON)
    opened.join_fence()
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"x" * (100 + number))
    rows = [ingested(number, folder=tmp_path) for number in range(3)]
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (row.source for row in rows)]
    opened.samples.add([replace(row, source_stamp=stamp) for row, stamp in zip(rows, stamps, strict=True)])
    yield opened
    opened.close()


def take(ledger: Ledger, *found: Found | LabelProblem, at: datetime = NOON, **renaming: object) -> Imported:
    given = Renaming(**renaming)  # type: ignore[arg-type]
    return import_labels(found, ledger, ["cat", "dog"], source="labels.json", renaming=given, at=at)


def by_id(number: int, labels: Said | None = None) -> Found:
    return Found(Path("nowhere") / f"{sample_id(number)[:16]}.png", None, labels or Said())


def said(ledger: Ledger) -> list[Annotation]:
    return list(ledger.annotations.history())


def test_one_foreign_label_and_nothing_is_written(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match=r"'cow', 'pig' are not among project\.classes"):
        take(ledger, by_id(0), by_id(1, Said(("pig", "cat", "cow"))))
    assert said(ledger) == []


def test_only_what_is_new_is_a_revision(ledger: Ledger) -> None:
    assert take(ledger, by_id(0)).images == 1
    told = take(ledger, by_id(0), by_id(1), by_id(2, Said(())), at=LATER)
    assert (told.images, told.instances, told.unchanged) == (2, 1, 1)
    assert [(one.sample_id, len(one.instances)) for one in said(ledger)] == sorted(
        [(sample_id(0), 1), (sample_id(1), 1), (sample_id(2), 0)]
    )
    changed = take(ledger, by_id(0, Said(("dog",))), at=LATER)
    assert (changed.images, changed.unchanged) == (1, 0)
    assert [one.revision for one in said(ledger) if one.sample_id == sample_id(0)] == [1, 2]


def test_an_image_that_lost_an_object_keeps_what_it_had(ledger: Ledger) -> None:
    told = take(ledger, by_id(0, Said(lost=True)), by_id(1))
    assert told.images == 1
    assert "an object was lost" in told.problems[0]
    assert [one.sample_id for one in said(ledger)] == [sample_id(1)]


def test_labels_are_renamed_and_left_out_before_they_are_judged(ledger: Ledger) -> None:
    take(ledger, by_id(0, Said(("pig", "cow", "cat"))), names={"pig": "dog"}, ignore=frozenset({"cow"}))
    assert [item.label for item in said(ledger)[0].instances] == ["dog", "cat"]


def test_a_start_that_is_no_samples_is_no_id(ledger: Ledger) -> None:
    stranger = Found(Path("f" * 16 + ".png"), None, Said())
    longer = Found(Path(sample_id(0)[:16] + "0" * 48 + ".png"), None, Said())
    told = take(ledger, stranger, longer, Found(Path("nothing.png")))
    assert told.images == 0
    assert len(told.problems) == 2
    assert told.notes == ("images without labels: 1",)


def test_no_labels_at_all_are_no_success(ledger: Ledger) -> None:
    told = take(ledger, Found(Path("a.png")), Found(Path("b.png")))
    assert told.problems == ("none of 2 images has labels: are they of another format?",)
    assert told.notes == ()


def test_a_replaced_file_takes_no_labels(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"another")
    told = take(ledger, by_id(0), Found(Path("nowhere/0.png"), None, Said()))
    assert all("another image lies in its file's place" in problem for problem in told.problems)
    assert len(told.problems) == 2
    assert said(ledger) == []


def test_images_of_another_split_are_counted_and_stay(ledger: Ledger) -> None:
    splits: tuple[Split, ...] = ("val", "test", "train")
    moved = [replace(by_id(number), split=split) for number, split in enumerate(splits)]
    told = take(ledger, *moved)
    assert told.images == 3
    assert told.notes == ("2 images are in another split here than the file says: a split never moves",)
    assert {sample.split for sample in ledger.samples.all()} == {"train"}


def test_a_refusal_does_not_hide_that_images_joined(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match=r"no labels were imported, but images joined the pool \(3\)"):
        import_labels(
            [by_id(0, Said(("pig",)))], ledger, ["cat"], source="x", renaming=Renaming(), at=NOON, joined=3
        )


def test_a_name_is_known_in_either_spelling(ledger: Ledger, tmp_path: Path) -> None:
    """With its accent on the letter or after it, as macOS keeps it."""
    apart, together = (unicodedata.normalize(form, "Größe.png") for form in ("NFD", "NFC"))
    (tmp_path / apart).write_bytes(b"y")
    row = ingested(7, folder=tmp_path)
    stamp = ((tmp_path / apart).stat().st_size, (tmp_path / apart).stat().st_mtime_ns)
    sample = replace(row.sample, path=tmp_path / apart)
    ledger.samples.add([replace(row, sample=sample, source=tmp_path / apart, source_stamp=stamp)])
    told = take(ledger, Found(Path("nowhere") / together, None, Said()))
    assert (told.images, told.problems) == (1, ())
