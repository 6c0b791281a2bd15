"""Judging a round's model: on the frozen held-out split, against the champion, before it may take its place.

What a model proposes there is kept on the shelf, so judging it again, against another model or a larger split, asks it
only about images that are new. Every decision is written down with its figures, in the transaction that moves the
champion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.config import Config
from pipeline.domain.dataset import DatasetEntry, manifest_bytes
from pipeline.domain.gate import Decision
from pipeline.domain.geometry import Image
from pipeline.domain.prompts import Proposal
from pipeline.domain.records import Sample
from pipeline.domain.rounds import ModelRef, Round
from pipeline.events import Emit, silent
from pipeline.ports import Detector
from pipeline.shelf import Shelf, batched, fingerprint
from pipeline.stages.evaluate import Judgement, evaluate, gate
from pipeline.stages.propose import propose
from pipeline.store.ledger import Ledger

__all__ = ["START", "Judge", "Judged"]

START = "start"
"""The name under which the detector's own starting weights are judged."""


class Judged(Protocol):
    """What judging needs of the live objects."""

    def detector(self, model: ModelRef | None, *, confidence: float | None = None) -> Detector: ...

    def read_image(self, sample: Sample) -> Image: ...


class Judge:
    """Over one workspace; the caller holds its write lock."""

    def __init__(
        self, config: Config, ledger: Ledger, shelf: Shelf, peers: Judged, *, emit: Emit = silent
    ) -> None:
        self._config = config
        self._settings = config.evaluate
        self._classes = config.project.classes
        self._ledger = ledger
        self._shelf = shelf
        self._peers = peers
        self._emit = emit

    def finish(self, number: int, candidate: ModelRef, version: Sequence[DatasetEntry]) -> dict[str, Any]:
        """End round `number`: judge its model and the champion on the version's held-out images, promote or keep,
        and say so. A decision that was made before an interruption stands.
        """
        promotions = self._ledger.promotions
        held_out = [entry for entry in version if entry.split == self._settings.split]
        row = promotions.of_round(number)
        before = row.previous if row is not None else promotions.champion()
        standing = self.judgement(self._ledger.models.get(before) if before else None, held_out)
        judged = self.judgement(candidate, held_out)
        if row is None:
            decision = self._decide(number, judged, standing, held_out)
            body = {"reasons": list(decision.reasons), **decision.row()}
            row = promotions.judged(
                candidate.id, number, promoted=decision.promoted, reason=decision.reason, body=body
            )
        promoted = row.decision == "promoted"
        totals = self._ledger.annotations.totals(number)
        self._ledger.rounds.finish(Round(number, *totals, promoted, judged.metrics))
        return {
            "model": candidate.id,
            "champion": before or START,
            "promoted": promoted,
            "reason": row.reason,
            "truth": judged.metrics.instances,
            "standing": standing.metrics.headline(),
        }

    def judgement(self, model: ModelRef | None, held_out: Sequence[DatasetEntry]) -> Judgement:
        """A model (None: the starting weights) on these images and their truth; its figures go into the ledger."""
        truth = {entry.sample_id: entry.instances for entry in held_out}
        samples = self._ledger.samples.some(list(truth))
        asked = [self._config.detector, self._settings.confidence]
        name = model.id if model is not None else START
        proposals = self._proposals(model, fingerprint("judge", name, *asked, list(self._classes)), samples)
        answers = (
            (samples[sample_id], rows[sample_id])
            for ids in batched(truth, self._config.propose.batch)
            for rows in (self._shelf.proposals(proposals, ids, stage="evaluate"),)
            for sample_id in ids  # in the manifest's order, whatever order they were made in
        )
        judgement = evaluate(answers, truth.__getitem__, self._classes, self._settings.by)
        state = fingerprint("judge", manifest_bytes(held_out, self._classes).decode(), *asked)
        if self._ledger.evaluations.get(name, state) is None:
            self._ledger.evaluations.save(name, state, judgement.metrics)
        return judgement

    def _proposals(self, model: ModelRef | None, name: str, samples: Mapping[str, Sample]) -> str:
        """The name to find a model's proposals by; it is built, and asked, only about images that it never saw."""
        built: list[Detector] = []

        def make(ids: Sequence[str]) -> dict[str, list[Proposal]]:
            if not built:
                built.append(self._peers.detector(model, confidence=self._settings.confidence))
            # The held-out split is frozen: an image that cannot be read any more is an error here.
            batch = [(sample_id, self._peers.read_image(samples[sample_id])) for sample_id in ids]
            return dict(propose([batch], built[0], self._classes, emit=self._emit))

        self._shelf.make_proposals(name, list(samples), make, stage="evaluate")
        return name

    def _decide(
        self, number: int, candidate: Judgement, standing: Judgement, held_out: Sequence[DatasetEntry]
    ) -> Decision:
        groups = {entry.sample_id: entry.group for entry in held_out}
        rng = np.random.default_rng([self._config.seed, number])
        return gate(candidate, standing, groups, self._settings, rng)
