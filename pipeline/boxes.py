"""Imported labels that are boxes only: they get their masks from the segmenter, once, so that they can teach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
        self, ask: Callable[[Mapping[str, Sequence[Proposal]]], dict[str, Predictions]], *depends_on: object
    ) -> str | None:
        """Have the masks made that are missing; the name to find them by, None where every label has its own mask.

        `ask` gives the segmenter's masks for the boxes of each sample id; `depends_on` is what they hang on.
        """
        bare = self._bare()
        asked = {key: [Proposal(row.box, row.label, 1.0) for row in rows] for key, rows in bare.items()}
        if not asked:
            return None
        name = fingerprint("boxes", *depends_on)

        def make(ids: Sequence[str]) -> dict[str, Predictions]:
            return ask({sample_id: asked[sample_id] for sample_id in ids})

        self._shelf.make_predictions(name, sorted(asked), make, stage="boxes")
        return name

    def find(self, name: str | None) -> Callable[[str, str], Mask | None]:
        """The mask that was made for a box-only instance, by sample and instance id."""
        bare = self._bare() if name else {}
        made = self._shelf.predictions(name, sorted(bare), stage="boxes") if name else {}
        masks = {
            (sample_id, instance.id): prediction.mask
            for sample_id, predictions in made.items()
            for instance, prediction in zip(bare[sample_id], predictions, strict=True)
            if prediction is not None
        }
        return lambda sample_id, instance_id: masks.get((sample_id, instance_id))

    def _bare(self) -> dict[str, list[Instance]]:
        """By sample, the imported instances of which only the box is known; samples without any are left out."""
        found = {
            row.sample_id: [instance for instance in row.instances if instance.mask is None]
            for row in self._ledger.annotations.imported()
        }
        return {sample_id: rows for sample_id, rows in found.items() if rows}
