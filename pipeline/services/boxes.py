"""Imported labels that are boxes only: they get their masks from the segmenter, once, so that they can teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.domain.mask import Mask
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Instance
from pipeline.shelf import Predictions, Shelf, fingerprint
from pipeline.store.ledger import Ledger

__all__ = ["BoxMasks"]


class BoxMasks:
    """The masks that were made for boxes, over one workspace's ledger and shelf."""

    def __init__(self, ledger: Ledger, shelf: Shelf) -> None:
        self._ledger = ledger
        self._shelf = shelf

    def make(
        self,
        ask: Callable[[Mapping[str, Sequence[Proposal]]], dict[str, Predictions]],
        depends_on: Callable[[], Sequence[object]],
    ) -> str | None:
        """Have the masks made that are missing; the name to find them by, None where every label has its own mask.

        `ask` gives the segmenter's masks for the boxes of each sample id; `depends_on` what they hang on. Neither is
        called where no label wants a mask.
        """
        bare = self._bare()
        if not bare:
            return None
        name = fingerprint("boxes", *depends_on())

        def make(ids: Sequence[str]) -> dict[str, Predictions]:
            boxes = {key: [Proposal(row.box, row.label, 1.0) for row in bare[key].rows] for key in ids}
            return ask(boxes)

        for revision, ids in _by_revision(bare):
            self._shelf.make_predictions(_of_revision(name, revision), ids, make, stage="boxes")
        return name

    def find(self, name: str | None) -> Callable[[str, str], Mask | None]:
        """The mask that was made for a box-only instance, by sample and instance id."""
        bare = self._bare() if name else {}
        masks = {
            (sample_id, instance.id): prediction.mask
            for revision, ids in _by_revision(bare)
            for sample_id, found in self._found(name or "", revision, ids).items()
            for instance, prediction in zip(bare[sample_id].rows, found, strict=True)
            if prediction is not None
        }
        return lambda sample_id, instance_id: masks.get((sample_id, instance_id))

    def _found(self, name: str, revision: int, ids: Sequence[str]) -> Mapping[str, Predictions]:
        return self._shelf.predictions(_of_revision(name, revision), ids, stage="boxes")

    def _bare(self) -> dict[str, _Bare]:
        """By sample, the box-only instances of the newest labels that were imported; samples without any are left
        out.
        """
        found = {
            said.sample_id: _Bare(said.revision, [item for item in said.instances if item.mask is None])
            for said in self._ledger.annotations.imported()
        }
        return {sample_id: bare for sample_id, bare in found.items() if bare.rows}


class _Bare(NamedTuple):
    revision: int
    rows: list[Instance]


def _by_revision(bare: Mapping[str, _Bare]) -> Iterator[tuple[int, list[str]]]:
    """Sample ids, sorted, by the revision that the boxes are of."""
    for revision in sorted({one.revision for one in bare.values()}):
        yield revision, sorted(key for key, one in bare.items() if one.revision == revision)


def _of_revision(name: str, revision: int) -> str:
    """Labels that were imported later have other boxes: theirs are masks of their own."""
    return name if revision == 1 else fingerprint("boxes", name, revision)
