"""Tools for many masks: `python -m benchmarks.mask_tools [--part NAME] [--share 1] [--json]`.

contours  polygons of a kept mask, read off its run lengths, beside cv2.findContours in the whole frame decoded; the
          rings enclose the same pixels
merge     annotations to a dataset version, and with the round trip of every instance as a YOLO row
manifest  a version's manifest made, kept, and verified: read, its hash compared, parsed, and its counts compared
table     a Parquet table opened and filtered, beside json.load and pycocotools' COCO(), in processes of their own

`--share` is how much of the sizes that are claimed is tried: 1 is all of them, and takes minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import _tool_contours, _tool_table, _tool_versions
from benchmarks._harness import machine

PARTS: dict[str, Callable[[float, int], dict[str, Any]]] = {
    "contours": lambda _share, pairs: _tool_contours.contours(pairs),
    "merge": lambda share, _pairs: _tool_versions.merged(share),
    "manifest": lambda share, _pairs: _tool_versions.manifest(share),
    "table": _tool_table.table,
}
"""Each takes the share and the number of pairs, and answers with its figures and whether it `held`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of each part; fail where answers differ, or, at full size, where a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one; may be given again")
    parser.add_argument("--share", type=float, default=0.1, help="of the sizes that are claimed (default 0.1)")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    results = {}
    for name in asked.part or PARTS:
        results[name] = PARTS[name](asked.share, asked.pairs)
        print(f"{name}: {'held' if results[name]['held'] else 'NOT HELD'}")
        for key, value in results[name].items():
            if key != "held":
                print(f"  {key:<28}{_shown(value)}")
    if asked.json:
        packages = ("numpy", "opencv-python-headless", "pycocotools", "pyarrow")
        facts = {"name": "mask_tools", "share": asked.share, "ours": results}
        print(json.dumps({**facts, "machine": machine(packages)}))
    if not all(found["held"] for found in results.values()):
        sys.exit(1)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " to ".join(_shown(item) for item in value)
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    main()
