"""What keeps splits where they are: the looks of every image, no training on held-out ones, changed settings told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.config import IngestSettings
from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Image
from pipeline.domain.likeness import Likeness, likeness_of
from pipeline.domain.records import Sample
from pipeline.errors import DataError, SplitLeak
from pipeline.events import Emit
from pipeline.formats.image import png_bytes
from pipeline.ports import Executor
from pipeline.shelf import batched
from pipeline.stages.ingest import SplitSettings
from pipeline.stages.leaks import Leak, leaks
from pipeline.store.atomic import atomic_write
from pipeline.store.ledger import Ledger
from pipeline.store.workspace import Workspace

__all__ = ["all_likenesses", "refuse_leaks", "tell_changed_settings"]

_BATCH = 64
_SHOWN_PX = 360
_GAP_PX = 12
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
    now = {"seed": seed} | {
        f"ingest.split.{key}": value for key, value in settings.model_dump(mode="json").items()
    }
    known = ledger.pointers.get(_POINTER)
    before = json.loads(known) if known is not None else now
    changed = {key: (before[key], now[key]) for key in now if key in before and now[key] != before[key]}
    if changed and (samples := ledger.samples.count()):
        emit("ingest.settings_changed", changed=changed, samples=samples)
    if known is None or changed:
        ledger.pointers.set(_POINTER, json.dumps(now, sort_keys=True))


def refuse_leaks(
    workspace: Workspace,
    entries: Sequence[DatasetEntry],
    settings: IngestSettings,
    likenesses: Callable[[], Mapping[str, Likeness]],
    read_image: Callable[[Sample], Image],
    *,
    emit: Emit,
) -> None:
    """Refuse a dataset version that would train on a held-out image, or on one that goes with it.

    Raises SplitLeak about the surest pair, with a picture of both in the workspace; where the settings say `warn`,
    that is told instead (`leaks.warned`).
    """
    samples = workspace.ledger.samples.some([entry.sample_id for entry in entries])
    looked = likenesses() if settings.split.near_duplicates == "group" else {}
    found = leaks(entries, {key: sample.split for key, sample in samples.items()}, looked)
    if not found:
        return
    error = _error(found, samples, _pictured(workspace, found[0], samples, read_image, emit))
    if settings.leaks == "stop":
        raise error
    emit("leaks.warned", reason=str(error), train_images=len(found))


def _error(found: Sequence[Leak], samples: Mapping[str, Sample], picture: Path | None) -> SplitLeak:
    leak = found[0]
    train, held_out = samples[leak.train], samples[leak.held_out]
    other = f"{held_out.path} ({held_out.split})"
    match leak.kind:
        case "itself":
            what = f"is trained on, and is held out as {held_out.split}"
        case "group":
            what = f"(train) is of the same group as {other}: {held_out.group!r}"
        case "near-duplicate":
            what = (
                f"(train) looks like {other}: {leak.distance} of 64 bits of their hashes differ, and their thumbnails "
                f"correlate at {leak.correlation:.3f}"
            )
    shown = f"; {picture} shows both" if picture is not None else ""
    more = f"; {len(found) - 1} more train images leak" if len(found) > 1 else ""
    return SplitLeak(
        f"{what}{shown}{more}. A model would be judged by what it has learnt by heart. Take one of the two files "
        "away, or tag the train image `hold-out` in `pipeline review`, and run again; two that are truly different "
        "may stay with ingest.leaks: warn",
        sample_id=train.id,
        path=train.path,
        other_id=held_out.id,
        other_path=held_out.path,
        distance=leak.distance,
        picture=picture,
    )


def _pictured(
    workspace: Workspace,
    leak: Leak,
    samples: Mapping[str, Sample],
    read_image: Callable[[Sample], Image],
    emit: Emit,
) -> Path | None:
    """A file that shows the train image on the left and the held-out one on the right; None if one has gone."""
    try:
        both = [read_image(samples[sample_id]) for sample_id in (leak.train, leak.held_out)]
    except DataError as exc:
        emit("leaks.unshown", reason=str(exc))
        return None
    path = workspace.work("leaks") / f"{leak.train[:12]}-{leak.held_out[:12]}.png"
    atomic_write(path, png_bytes(_side_by_side(*both)), emit=emit)
    return path


def _side_by_side(left: Image, right: Image) -> Image:
    """Both in one height, on white."""
    fitted = []
    for image in (left, right):
        height, width = image.shape[:2]
        wide = min(max(1, round(width * _SHOWN_PX / height)), 4 * _SHOWN_PX)
        fitted.append(cv2.resize(image, (wide, _SHOWN_PX), interpolation=cv2.INTER_AREA).astype(np.uint8))
    gap = np.full((_SHOWN_PX, _GAP_PX, 3), 255, dtype=np.uint8)
    return np.ascontiguousarray(np.hstack([fitted[0], gap, fitted[1]]))
