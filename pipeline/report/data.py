"""What the loop made of the answers: the report's facts about dataset versions, and about what did not go well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.domain.dataset import DatasetEntry, parse_manifest
from pipeline.domain.mask import Mask
from pipeline.formats.losses import FLOOR
from pipeline.formats.round_trip import read_back
from pipeline.report.pictures import AFTER, BEFORE, Album, Outline, Picture
from pipeline.store.workspace import Workspace

__all__ = ["Data", "Doubt", "VersionRow", "data_of"]

PICTURED = 12
"""So many of the worst are shown of each kind of doubt."""
LISTED = 60


@dataclass(frozen=True)
class VersionRow:
    """One round's dataset version; `counts` are keyed as in `DatasetVersion`. `config` is the digest of the
    configuration that made it, `code` names the code; "" where nobody knows.
    """

    round: int
    id: str
    parent: str | None
    counts: Mapping[str, int]
    config: str
    code: str

    def of(self, kind: str) -> dict[str, int]:
        """The counts of one kind: `split`, `class` or `state`."""
        start = f"{kind}/"
        return {key.removeprefix(start): count for key, count in self.counts.items() if key.startswith(start)}


@dataclass(frozen=True)
class Doubt:
    """An image, or one object of it, with the figure in [0, 1] that makes it doubtful."""

    name: str
    label: str
    value: float
    picture: Picture


@dataclass(frozen=True)
class Data:
    """`measured` masks went through YOLO's format and back, of which `lossy` fell under the floor; `spoken` images have
    the word of several people, of which `disputed` fell under theirs; `by_author` has each person's mean agreement with
    the others, and over how many images. The worst of both are shown, and so are the files that were put aside;
    `reasons` counts those. Reviewers keep `kept_out` images out of training, of which `held_out` names some.
    """

    versions: Sequence[VersionRow]
    measured: int
    mean: float | None
    lossy: int
    floor: float
    worst: Sequence[Doubt]
    spoken: int
    disputed: int
    agreement: float | None
    agreement_floor: float
    by_author: Sequence[tuple[str, float, int]]
    quarrels: Sequence[Doubt]
    quarantined: Sequence[tuple[str, str]]
    reasons: Sequence[tuple[str, int]]
    kept_out: int
    held_out: Sequence[str]


def data_of(workspace: Workspace, album: Album, rounds: int, agreement_floor: float) -> Data:
    """Facts of the rounds 1 to `rounds`; those about single images are of the newest version."""
    versions = _versions(workspace)
    entries = parse_manifest(workspace.blobs.read(versions[-1].id))[1] if versions else []
    names = {sample.id: sample.path.name for sample in workspace.ledger.samples.all()}
    trips = [value for entry in entries for value in entry.round_trip.values()]
    agreed = [entry.agreement for entry in entries if entry.agreement is not None]
    aside = workspace.ledger.samples.quarantined()
    held_out = sorted(names[sample_id] for sample_id in workspace.ledger.decisions.held_out_ids())
    return Data(
        versions=versions,
        measured=len(trips),
        mean=sum(trips) / len(trips) if trips else None,
        lossy=sum(value < FLOOR for value in trips),
        floor=FLOOR,
        worst=_lossy(entries, names, album),
        spoken=len(agreed),
        disputed=sum(value < agreement_floor for value in agreed),
        agreement=sum(agreed) / len(agreed) if agreed else None,
        agreement_floor=agreement_floor,
        by_author=_by_author(workspace, rounds),
        quarrels=_quarrels(entries, names, album),
        quarantined=[(item.path.name, item.reason) for item in aside[:LISTED]],
        reasons=Counter(item.reason for item in aside).most_common(),
        kept_out=len(held_out),
        held_out=held_out[:LISTED],
    )


def _versions(workspace: Workspace) -> list[VersionRow]:
    made_by = workspace.ledger.versions.made_by()
    return [
        VersionRow(number, version.id, version.parent, version.counts, *made_by[number])
        for number, version in workspace.ledger.versions.by_round().items()
    ]


def _by_author(workspace: Workspace, rounds: int) -> list[tuple[str, float, int]]:
    """From the newest merge that knows it."""
    for number in range(rounds, 0, -1):
        told = (workspace.ledger.rounds.marked(number, "merge") or {}).get("agreement")
        if told:
            return [(author, float(mean), int(images)) for author, (mean, images) in sorted(told.items())]
    return []


def _lossy(entries: Sequence[DatasetEntry], names: Mapping[str, str], album: Album) -> list[Doubt]:
    """The objects that YOLO's format keeps worst, under the floor."""
    found = [
        (entry.round_trip[item.id], entry.sample_id, item)
        for entry in entries
        for item in entry.instances
        if entry.round_trip.get(item.id, 1.0) < FLOOR
    ]
    found.sort(key=lambda row: (row[0], row[1], row[2].id))
    return [
        Doubt(names[sample_id], item.label, value, album.close_up(sample_id, _both(item.mask), item.box))
        for value, sample_id, item in found[:PICTURED]
    ]


def _both(mask: Mask | None) -> list[Outline]:
    """A mask, and over it what is left of it."""
    return [] if mask is None else [Outline(mask, BEFORE), Outline(read_back(mask), AFTER)]


def _quarrels(entries: Sequence[DatasetEntry], names: Mapping[str, str], album: Album) -> list[Doubt]:
    """The images about which people agree least; full agreement is none."""
    found = [
        (entry.agreement, entry) for entry in entries if entry.agreement is not None and entry.agreement < 1.0
    ]
    found.sort(key=lambda row: (row[0], row[1].sample_id))
    return [
        Doubt(
            names[entry.sample_id],
            "",
            value,
            album.scene(entry.sample_id, _outlines([item.mask for item in entry.instances])),
        )
        for value, entry in found[:PICTURED]
    ]


def _outlines(masks: Sequence[Mask | None]) -> list[Outline]:
    return [Outline(mask, BEFORE) for mask in masks if mask is not None]
