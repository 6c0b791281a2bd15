"""What benchmarks share: two sides measured in turns, an interval for their ratio, and what they ran on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["Comparison", "alternate", "machine", "report"]

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Seconds of both sides, pair by pair."""

    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Ours over the peer's, for each pair."""
        return [ours / peer for ours, peer in zip(self.ours_s, self.peer_s, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % percentile bootstrap interval of the median ratio, pairs drawn with replacement."""
        ratios, rng = np.array(self.ratios), np.random.default_rng(0)
        medians = np.median(rng.choice(ratios, (_RESAMPLES, len(ratios))), axis=1)
        low, high = np.percentile(medians, (2.5, 97.5))
        return float(low), float(high)


def alternate(ours: Callable[[], Any], peer: Callable[[], Any], pairs: int) -> Comparison:
    """Run both once unmeasured, then `pairs` times each; who goes first changes from pair to pair."""
    ours(), peer()
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(pairs):
        order = [("ours", ours), ("peer", peer)]
        for name, work in order if number % 2 == 0 else reversed(order):
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return Comparison(tuple(times["ours"]), tuple(times["peer"]))


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """The processor with its vector extensions, the cores this process may use, and versions."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.is_file() else ""
    facts = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    values = {name: value.strip(" \t:") for name, value in facts.items()}
    flags = values.get("flags", "").split()
    return {
        "cpu": values.get("model name", platform.processor()),
        "flags": [flag for flag in flags if flag.startswith(("avx", "amx", "fma"))],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def report(
    name: str,
    compared: Comparison,
    *,
    agreement: Any,
    target: float,
    as_json: bool,
    of: Literal["ratio", "ours"] = "ratio",
    **more: Any,
) -> None:
    """A table of the pairs; with `as_json` one object on the last line.

    `target` is what the median ratio, or the median of our seconds, shall not exceed.
    """
    low, high = compared.ci95
    print(f"{name}\n  pair   ours s   peer s   ratio")
    for number, (ours, peer) in enumerate(zip(compared.ours_s, compared.peer_s, strict=True), start=1):
        print(f"  {number:4d} {ours:8.3f} {peer:8.3f} {ours / peer:7.3f}")
    ours, peer = statistics.median(compared.ours_s), statistics.median(compared.peer_s)
    held = f", target <= {target:g}"
    print(f"  median s {ours:.3f} and {peer:.3f}{held if of == 'ours' else ''}")
    print(f"  median ratio {compared.ratio:.3f} (95 % {low:.3f} to {high:.3f}){held if of == 'ratio' else ''}")
    print(f"  agreement {agreement}")
    if as_json:
        figures = {"ours": ours, "peer": peer, "unit": "s", "ratio": compared.ratio, "ci95": [low, high]}
        facts = {"pairs": len(compared.ratios), "agreement": agreement, "target": target, "of": of, **more}
        print(json.dumps({"name": name, **figures, **facts}))
