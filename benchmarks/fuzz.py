"""Damaged input of every kind: no crash, nothing that hangs, bounded memory.

Each part is a function of how many attempts to make and a seed; it answers with its counts, and whether it all `held`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import _fuzz_backend, _fuzz_codes
from benchmarks._harness import machine


@dataclass(frozen=True)
class Part:
    """`run(number, seed)` makes `number` attempts."""

    name: str
    run: Callable[[int, int], dict[str, Any]]
    number: int


PARTS = (
    Part("brush codes", _fuzz_codes.brush_codes, 100_000),
    Part("regions", _fuzz_codes.regions, 30_000),
    Part("configurations", _fuzz_codes.configurations, 10_000),
    Part("backend", _fuzz_backend.fuzz_backend, 2_000),
)


def measured(parts: Sequence[Part], *, quick: bool = False, seed: int = 0) -> dict[str, dict[str, Any]]:
    """What each part found; `quick` makes one attempt in a hundred."""
    return {part.name: part.run(max(part.number // 100, 20) if quick else part.number, seed) for part in parts}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; fail where a part has not held."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=names, help="only this one; may be given again")
    parser.add_argument("--quick", action="store_true", help="one attempt in a hundred")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    chosen = [part for part in PARTS if asked.part is None or part.name in asked.part]
    results = measured(chosen, quick=asked.quick, seed=asked.seed)
    for name, found in results.items():
        print(f"{name:<16}{'held' if found['held'] else 'NOT HELD'}")
        for key, value in found.items():
            if key != "held":
                print(f"  {key:<20}{value}")
    if asked.json:
        print(json.dumps({"name": "fuzz", "seed": asked.seed, "ours": results, "machine": machine(("numpy",))}))
    if not all(found["held"] for found in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
