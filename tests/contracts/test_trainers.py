"""What every trainer promises. A new file in the folder is tested without an edit here."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import detectors, trainers
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, DataError, PipelineError
from pipeline.ports import Epoch, Trainer
from tests.contracts._yolo import CLASSES, resources_for, skip_without, tree_of, write_dataset, write_weights

KINDS = sorted(module.name for module in pkgutil.iter_modules(trainers.__path__))
EPOCHS = 3
SMALL = {"epochs": EPOCHS, "imgsz": 64, "batch": 4, "device": "cpu"}
Train = Callable[..., ModelRef]

KILLED = """
import json, os, signal, sys
from pathlib import Path
from tests.contracts import test_trainers as t

kind, weights, dataset, work = sys.argv[1], *map(Path, sys.argv[2:])

def die(epoch):
    with (work / "epochs").open("a") as told:
        told.write(f"{epoch.epoch}\\n")
    if epoch.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

t.trainer_of(kind, weights, work).train(dataset, None, work=work, seed=1, on_epoch=die)
"""

FINISHED = """
import sys
from pathlib import Path
from tests.contracts import test_trainers as t

kind, weights, dataset, work = sys.argv[1], *map(Path, sys.argv[2:])
model = t.trainer_of(kind, weights, work).train(dataset, None, work=work, seed=1, on_epoch=print)
print(model.sha256, *{name.partition(".")[0] for name in sys.modules})
"""


def trainer_of(kind: str, weights: Path, work: Path) -> Trainer:
    module: Any = importlib.import_module(f"connectors.trainers.{kind}")
    settings = module.Settings(
        **{key: value for key, value in SMALL.items() if key in module.Settings.model_fields}
    )
    built: Trainer = module.build(settings, resources_for(work, weights=weights))
    return built


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    peer = importlib.import_module(f"connectors.trainers.{name}")
    skip_without(*(package for packages in peer.REQUIRES.values() for package in packages))
    return name


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    skip_without("torch", "ultralytics")
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.pt")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "version-1")


@pytest.fixture
def train(kind: str, weights: Path, dataset: Path, tmp_path: Path) -> Train:
    """Train with few epochs of few pixels; keywords change what is given."""

    def train_(
        *,
        work: str = "work",
        base: ModelRef | None = None,
        seed: int = 1,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
        repeats: Mapping[str, int] = MappingProxyType({}),
    ) -> ModelRef:
        folder = tmp_path / work
        trainer = trainer_of(kind, weights, folder)
        return trainer.train(dataset, base, work=folder, seed=seed, on_epoch=on_epoch, repeats=repeats)

    return train_


def test_a_model_comes_out(kind: str, train: Train, dataset: Path, tmp_path: Path) -> None:
    before = tree_of(dataset)
    epochs: list[Epoch] = []
    model = train(on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert all(epoch.of == EPOCHS and epoch.losses for epoch in epochs)
    assert hashlib.sha256(model.weights.read_bytes()).hexdigest() == model.sha256
    assert model.id.endswith(model.sha256[:12])
    assert model.weights.is_relative_to(tmp_path / "work")
    assert model.class_names == CLASSES
    assert model.trained_on == "version-1"
    assert tree_of(dataset) == before, "a version is immutable"
    assert {path.name for path in tmp_path.iterdir()} == {"version-1", "work"}, "all files stay in work"
    assert str(tmp_path).encode() not in _unpacked(model.weights), "a model says nothing of where it was made"


def test_a_finished_training_is_found(
    kind: str, train: Train, weights: Path, dataset: Path, tmp_path: Path
) -> None:
    model = train()
    before = tree_of(tmp_path)
    answer = run_script(FINISHED, kind, weights, dataset, tmp_path / "work")
    assert answer.returncode == 0, answer.stderr
    told = answer.stdout.split()
    assert told[0] == model.sha256, "no epoch may be told before it"
    assert "torch" not in told
    assert tree_of(tmp_path) == before


@pytest.mark.slow
def test_a_killed_training_goes_on(kind: str, train: Train, weights: Path, dataset: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    before = tree_of(dataset)
    killed = run_script(KILLED, kind, weights, dataset, work)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (work / "epochs").read_text().split() == ["1", "2"]
    epochs: list[int] = []
    model = train(on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert epochs == [3]
    assert model.weights.is_file()
    assert tree_of(dataset) == before


def test_a_listener_may_interrupt(train: Train) -> None:
    def interrupt(_: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(on_epoch=interrupt)
    epochs: list[int] = []
    train(on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert epochs == [2, 3]


def test_a_damaged_result_is_made_again(train: Train) -> None:
    model = train()
    model.weights.write_bytes(b"damaged")
    assert train().sha256 != hashlib.sha256(b"damaged").hexdigest()


def test_a_model_starts_the_next(kind: str, train: Train) -> None:
    first = train(work="first")
    second = train(work="second", base=first)
    assert second.sha256 != first.sha256


def test_a_work_folder_belongs_to_one_training(train: Train) -> None:
    train(seed=1)
    with pytest.raises(BackendRejected, match="seed"):
        train(seed=2)


def test_images_are_seen_as_often_as_is_asked_for(train: Train, dataset: Path) -> None:
    """Samples are known by their ids; files are called by the first 16 digits."""
    ids = {number: f"{number}" * 64 for number in range(1, 8)}
    for kind_, suffix in (("images", "jpg"), ("labels", "txt")):
        for number, sample_id in ids.items():
            path = dataset / kind_ / "train" / f"{number}.{suffix}"
            path.rename(path.with_stem(sample_id[:16]))
    once = train(work="once")
    assert train(work="same", repeats={ids[1]: 1}).sha256 == once.sha256
    without = train(work="without", repeats={ids[1]: 0, ids[2]: 0})
    twice = train(work="twice", repeats={ids[1]: 2})
    assert len({once.sha256, without.sha256, twice.sha256}) == 3
    with pytest.raises(BackendRejected, match="repeats"):
        train(work="twice", repeats={ids[1]: 3})
    for path in (dataset / "labels" / "train").glob("[12]*"):
        path.unlink()
        next((dataset / "images" / "train").glob(f"{path.stem}.*")).unlink()
    assert train(work="fewer").sha256 == without.sha256, "left out is as if it were not there"


def test_what_it_makes_can_be_detected_with(kind: str, train: Train, tmp_path: Path) -> None:
    model = train()
    fitting = []
    for peer in pkgutil.iter_modules(detectors.__path__):
        module: Any = importlib.import_module(f"connectors.detectors.{peer.name}")
        try:
            built = module.build(module.Settings(), resources_for(tmp_path), model=model)
        except PipelineError:
            continue
        fitting.append(built.name)
        assert model.sha256[:12] in built.name
    assert fitting


def test_a_dataset_without_description(kind: str, train: Train, dataset: Path) -> None:
    (dataset / "data.yaml").write_text("train: images/train\n")
    with pytest.raises(DataError, match="names"):
        train()


def test_its_name_tells_its_kind(kind: str, weights: Path, tmp_path: Path) -> None:
    assert trainer_of(kind, weights, tmp_path).name.startswith(f"{kind}-")


def test_settings_are_closed_and_frozen(kind: str) -> None:
    module: Any = importlib.import_module(f"connectors.trainers.{kind}")
    with pytest.raises(ValidationError):
        module.Settings(no_such_setting=1)
    with pytest.raises(ValidationError):
        module.Settings().epochs = 5


def run_script(code: str, kind: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, kind, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )


def _unpacked(weights: Path) -> bytes:
    """The bytes in which text can be found: of all entries, if the file is an archive."""
    import zipfile

    if not zipfile.is_zipfile(weights):
        return json.dumps(json.loads(weights.read_text())).encode()
    with zipfile.ZipFile(weights) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())
