"""The App's server as a process that does not outlive the one that started it.

`python -m connectors.fiftyone.app_server --address ADDRESS --port PORT`. It holds nothing that could be lost: tags are
in the database as soon as they are set.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading

__all__ = ["main"]


def main() -> None:
    """FiftyOne's own server, with its own arguments, until standard input ends."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    runpy.run_module("fiftyone.server.main", run_name="__main__", alter_sys=True)


def _end_with_starter() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that waits in there keeps the interpreter from ending
        continue
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
