"""The ledger: the workspace's memory of what happened, one small class for each topic.

Every method that writes is one transaction; the process must hold the workspace's lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pipeline.events import Emit, silent
from pipeline.store.annotations import Annotations
from pipeline.store.database import Database
from pipeline.store.decisions import Decisions, Requests
from pipeline.store.likenesses import Likenesses
from pipeline.store.lives import Lives
from pipeline.store.models import Evaluations, Models, Pointers, Versions
from pipeline.store.progress import Products, Rounds
from pipeline.store.promotions import Promotions
from pipeline.store.samples import Samples
from pipeline.store.soundness import Soundness
from pipeline.store.tasks import Tasks

__all__ = ["Ledger"]


class Ledger:
    """Topics over one database. Raises LedgerCorrupt for a database made by a newer version."""

    def __init__(self, url: str | Path, *, root: Path, now: Callable[[], datetime], emit: Emit = silent) -> None:
        self._db = Database(url, root=root, emit=emit)
        self.samples = Samples(self._db, now=now)
        self.likenesses = Likenesses(self._db)
        self.annotations = Annotations(self._db)
        self.products = Products(self._db)
        self.rounds = Rounds(self._db)
        self.tasks = Tasks(self._db)
        self.models = Models(self._db)
        self.versions = Versions(self._db)
        self.evaluations = Evaluations(self._db)
        self.pointers = Pointers(self._db)
        self.decisions = Decisions(self._db)
        self.requests = Requests(self._db)
        self.lives = Lives(self._db)
        self.promotions = Promotions(self._db, now=now)

    def problems(self) -> Iterator[str]:
        """Everything that is wrong with the ledger itself, in words; nothing if it is sound."""
        readers: dict[str, Callable[[], object]] = {
            "samples": self.samples.all,
            "sources": self.samples.sources,
            "quarantine": self.samples.quarantined,
            "likenesses": self.likenesses.all,
            "rounds": self.rounds.all,
            "models": self.models.all,
            "versions": self.versions.by_round,
            "head": self.versions.head,
            "dropped folders": self.versions.dropped_folders,
            "decisions": self.decisions.all,
            "promotions": self.promotions.all,
        }
        return Soundness(self._db, readers).problems()

    def join_fence(self) -> None:
        """Become the one writer; from its first write on, those of every earlier one are refused."""
        self._db.join_fence()

    def leave_fence(self) -> None:
        """Write no more."""
        self._db.leave_fence()

    def close(self) -> None:
        self._db.close()
