"""What every peer of SAM's structure can be told, and how such a peer is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from connectors.engines.candidates import Precision
from connectors.engines.choice import Asked as AskedEngine
from connectors.engines.choice import build_run
from connectors.promptable.frame import Square
from connectors.promptable.network import Arrays, Asked, Network, Told
from connectors.promptable.segmenter import PromptableSegmenter
from connectors.promptable.weights import digest_of, restore
from connectors.ultralytics.faults import translated
from connectors.ultralytics.runtime import pick_device
from connectors.ultralytics.weights import Weights, weights_by_name
from pipeline.ports import Resources

__all__ = ["PromptableSettings", "build_promptable"]


class PromptableSettings(BaseModel, ABC):
    """Which weights, where they run, and how many prompts are asked at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str | None = None
    """A file's path, or a name to be looked for; by default the name under which these weights are published."""
    sha256: str | None = None
    """The digest that the file must have; it is checked before the file is loaded."""
    untrained: bool = False
    """Random weights drawn from the run's seed: masks without meaning, to measure time with and to test with."""
    device: str = "auto"
    engine: AskedEngine = "eager"
    """What runs the image encoder. `auto` measures on this machine, once, and takes the quickest that agrees."""
    precision: Precision = "fp32"
    """What encoder and decoder compute in: `bf16` is quicker where the processor knows it, masks differ a little."""
    batch: Annotated[int, Field(ge=1)] = 16

    @property
    @abstractmethod
    def published_as(self) -> str:
        """The file name of the published weights."""


def build_promptable(
    kind: str,
    variant: str,
    settings: PromptableSettings,
    resources: Resources,
    *,
    square: Square,
    make_model: Callable[[], Any],
    make_network: Callable[[Any], Network],
    ignored: Sequence[str] = (),
) -> PromptableSegmenter:
    """`variant` tells the sizes of a kind apart.

    `make_model` builds the module with random weights, `make_network` gives its parts their places.

    Raises WeightsUnavailable for weights that are missing, damaged, unsafe, of another digest or of another kind;
    MissingExtra and ConfigError for an engine that cannot be had.
    """
    weights = _weights(settings, resources)
    called = kind if variant == kind else f"{kind}-{variant}"
    with translated(kind, "load weights"):
        model = _seeded(make_model, resources.seed)
        if weights is not None:
            restore(model, called, weights.path, ignored=ignored)
        # MobileSAM keeps a table made from its weights, anew at each change from training to evaluation.
        model.train().eval().requires_grad_(False)
        model.to(pick_device(settings.device))
        digest = weights.sha256 if weights is not None else digest_of(model)
        network = make_network(model)
        run, _ = build_run(
            network.encoder,
            np.zeros((1, 3, square.side, square.side), dtype=np.float32),
            engine=settings.engine,
            precision=settings.precision,
            digest=digest,
            memory=resources.work,
        )
    precision = "" if settings.precision == "fp32" else f"-{settings.precision}"
    return PromptableSegmenter(
        network if settings.precision == "fp32" else _Rounded(network, pick_device(settings.device)),
        run,
        square,
        name=f"{called}{precision}-{digest[:12]}",
        fingerprint=f"{called}/{digest}/{square.name}{precision}",
        batch=settings.batch,
    )


class _Rounded:
    """A network whose decoder too computes in bf16, as its encoder does on its engine."""

    def __init__(self, network: Network, device: str) -> None:
        self._network = network
        self._device = device.partition(":")[0]
        self.encoder: Any = network.encoder
        self.names = network.names

    def decode(self, arrays: Arrays, asked: Asked, *, multimask: bool) -> Told:
        import torch

        with torch.autocast(self._device, dtype=torch.bfloat16):
            return self._network.decode(arrays, asked, multimask=multimask)


def _weights(settings: PromptableSettings, resources: Resources) -> Weights | None:
    if settings.untrained:
        return None
    return weights_by_name(settings.weights or settings.published_as, settings.sha256, resources.find_weights)


def _seeded(make: Callable[[], Any], seed: int) -> Any:
    """Building draws initial weights; the caller's random numbers stay as they were."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
