"""What a model proposed, on its way out of a workspace and into another."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.export import writer
from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.records import Origin, OriginKind, State
from pipeline.formats.losses import LOSSES
from pipeline.wiring import open_house
from tests.integration.commands import TINY, import_, imported, pipeline, places

FORMATS = [*LOSSES]


def proposed_in(workspace: Path) -> tuple[DatasetEntry, DatasetEntry]:
    """An image of several objects, and the same with the first of them proposed."""
    _, opened, _ = open_house(TINY, workspace=workspace, create=False)
    _, entries = parse_manifest(opened.blobs.read(opened.ledger.versions.all()[-1].id))
    first = next(entry for entry in entries if len(entry.instances) > 1)
    guess = replace(first.instances[0], origin=Origin(OriginKind.MODEL, "m"), state=State.PROPOSED)
    return first, replace(first, instances=(guess, *first.instances[1:]))


def export_one(kind: str, entry: DatasetEntry, workspace: Path, out: Path) -> None:
    _, opened, _ = open_house(TINY, workspace=workspace, create=False)
    paths = {sample.id: sample.path for sample in opened.ledger.samples.all()}
    out.mkdir()
    writer(kind, "rle")([entry], ["coin", "ring", "leaf", "star"], paths.__getitem__, out)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_model_proposed_never_becomes_a_label(
    kind: str, finished: Path, fresh: Path, tmp_path: Path
) -> None:
    """On no way out of a workspace and into another, whatever the format forgets."""
    _, guessed = proposed_in(finished)
    export_one(kind, guessed, finished, tmp_path / "out")
    before = imported(fresh)
    place = ("--workspace", fresh, "--format", kind)
    result = pipeline("import", TINY, tmp_path / "out", *place)
    assert result.exit_code == 1
    assert "--accept-proposals`" in result.stdout
    assert imported(fresh) == before


@pytest.mark.parametrize("kind", FORMATS)
def test_proposals_that_were_looked_over_come_in_as_the_files_word(
    kind: str, finished: Path, fresh: Path, tmp_path: Path
) -> None:
    """Never as a person's: what a Label Studio file has as a prediction is no part of it even then."""
    first, guessed = proposed_in(finished)
    export_one(kind, guessed, finished, tmp_path / "out")
    told = import_(fresh, tmp_path / "out", kind, "--accept-proposals")
    assert (told["images"], told["problems"]) == (1, [])
    said = imported(fresh)[guessed.sample_id]
    wanted = first.instances[1:] if kind == "label_studio" else first.instances
    assert {item.mask for item in said.instances} == {item.mask for item in wanted}
    assert {(item.origin.kind, item.state) for item in said.instances} == {(OriginKind.IMPORTED, State.ACCEPTED)}


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_a_source_with_proposals_teaches_nothing(kind: str, finished: Path, tmp_path: Path) -> None:
    _, guessed = proposed_in(finished)
    export_one(kind, replace(guessed, group="clip"), finished, tmp_path / "out")
    source = f"- {{kind: {kind}, path: {tmp_path / 'out'}}}"
    (tmp_path / "config.yaml").write_text(re.sub(r"- \{kind: scenes.*\}", source, TINY.read_text()))
    assert pipeline("ingest", tmp_path / "config.yaml", "--workspace", tmp_path / "new").exit_code == 0
    assert places(tmp_path / "new") == {guessed.sample_id: (guessed.split, "clip")}
    assert imported(tmp_path / "new") == {}
    _, opened, _ = open_house(TINY, workspace=tmp_path / "new", create=False)
    (row,) = opened.ledger.samples.quarantined()
    assert "--accept-proposals" in row.reason
