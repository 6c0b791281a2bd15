"""What a class name stands for: the outlines, surfaces and colours its objects may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.scenes.colours import RAMPS
from pipeline.scenes.shapes import SHAPES
from pipeline.scenes.textures import FIELDS


@dataclass(frozen=True)
class Kind:
    """Names from SHAPES, FIELDS and RAMPS; no ramps means any colour at all."""

    shapes: tuple[str, ...]
    fields: tuple[str, ...]
    ramps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for names, known in ((self.shapes, SHAPES), (self.fields, FIELDS), (self.ramps, RAMPS)):
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise ValueError(f"unknown {unknown}; known: {sorted(known)}")


DEMO_SHAPES = ("coin", "ring", "leaf", "star")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "coin": Kind(("coin",), ("gradient", "speckle", "clouds"), ("copper", "gold", "silver")),
        "ring": Kind(("ring",), ("gradient", "grain", "speckle"), ("steel", "silver", "gold", "lagoon")),
        "leaf": Kind(("leaf",), ("clouds", "stripes", "gradient"), ("fern", "autumn", "maple")),
        "star": Kind(("star",), ("gradient", "clouds", "weave"), ("berry", "amber", "lagoon", "maple")),
        "object": Kind(tuple(name for name in SHAPES if name not in DEMO_SHAPES), tuple(FIELDS)),
    }
)
"""Every class name that a scene can be made of."""
