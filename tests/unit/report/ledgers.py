"""Finished rounds, written into a ledger by hand."""

from __future__ import annotations

from pipeline.domain.metrics import ClassMetrics, Metrics
from pipeline.domain.rounds import ModelRef, Round
from pipeline.store.workspace import Workspace

__all__ = ["finish", "three_promoted"]


def finish(
    workspace: Workspace,
    number: int,
    value: float | None,
    *,
    promoted: bool,
    champion: str,
    labelled: int = 10,
    seconds: float = 40.0,
) -> None:
    """Round `number` made the model `m<number>` of this mask mAP; the champion it met has a tenth of `number`."""
    ledger = workspace.ledger
    ledger.models.add(ModelRef(f"m{number}", workspace.root / f"{number}.pt", "0" * 64, ("cat",)), number)
    ledger.rounds.finish(Round(number, labelled, 20, 30, seconds, promoted, _metrics(value)))
    standing = {"mask_map50_95": 0.1 * number, "box_map50_95": 0.2}
    ledger.rounds.mark(number, "evaluate", {"model": f"m{number}", "champion": champion, "standing": standing})


def three_promoted(workspace: Workspace) -> None:
    """Each model took the place of the one before; the second has the highest figure of its round."""
    before = "start"
    for number, value in ((1, 0.4), (2, 0.6), (3, 0.5)):
        finish(workspace, number, value, promoted=True, champion=before)
        workspace.ledger.promotions.judged(f"m{number}", number, promoted=True, reason="", body={})
        before = f"m{number}"


def _metrics(mask: float | None, box: float | None = 0.5) -> Metrics:
    cat = ClassMetrics(4, box, box, mask, mask)
    dog = ClassMetrics(0, None, None, None, None)
    return Metrics(7, 4, box, box, mask, mask, {"cat": cat, "dog": dog})
