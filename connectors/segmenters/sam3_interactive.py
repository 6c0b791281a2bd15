"""SAM 3's interactive head from Meta's own package: boxes, points, prior masks, logits. Needs an NVIDIA GPU."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectors.promptable.frame import Square
from connectors.promptable.settings import PromptableSettings, build_promptable
from connectors.sam.second import Sam2Network
from connectors.ultralytics.runtime import pick_device
from pipeline.errors import BackendUnavailable
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build", "build_over", "lacks", "meta_module"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"sam3": ("torch", "torchvision", "sam3")}

_SQUARE = Square(side=1008, low_side=288, stretch=True, mean=(127.5,) * 3, std=(127.5,) * 3)

_SHARED = "detector.backbone.vision_backbone"
_OTHERS = (
    f"{_SHARED}.convs.",
    "detector.backbone.language_backbone.",
    "detector.geometry_encoder.",
    "detector.transformer.",
    "detector.segmentation_head.",
    "detector.dot_prod_scoring.",
    "tracker.transformer.",
    "tracker.maskmem_",
    "tracker.mask_downsample.",
    "tracker.no_mem_pos_enc",
    "tracker.no_obj_",
    "tracker.obj_ptr_",
)
"""How the names of a checkpoint's other weights begin: of the detector, which words talk to, and of the memory."""


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
    return build_promptable(
        "sam3_interactive",
        "sam3_interactive",
        settings,
        resources,
        square=_SQUARE,
        make_model=lambda: _image_parts(_made_without_traces(make_tracker)),
        make_network=lambda model: Sam2Network(_as_network_wants(model)),
        ignored=_OTHERS,
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


def _image_parts(tracker: Any) -> Any:
    """What single images need, under the names that a checkpoint gives the parts: the encoder that detector and
    tracker share, its pyramid for the tracker, and the tracker's prompt encoder and mask decoder."""
    from torch import nn

    root = nn.Module()
    shared = _nested(root, _SHARED)
    shared.trunk = tracker.backbone.vision_backbone.trunk
    shared.sam2_convs = tracker.backbone.vision_backbone.sam2_convs
    head = _nested(root, "tracker")
    head.sam_prompt_encoder, head.sam_mask_decoder = tracker.sam_prompt_encoder, tracker.sam_mask_decoder
    head.no_mem_embed = tracker.no_mem_embed
    return root


def _nested(root: Any, name: str) -> Any:
    """An empty module at a dotted name."""
    from torch import nn

    for part in name.split("."):
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    return root


def _as_network_wants(model: Any) -> Any:
    """The same parts under the names that SAM 2 gives them, whose structure this head has."""
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self, shared: Any) -> None:
            super().__init__()
            self.trunk, self.levels = (
                shared.trunk,
                shared.sam2_convs[:3],
            )  # a fourth, coarser one is never looked at

        def forward(self, pixels: Any) -> Mapping[str, Any]:
            features = self.trunk(pixels)[-1]
            return {"backbone_fpn": [level(features) for level in self.levels]}

    parts = nn.Module()
    parts.image_encoder = Encoder(model.get_submodule(_SHARED))
    parts.sam_prompt_encoder, parts.sam_mask_decoder = (
        model.tracker.sam_prompt_encoder,
        model.tracker.sam_mask_decoder,
    )
    parts.no_mem_embed = model.tracker.no_mem_embed
    return parts


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
