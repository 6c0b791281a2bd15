"""Ultralytics, imported so that it keeps to itself: no network, no installing, no user's settings file, no output.

What it does on import depends on environment variables, so they are set first. Its settings file goes to a
folder of this process that is removed at exit; there, every integration and the usage report are switched off.
Where someone else has imported it before, it is theirs and is left as it is.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import threading
from typing import Any

from pipeline.errors import MissingExtra

__all__ = ["load", "pick_device"]

_INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_lock = threading.Lock()


def load(needed_by: str) -> Any:
    """The package `ultralytics`, quiet. Raises MissingExtra where it is not installed."""
    with _lock:
        for package in ("torch", "ultralytics"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra("ultralytics", needed_by=needed_by, package=package)
        if "ultralytics.utils" not in sys.modules:
            _import_quietly()
        import ultralytics

        return ultralytics


def _import_quietly() -> None:
    folder = tempfile.mkdtemp(prefix="maskloop-ultralytics-")
    atexit.register(_remove_in, os.getpid(), folder)
    os.environ |= {
        "YOLO_CONFIG_DIR": folder,
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "true",
    }
    # Matplotlib, which comes along, would write its font list into the home folder.
    os.environ.setdefault("MPLCONFIGDIR", folder)
    import ultralytics

    ultralytics.settings.update({"sync": False, **dict.fromkeys(_INTEGRATIONS, False)})
    logger = logging.getLogger("ultralytics")
    # Its handler writes to standard output, which belongs to the command's own answer.
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.WARNING)


def _remove_in(process_id: int, folder: str) -> None:
    """Remove the folder at the exit of the process that made it, not of a fork."""
    if os.getpid() == process_id:
        shutil.rmtree(folder, ignore_errors=True)


def pick_device(device: str) -> str:
    """`auto` becomes the first CUDA device, or the CPU; anything else stays. Needs torch."""
    import torch

    if device != "auto":
        return device
    return "cuda:0" if torch.cuda.is_available() else "cpu"
