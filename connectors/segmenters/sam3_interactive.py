"""SAM 3's interactive head from Meta's own package: boxes, points, prior masks, logits. Needs an NVIDIA GPU."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.third import OTHERS, SQUARE, network_of, parts_of
from connectors.ultralytics.runtime import pick_device
from pipeline.errors import BackendUnavailable
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build", "build_over", "lacks", "meta_module"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"sam3": ("torch", "torchvision", "sam3")}


class Settings(PromptableSettings):
    """There is one size. `device` is `auto` or a CUDA device."""

    @property
    def published_as(self) -> str:
        return "sam3.pt"


def lacks() -> list[str]:
    """What this machine has not, for `pipeline list`; told without importing PyTorch."""
    return [] if shutil.which("nvidia-smi") else ["an NVIDIA GPU"]


def build(settings: Settings, resources: Resources) -> Segmenter:
    """Raises BackendUnavailable without a GPU; ConfigError; and WeightsUnavailable for weights that are missing,
    damaged, unsafe, of another digest or of another kind."""
    import torch

    device = pick_device(settings.device)
    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise BackendUnavailable(
            f"Meta's package makes tensors on an NVIDIA GPU while it builds its networks, and there is none for device "
            f"{device!r}: take a machine with CUDA, or segmenter sam3 (the same weights through Ultralytics, on any "
            "processor), or segmenter remote (this one, served by a machine that has a GPU)",
            backend="sam3_interactive",
            operation="build its networks",
        )

    def make_tracker() -> Any:
        """With the image encoder that it shares with the detector, and without the detector."""
        with torch.cuda.device(device):
            builder = meta_module("sam3.model_builder")
            return builder.build_tracker(apply_temporal_disambiguation=False, with_backbone=True)

    return build_over(make_tracker, settings, resources)


def build_over(make_tracker: Callable[[], Any], settings: Settings, resources: Resources) -> Segmenter:
    """The peer over any of Meta's trackers (`sam3.model.sam3_tracker_base.Sam3TrackerBase`) that see 1008 pixels.

    It calls the tracker's parts, and no `SAM3InteractiveImagePredictor`: that one keeps the image it looks at, so that
    threads would have to take turns, and it enlarges all logits to the image's size before anyone has asked. Alone it
    takes a tenth longer for the same logits.
    """

    def make_parts() -> Any:
        tracker = _made_without_traces(make_tracker)
        return parts_of(tracker.backbone, tracker)

    return build_promptable(
        "sam3_interactive",
        "sam3_interactive",
        settings,
        resources,
        square=SQUARE,
        make_model=make_parts,
        make_network=network_of,
        ignored=OTHERS,
    )


def meta_module(name: str) -> Any:
    """A module of Meta's package, without the warnings that importing it gives: of deprecated parts of PyTorch that it
    uses, and of decorators for GPUs where there is none."""
    with _quiet():
        return importlib.import_module(name)


def _made_without_traces(make_tracker: Callable[[], Any]) -> Any:
    """The tracker, in this thread's own precision: building one starts a bf16 autocast that it never ends."""
    with _quiet():
        tracker = make_tracker()
    started = getattr(tracker, "bf16_context", None)
    if started is not None:
        started.__exit__(None, None, None)
    return tracker


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
