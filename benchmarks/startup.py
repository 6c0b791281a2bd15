"""How fast the command answers: `python -m benchmarks.startup [--pairs 7] [--json]`.

Ours is `pipeline --help` in a process of its own, the peer an interpreter that does nothing (`python -c pass`):
what no Python program can do without. Both take turns. The figure to hold is our own time; `cpu_s` is the
part of it that a busy machine does not lengthen.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks._harness import alternate, machine, report

TARGET_S = 0.3
VENDORS = {"torch", "ultralytics", "pandas", "fiftyone"}
LOADED = (
    "import atexit, sys; from pipeline.cli import main; "
    "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main(['--help'])"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    arguments = parser.parse_args()
    if arguments.pairs < 5:
        parser.error("at least 5 pairs")

    command = [str(Path(sys.executable).with_name("pipeline")), "--help"]
    nothing = [sys.executable, "-c", "pass"]
    compared = alternate(lambda: _run(command), lambda: _run(nothing), arguments.pairs)
    ours_s = statistics.median(compared.ours_s)
    loaded = {name.partition(".")[0] for name in _run([sys.executable, "-c", LOADED]).stderr.split()}
    heavy = sorted(loaded & VENDORS)
    agreement = {"page_names_run": "pipeline run" in _run(command).stdout, "heavy_imports": heavy}
    print(f"pipeline --help: {ours_s:.3f} s, target <= {TARGET_S} s; heavy imports: {', '.join(heavy) or 'none'}")
    report(
        "startup",
        compared,
        agreement=agreement,
        target=TARGET_S / statistics.median(compared.peer_s),
        as_json=arguments.json,
        target_s=TARGET_S,
        cpu_s=_cpu_s(command),
        machine=machine(["maskloop", "click"]),
    )
    if not agreement["page_names_run"] or heavy:
        raise SystemExit("the help page is not what it must be")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True)


def _cpu_s(command: list[str]) -> float:
    """Seconds that the processor works for the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
