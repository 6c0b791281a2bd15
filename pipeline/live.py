"""The loop as it stands, for servers beside it: the champion's proposals, and the images that people see next.

Nothing is written. The champion is looked up at every question, so that a server asks a new one as soon as a run has
promoted it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.domain.geometry import Image
from pipeline.domain.records import Instance, Origin, OriginKind, Sample
from pipeline.domain.rounds import Evidence, Finding
from pipeline.errors import DataError, LedgerError
from pipeline.loop import START, Loop, Peers
from pipeline.ports import Detector
from pipeline.shelf import machine_instances
from pipeline.stages.propose import propose
from pipeline.stages.segment import segment
from pipeline.store.workspace import Workspace

__all__ = ["Live"]

_NO_ROUND = 0
"""Proposals that belong to no round: their ids are not those of any round's."""


class Live:
    """Safe from many threads. Raises what the peers and the ledger raise."""

    def __init__(self, config: Config, workspace: Workspace, peers: Peers) -> None:
        self._config = config
        self._workspace = workspace
        self._ledger = workspace.ledger
        self._peers = peers
        self._lock = threading.Lock()
        self._detector: tuple[str | None, Detector] | None = None

    def model_version(self) -> str:
        """Who is asked at the moment: detector and segmenter, as machines' instances are signed."""
        return f"{self._ledger.pointers.get('champion') or START} + {self._peers.segmenter.name}"

    def propose(self, images: Sequence[tuple[str, Image]]) -> list[tuple[Instance, ...] | DataError]:
        """The machine's instances of every (sample id, image), in order.

        What is wrong with one image is the answer for that image; the others are answered all the same.
        """
        unique = dict(images)
        found: dict[str, tuple[Instance, ...] | DataError] = {}
        with self._lock:
            try:
                found.update(self._proposed(unique))
            except DataError:
                for name, image in unique.items():
                    try:
                        found.update(self._proposed({name: image}))
                    except DataError as exc:
                        found[name] = exc
        return [found[name] for name, _ in images]

    def sample_of(self, sample_id: str) -> Sample | None:
        """None for an id that the ledger does not know."""
        try:
            return self._ledger.samples.get(sample_id)
        except LedgerError:
            return None

    def queue(self) -> list[Sample]:
        """The current round's images that nobody has answered yet, the most wanted first; none before there is a
        selection."""
        number = Loop(self._config, self._workspace, self._peers).current_round
        try:
            ranked = self._ledger.rounds.selection(number).ranked
        except LedgerError:
            return []
        asked, missing = self._ledger.tasks.of(number), set(self._ledger.tasks.unanswered(number))
        waiting = [key for key in ranked if key not in asked or key in missing]
        found = self._ledger.samples.some(waiting)
        return [found[key] for key in waiting]

    def _proposed(self, images: dict[str, Image]) -> dict[str, tuple[Instance, ...]]:
        detector = self._champions_detector()
        proposals = dict(propose([list(images.items())], detector, self._config.project.classes)) if images else {}
        items = [(name, images[name], rows) for name, rows in proposals.items()]
        answers = segment(items, self._peers.segmenter, self._config.segment, self._peers.executor)
        origin = Origin(OriginKind.MODEL, self.model_version())
        made = {}
        for (name, image, rows), (_, masks) in zip(items, answers, strict=True):
            findings = tuple(Finding(row, mask) for row, mask in zip(rows, masks, strict=True))
            size_hw = (int(image.shape[0]), int(image.shape[1]))
            made[name] = machine_instances(Evidence(name, size_hw, findings), _NO_ROUND, origin)
        return made

    def _champions_detector(self) -> Detector:
        """Built anew when another model has become champion; called with the lock held."""
        champion = self._ledger.pointers.get("champion")
        if self._detector is None or self._detector[0] != champion:
            model = self._ledger.models.get(champion) if champion is not None else None
            self._detector = champion, self._peers.detector(model)
        return self._detector[1]
