"""What keeps splits where they are: what every image looks like, and what is told when their settings change."""

from __future__ import annotations

import json
from collections.abc import Callable

from pipeline.domain.geometry import Image
from pipeline.domain.likeness import Likeness, likeness_of
from pipeline.domain.records import Sample
from pipeline.errors import DataError
from pipeline.events import Emit
from pipeline.ports import Executor
from pipeline.shelf import batched
from pipeline.stages.ingest import SplitSettings
from pipeline.store.ledger import Ledger

__all__ = ["all_likenesses", "tell_changed_settings"]

_BATCH = 64
_POINTER = "ingest/settings"


def all_likenesses(
    ledger: Ledger, executor: Executor, read_image: Callable[[Sample], Image], *, emit: Emit
) -> dict[str, Likeness]:
    """Sample id -> likeness. Samples that have none yet, as in older workspaces, are read for it.

    One that cannot be read is told (`likeness.unreadable`), goes without, and is tried again the next time.
    """
    samples = {sample.id: sample for sample in ledger.samples.all()}

    def describe(sample: Sample) -> tuple[str, Likeness | DataError]:
        try:
            return sample.id, likeness_of(read_image(sample))
        except DataError as exc:
            return sample.id, exc

    for ids in batched(ledger.likenesses.missing(samples), _BATCH):
        found: dict[str, Likeness] = {}
        for sample_id, likeness in executor.map(lambda: describe, [samples[key] for key in ids]):
            if isinstance(likeness, Likeness):
                found[sample_id] = likeness
            else:
                emit("likeness.unreadable", path=str(samples[sample_id].path), reason=likeness.reason)
        ledger.likenesses.add(found)
    return ledger.likenesses.all()


def tell_changed_settings(ledger: Ledger, settings: SplitSettings, seed: int, *, emit: Emit) -> None:
    """Say `ingest.settings_changed` when the settings of splits, or the seed, are not those that this workspace was
    made with: they hold for new images and later rounds alone, because splits never move.
    """
    now = {"seed": seed} | {f"ingest.split.{key}": value for key, value in settings.model_dump(mode="json").items()}
    known = ledger.pointers.get(_POINTER)
    before = json.loads(known) if known is not None else now
    changed = {key: (before[key], now[key]) for key in now if key in before and now[key] != before[key]}
    if changed and (samples := ledger.samples.count()):
        emit("ingest.settings_changed", changed=changed, samples=samples)
    if known is None or changed:
        ledger.pointers.set(_POINTER, json.dumps(now, sort_keys=True))
