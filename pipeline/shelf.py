"""The shelf: what models made of images, cut into batches, kept as shards, found again by fingerprint.

A product is never made twice: it is named by the fingerprint of everything it depends on, and each batch
is kept as soon as it is whole, so a crash costs one batch at most. Images are read here too, because one
that cannot be read is quarantined and must not end its batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from pipeline.domain.geometry import Box, Image
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.records import Instance, Origin, Sample, State
from pipeline.domain.rounds import Evidence, Finding, Uncertainty
from pipeline.errors import DataError
from pipeline.events import Emit
from pipeline.formats.reading import lost
from pipeline.ports import Executor
from pipeline.store.workspace import Workspace

__all__ = ["Predictions", "Shelf", "batched", "fingerprint", "machine_instances"]

T = TypeVar("T")

Predictions = list[MaskPrediction | None]
"""A segmenter's masks for the proposals of one image, in their order; None where it saw no mask."""


class Shelf:
    """The products of one workspace. Every `make_…` asks its callable only for what is missing."""

    def __init__(
        self,
        workspace: Workspace,
        executor: Callable[[], Executor],
        read_image: Callable[[Sample], Image],
        *,
        batch: int,
        emit: Emit,
    ) -> None:
        self._ledger = workspace.ledger
        self._shards = workspace.shards
        self._executor = executor
        self._read_image = read_image
        self._batch = batch
        self._emit = emit

    # --- making ---------------------------------------------------------------------------------------

    def make_proposals(
        self,
        name: str,
        ids: Sequence[str],
        make: Callable[[Sequence[str]], Mapping[str, list[Proposal]]],
        *,
        stage: str = "propose",
    ) -> None:
        self._make(stage, name, ids, make, self._shards.write_proposals)

    def make_predictions(
        self,
        name: str,
        ids: Sequence[str],
        make: Callable[[Sequence[str]], Mapping[str, Predictions]],
        *,
        stage: str = "segment",
    ) -> None:
        self._make(stage, name, ids, make, self._shards.write_predictions)

    def make_scores(
        self, name: str, ids: Sequence[str], make: Callable[[Sequence[str]], Mapping[str, Uncertainty]]
    ) -> None:
        self._make("score", name, ids, make, self._shards.write_scores)

    def make_embeddings(
        self,
        name: str,
        ids: Sequence[str],
        make: Callable[[Sequence[str]], Mapping[str, npt.NDArray[np.float32]]],
    ) -> None:
        self._make("embed", name, ids, make, self._shards.write_embeddings)

    def _make(
        self,
        stage: str,
        name: str,
        ids: Sequence[str],
        make: Callable[[Sequence[str]], Mapping[str, T]],
        write: Callable[[str, Mapping[str, T]], tuple[str, str]],
    ) -> None:
        missing = self._ledger.products.pending(stage, name, ids)
        self._emit(f"{stage}.started", total=len(missing), known=len(ids) - len(missing))
        for batch in batched(missing, self._batch):
            rows = make(batch)
            self._emit(f"{stage}.made", images=len(rows))
            if rows:
                shard, sha256 = write(name, rows)
                self._emit(f"{stage}.written", shard=shard)
                self._ledger.products.record(stage, name, shard, sha256, list(rows))
            self._emit(f"{stage}.batch", done=len(batch))

    # --- finding --------------------------------------------------------------------------------------

    def proposals(self, name: str, ids: Sequence[str], *, stage: str = "propose") -> dict[str, list[Proposal]]:
        return dict(self._shards.read_proposals(self._names(stage, name, ids), set(ids)))

    def predictions(self, name: str, ids: Sequence[str], *, stage: str = "segment") -> dict[str, Predictions]:
        return dict(self._shards.read_predictions(self._names(stage, name, ids), set(ids)))

    def evidence(self, proposals: str, predictions: str, ids: Sequence[str]) -> Iterator[Evidence]:
        """Proposals and masks side by side, for the ids that have both."""
        masks, samples = self.predictions(predictions, ids), self._ledger.samples.some(ids)
        for sample_id, rows in self.proposals(proposals, ids).items():
            if sample_id in masks:
                pairs = zip(rows, masks[sample_id], strict=True)
                findings = tuple(Finding(proposal, prediction) for proposal, prediction in pairs)
                yield Evidence(sample_id, samples[sample_id].size_hw, findings)

    def scores(self, name: str, ids: Sequence[str]) -> dict[str, Uncertainty]:
        return dict(self._shards.read_scores(self._names("score", name, ids), set(ids)))

    def embeddings(self, name: str, ids: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        return dict(self._shards.read_embeddings(self._names("embed", name, ids), set(ids)))

    def _names(self, stage: str, name: str, ids: Sequence[str]) -> list[str]:
        return self._ledger.products.shards(stage, name, ids)

    # --- images ---------------------------------------------------------------------------------------

    def images(self, ids: Sequence[str]) -> Iterator[tuple[str, Image]]:
        """Images in order, read ahead by the executor; one that cannot be read is quarantined and left out."""
        known = self._ledger.samples.some(ids)
        samples = [known[sample_id] for sample_id in ids]

        def read(sample: Sample) -> Image | DataError:
            try:
                return self._read_image(sample)
            except DataError as exc:
                return exc

        for sample, outcome in zip(samples, self._executor().map(lambda: read, samples), strict=True):
            if isinstance(outcome, DataError):
                self.set_aside(sample.id, outcome.reason)
            else:
                yield sample.id, outcome

    def labelled(self, also: Iterable[str] = ()) -> list[Sample]:
        """The labelled samples, and those in `also`, whose file is the one that was labelled. Any other is quarantined,
        and left out for as long as that is so: labels of a file that was replaced would teach nonsense.
        """
        samples, annotated = self._ledger.samples, self._ledger.annotations.spoken_of_ids() | set(also)
        sources, there = samples.sources(), []
        for sample in samples.all():
            if sample.id in annotated:
                reason = lost(sample.path, sample.id, sources.get(str(sample.path)))
                if reason is None:
                    there.append(sample)
                else:
                    self.set_aside(sample.id, f"labelled, but left out of the dataset: {reason}")
        return there

    def set_aside(self, sample_id: str, reason: str) -> None:
        """Quarantine a sample, and say so: no later round asks about it."""
        self._ledger.samples.set_aside(sample_id, reason)
        self._emit("quarantined", path=str(self._ledger.samples.get(sample_id).path), reason=reason)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def fingerprint(stage: str, *parts: object) -> str:
    """The SHA-256 of everything that a product depends on; settings count by their values."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps([stage, *plain], sort_keys=True).encode()).hexdigest()


def _spelled(box: Box) -> str:
    """A box prompt in words, as an instance's origin keeps it: pixels, to a tenth."""
    return "box " + ",".join(f"{value:.1f}" for value in box)


def machine_instances(evidence: Evidence, number: int, origin: Origin) -> tuple[Instance, ...]:
    """What a person starts from: every proposal of an image for which the segmenter saw a mask."""
    instances = []
    for index, finding in enumerate(evidence.findings):
        prediction = finding.prediction
        if prediction is None or prediction.mask.box is None:
            continue
        digest = hashlib.sha256(f"{evidence.sample_id}/{number}/{index}".encode()).hexdigest()
        instances.append(
            Instance(
                id=digest[:16],
                label=finding.proposal.label,
                box=prediction.mask.box,
                mask=prediction.mask,
                origin=replace(origin, prompt=_spelled(finding.proposal.box), round=number or None),
                state=State.PROPOSED,
                confidence=finding.proposal.confidence,
                predicted_iou=prediction.predicted_iou,
                stability=prediction.stability,
            )
        )
    return tuple(instances)
