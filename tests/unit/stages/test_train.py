from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, BadFormat
from pipeline.ports import Epoch
from pipeline.stages.train import train


class Writes:
    """A trainer that writes a few bytes and says of them whatever `lie` makes of the truth."""

    name = "writes"

    def __init__(self, lie: Callable[[ModelRef], ModelRef] = lambda model: model) -> None:
        self.lie = lie
        self.asked: dict[str, Any] = {}

    def train(
        self, dataset: Path, base: ModelRef | None, *, work: Path, seed: int, on_epoch: Callable[[Epoch], None]
    ) -> ModelRef:
        self.asked = {"dataset": dataset, "base": base, "work": work, "seed": seed}
        for number in (1, 2):
            on_epoch(Epoch(number, 2, {"box": 1.0 / number}))
        weights = work / "weights"
        weights.write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        return self.lie(ModelRef("m", weights, digest, ("disc", "star")))


@pytest.fixture(params=["names: [disc, star]", "names: {0: disc, 1: star}"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\n{request.param}\n")
    return folder


def test_passes_the_request_on_and_tells_every_epoch(dataset: Path, tmp_path: Path) -> None:
    trainer = Writes()
    told: list[tuple[str, dict[str, object]]] = []
    base = ModelRef("base", tmp_path / "base", "0" * 64, ("disc", "star"))
    model = train(
        dataset, base, trainer, work=tmp_path, seed=7, emit=lambda name, /, **data: told.append((name, data))
    )
    assert model.id == "m"
    assert trainer.asked == {"dataset": dataset, "base": base, "work": tmp_path, "seed": 7}
    assert told == [
        ("train.begin", {"trainer": "writes", "base": "base"}),
        ("train.epoch", {"epoch": 1, "of": 2, "losses": {"box": 1.0}}),
        ("train.epoch", {"epoch": 2, "of": 2, "losses": {"box": 0.5}}),
        ("train.done", {"model": "m"}),
    ]


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        (lambda model: replace(model, weights=model.weights.with_name("gone")), "no such file"),
        (lambda model: replace(model, sha256="0" * 64), "SHA-256"),
        (lambda model: replace(model, class_names=("star", "disc")), "knows the classes"),
        (lambda model: replace(model, class_names=("disc",)), "knows the classes"),
    ],
)
def test_a_model_that_is_not_what_it_claims_is_rejected(
    lie: Callable[[ModelRef], ModelRef], complaint: str, dataset: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    with pytest.raises(BackendRejected, match=complaint) as caught:
        train(dataset, None, Writes(lie), work=tmp_path, seed=0, emit=lambda name, /, **_: told.append(name))
    assert caught.value.backend == "writes"
    assert "train.done" not in told


@pytest.mark.parametrize(
    "text", [None, "", "train: images/train", "names: 3", "names: {1: disc}", "names: [", "- 1"]
)
def test_a_dataset_without_class_names_is_refused_before_training(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "data.yaml").write_text(text)
    trainer = Writes()
    with pytest.raises(BadFormat, match="names no classes") as caught:
        train(tmp_path, None, trainer, work=tmp_path, seed=0)
    assert caught.value.path == tmp_path / "data.yaml"
    assert not trainer.asked
