"""Ultralytics keeps to itself: checked from outside, in a process of its own with an empty home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.ultralytics.faults import translated
from connectors.ultralytics.runtime import load
from pipeline.errors import BackendRejected, BackendUnavailable, DataError, MissingExtra
from tests.contracts._yolo import skip_without, tree_of

REPOSITORY = Path(__file__).parents[4]

WORK = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **keywords):
    raise AssertionError("the network was used")

socket.getaddrinfo = socket.socket.connect = refuse

from connectors.detectors import ultralytics_yolo as detector
from connectors.trainers import ultralytics_yolo as trainer
from tests.contracts import _yolo
import numpy as np

folder = Path(sys.argv[1])
weights = _yolo.write_weights(folder / "tiny.pt")
resources = _yolo.resources_for(folder, weights=weights)
image = np.zeros((64, 64, 3), dtype=np.uint8)
detector.build(detector.Settings(imgsz=64, device="cpu"), resources).propose([image], ["a"])
settings = trainer.Settings(epochs=1, imgsz=64, batch=4, device="cpu")
dataset = _yolo.write_dataset(folder / "dataset")
trainer.build(settings, resources).train(dataset, None, work=folder / "work", seed=0, on_epoch=lambda epoch: None)

from ultralytics.utils import ONLINE, AUTOINSTALL, SETTINGS, USER_CONFIG_DIR
integrations = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "sync")
assert not ONLINE and not AUTOINSTALL and not any(SETTINGS[name] for name in integrations)
print(USER_CONFIG_DIR, file=sys.stderr)
"""


@pytest.mark.slow
def test_no_output_no_network_and_no_file_outside_its_work(tmp_path: Path) -> None:
    skip_without("torch", "ultralytics")
    home, work, here = (tmp_path / name for name in ("home", "work", "here"))
    for folder in (home, work, here):
        folder.mkdir()
    hidden = ("YOLO_", "XDG_", "MPL", "ULTRALYTICS_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    environment |= {"HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(work)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=here,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert tree_of(home) == {}
    assert tree_of(here) == {}
    private = Path(done.stderr.splitlines()[-1])
    assert not private.is_relative_to(home)
    assert not private.exists(), "its private folder goes with the process"


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"maskloop\[ultralytics\]") as caught:
        load("detectors.ultralytics_yolo")
    assert caught.value.extra == "ultralytics"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate"), BackendUnavailable),
        (MemoryError(), BackendUnavailable),
        (RuntimeError("shapes differ"), BackendRejected),
        (AssertionError(), BackendRejected),
        (DataError("ours"), DataError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["cuda memory", "memory", "vendor", "without a text", "ours", "ctrl-c"],
)
def test_what_crosses_the_door(raised: BaseException, expected: type[BaseException]) -> None:
    with pytest.raises(expected) as caught, translated("yolo", "propose"):
        raise raised
    if caught.value is not raised:
        assert caught.value.__cause__ is raised
