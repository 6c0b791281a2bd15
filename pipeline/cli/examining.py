"""What `pipeline doctor` looks at: the house itself, and whatever the chosen peers say of themselves.

Nothing is changed. Each examination goes on where the one before found fault, as far as there is something to look at.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.cli.common import short
from pipeline.cli.words import many
from pipeline.domain.prompts import Prompt
from pipeline.errors import MissingExtra, PipelineError, WeightsUnavailable
from pipeline.files import file_sha256
from pipeline.ports import Check, Segmenter

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.store.workspace import Workspace
    from pipeline.wiring import House

__all__ = ["examine"]

_GB = 1e9
_LITTLE_GB = 2.0
"""Less room than this, and a training or a dataset may find none."""
_SIDE_PX = 128


def examine(path: Path, overrides: tuple[str, ...] = (), *, workspace: Path | None = None) -> Iterator[Check]:
    """Every check of the configuration at `path`, in the order in which things depend on each other."""
    from pipeline.wiring import is_workspace, load_config, open_house

    try:
        config = load_config(path, overrides, workspace=workspace)
    except PipelineError as exc:
        yield Check("configuration", "failed", str(exc), "put the file right; `pipeline init` writes an example")
        return
    yield Check(
        "configuration",
        "ok",
        f"{short(path)}: {many(len(config.project.classes), 'class', 'classes')}, {many(config.rounds, 'round')}",
    )
    begun = is_workspace(config)
    with _workspace_of(config, begun=begun) as folder:
        try:
            # Without a store of encodings: looking leaves none behind, and is not answered from one.
            _, opened, house = open_house(path, (*overrides, "encodings.budget_gb=0"), workspace=folder)
        except PipelineError as exc:
            yield Check("workspace", "failed", str(exc), "name another folder under `workspace`")
            return
        yield _workspace(config, opened, begun=begun)
        yield _disk(config)
        for family in house.families:
            yield from _guarded(family, lambda family=family: _peer(house, family))  # type: ignore[misc]
        yield from _guarded("model", lambda: _champion(opened))
        yield from _guarded("click", lambda: _click(house))
        for family in house.families:
            yield from _guarded(family, lambda family=family: house.checks(family))  # type: ignore[misc]


@contextmanager
def _workspace_of(config: Config, *, begun: bool) -> Iterator[Path]:
    """The run's own; for one that has not begun, a folder that is removed: looking makes no workspace."""
    if begun:
        yield config.workspace
        return
    with tempfile.TemporaryDirectory(prefix="maskloop-doctor-") as made:
        yield Path(made) / "workspace"


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """One part's failure is a finding, and the others are looked at all the same."""
    try:
        yield from look()
    except PipelineError as exc:
        yield Check(name, "failed", str(exc), _remedy_of(exc))


def _remedy_of(exc: PipelineError) -> str:
    if isinstance(exc, MissingExtra):
        return f"pip install 'maskloop[{exc.extra}]'"
    if isinstance(exc, WeightsUnavailable):
        return "put the file where it is looked for, or set MASKLOOP_WEIGHTS to its folder"
    return "do what the message says, and ask again"


# --- the house itself -----------------------------------------------------------------------------------------


def _workspace(config: Config, opened: Workspace, *, begun: bool) -> Check:
    if not begun:
        parent = next(place for place in config.workspace.parents if place.exists())
        if not os.access(parent, os.W_OK):
            remedy = "name a folder that you may write in under `workspace`, or use --workspace"
            return Check("workspace", "failed", f"{short(parent)} cannot be written to", remedy)
        return Check("workspace", "ok", f"{short(config.workspace)}: not begun, `pipeline run` will make it")
    if not os.access(config.workspace, os.W_OK):
        remedy = "take its folder over (chown), or use --workspace"
        return Check("workspace", "failed", f"{short(config.workspace)} cannot be written to", remedy)
    samples, aside = opened.ledger.samples.count(), len(opened.ledger.samples.quarantined())
    found = f"{short(opened.root)}: {many(samples, 'image')}, {many(len(opened.ledger.rounds.all()), 'round')} finished"
    if aside:
        remedy = "`pipeline list quarantine CONFIG` shows why"
        return Check("workspace", "warning", f"{found}, {many(aside, 'file')} set aside", remedy)
    return Check("workspace", "ok", found)


def _disk(config: Config) -> Check:
    """Room for what is made, and for as many encodings as the configuration allows."""
    from pipeline.store.encodings import EncodingStore

    folder = config.encodings.path or config.workspace / "encodings"
    used = EncodingStore(folder, 0).size_bytes / _GB if folder.is_dir() else 0.0
    place = next(one for one in (folder, *folder.parents) if one.exists())
    free, budget = shutil.disk_usage(place).free / _GB, config.encodings.budget_gb
    found = f"{free:.1f} GB free; encodings take {used:.1f} of {budget:g} GB"
    if free < _LITTLE_GB:
        return Check("disk", "failed", found, f"free some space at {short(place)}: trainings and datasets need it")
    if free - _LITTLE_GB < budget - used:
        remedy = (
            f"free some space at {short(place)}, or set encodings.budget_gb to {max(0.0, used + free / 2):.0f}"
        )
        return Check("disk", "warning", f"{found}, for which there is no room", remedy)
    return Check("disk", "ok", found)


# --- peers ----------------------------------------------------------------------------------------------------


def _peer(house: House, family: str) -> Iterator[Check]:
    """Its packages, and its weights files with the digests that are demanded of them."""
    found = house.weights(family)
    if not found:
        yield Check(family, "ok", f"{house.kind(family)}: everything that it needs is installed")
    for path, wanted in found:
        digest = file_sha256(path)
        if wanted is not None and digest != wanted.lower():
            remedy = f"fetch the file again, or put {family}.sha256 right if the file is the one you mean"
            yield Check(family, "failed", f"{short(path)} has SHA-256 {digest}, not {wanted}", remedy)
            continue
        demanded = "as demanded" if wanted is not None else f"{family}.sha256 would demand it"
        yield Check(family, "ok", f"{house.kind(family)}: {path.name}, SHA-256 {digest[:16]}… ({demanded})")


def _champion(opened: Workspace) -> Iterator[Check]:
    """The model that the loop has made, if it has: its file is what the ledger says."""
    champion = opened.ledger.pointers.get("champion")
    if champion is None:
        return
    model = opened.ledger.models.get(champion)
    if not model.weights.is_file():
        yield Check("model", "failed", f"{short(model.weights)} is gone", "bring it back from a copy")
    elif file_sha256(model.weights) != model.sha256:
        remedy = "`pipeline verify CONFIG` names all damage; bring the file back from a copy"
        yield Check("model", "failed", f"{short(model.weights)} is not what the ledger says", remedy)
    else:
        yield Check("model", "ok", f"{champion}: SHA-256 {model.sha256[:16]}… as the ledger says")


def _click(house: House) -> Iterator[Check]:
    """A click on a disc must come back as a mask of the image's size."""
    segmenter: Segmenter = house.segmenter
    rows, columns = np.ogrid[:_SIDE_PX, :_SIDE_PX]
    middle = _SIDE_PX / 2
    disc = (rows - middle) ** 2 + (columns - middle) ** 2 < (_SIDE_PX / 4) ** 2
    image = np.full((_SIDE_PX, _SIDE_PX, 3), (40, 60, 70), dtype=np.uint8)
    image[disc] = (220, 150, 40)
    begun = time.perf_counter()
    [encoding] = segmenter.encode([image])
    encoded = time.perf_counter()
    [candidates] = segmenter.decode(encoding, [Prompt(points_xy=((middle, middle),), point_labels=(True,))])
    answered = time.perf_counter()
    mask = candidates[0].mask
    if mask.size_hw != (_SIDE_PX, _SIDE_PX) or mask.area_px == 0:
        yield Check(
            "click",
            "failed",
            f"{segmenter.name} answers a click on a disc with {mask.area_px} pixels of {mask.size_hw}",
            "these weights do not segment: choose others, or another segmenter.kind",
        )
        return
    times = f"{1000 * (encoded - begun):.0f} ms for the image, {1000 * (answered - encoded):.0f} ms for the click"
    yield Check("click", "ok", f"{segmenter.name} answers a click ({times})")
