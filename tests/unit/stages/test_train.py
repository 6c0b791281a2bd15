from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Box
from pipeline.domain.records import Instance, Origin, OriginKind, State
from pipeline.domain.rounds import ModelRef
from pipeline.errors import BackendRejected, BadFormat, ConfigError
from pipeline.ports import Epoch
from pipeline.stages.train import TrainSettings, repeats_of, train


class Writes:
    """A trainer that writes a few bytes and says of them whatever `lie` makes of the truth."""

    name = "writes"

    def __init__(self, lie: Callable[[ModelRef], ModelRef] = lambda model: model) -> None:
        self.lie = lie
        self.asked: dict[str, Any] = {}

    def train(
        self,
        dataset: Path,
        base: ModelRef | None,
        *,
        work: Path,
        seed: int,
        on_epoch: Callable[[Epoch], None],
        repeats: Mapping[str, int] = MappingProxyType({}),
    ) -> ModelRef:
        self.asked = {"dataset": dataset, "base": base, "work": work, "seed": seed, "repeats": repeats}
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
        dataset,
        base,
        trainer,
        work=tmp_path,
        seed=7,
        repeats={"a": 2},
        emit=lambda name, /, **data: told.append((name, data)),
    )
    assert model.id == "m"
    assert trainer.asked == {"dataset": dataset, "base": base, "work": tmp_path, "seed": 7, "repeats": {"a": 2}}
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


def entry(number: int, *states: State, split: Any = "train", revision: int = 1) -> DatasetEntry:
    instances = tuple(
        Instance(f"i{place}", "disc", Box(0, 0, 2, 2), None, _origin(state), state)
        for place, state in enumerate(states)
    )
    sample_id = hashlib.sha256(str(number).encode()).hexdigest()
    return DatasetEntry(sample_id, (9, 9), split, sample_id, revision, instances)


def _origin(state: State) -> Origin:
    return Origin(OriginKind.MODEL if state is State.PROPOSED else OriginKind.HUMAN, "somebody")


DRAWN, PROPOSED, REJECTED = State.DRAWN, State.PROPOSED, State.REJECTED


def test_by_default_every_image_is_seen_once() -> None:
    entries = [entry(1, DRAWN), entry(2, PROPOSED), entry(3)]
    assert repeats_of(entries, entries[:2], TrainSettings(), seed=1) == {}


@pytest.mark.parametrize(
    ("states", "times"),
    [
        ((DRAWN,), 3),
        ((DRAWN, PROPOSED), 2),
        ((DRAWN, REJECTED), 3),
        ((PROPOSED,), 1),
        ((), 1),
        ((State.EDITED,), 0),
    ],
)
def test_an_image_counts_as_its_instances_do_on_average(states: tuple[State, ...], times: int) -> None:
    settings = TrainSettings(sampling={DRAWN: 3, PROPOSED: 1, State.EDITED: 0})
    one = entry(1, *states)
    assert repeats_of([one, entry(2)], [], settings, seed=1).get(one.sample_id, 1) == times


def test_a_fraction_is_decided_by_hash() -> None:
    entries = [entry(number, PROPOSED) for number in range(1000)]
    settings = TrainSettings(sampling={PROPOSED: 1.25})
    found = repeats_of(entries, [], settings, seed=1)
    assert set(found.values()) == {2}
    assert 200 < len(found) < 300
    assert repeats_of(reversed(entries), [], settings, seed=1) == found
    assert repeats_of(entries, [], settings, seed=2) != found


def test_replay_spares_what_is_new_or_changed() -> None:
    old = [entry(number, DRAWN) for number in range(400)]
    changed = [replace(row, instances=row.instances[:0]) for row in old[:20]]
    told_again = [replace(row, revision=2) for row in old[20:]]
    new = [entry(number, DRAWN) for number in range(400, 420)]
    left_out = repeats_of([*changed, *told_again, *new], old, TrainSettings(replay=0.25), seed=1)
    assert set(left_out.values()) == {0}
    assert left_out.keys() <= {row.sample_id for row in old[20:]}
    assert 0.7 < len(left_out) / 380 < 0.8
    nothing = repeats_of([*changed, *told_again, *new], old, TrainSettings(replay=0), seed=1)
    assert nothing.keys() == {row.sample_id for row in old[20:]}


def test_held_out_images_are_nobody_s_business_here() -> None:
    held_out = entry(1, DRAWN, split="val")
    assert repeats_of([held_out, entry(2)], [], TrainSettings(sampling={DRAWN: 5}), seed=1) == {}


def test_a_training_without_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of the 2 train images is left") as caught:
        repeats_of([entry(1, DRAWN), entry(2, DRAWN)], [], TrainSettings(sampling={DRAWN: 0}), seed=1)
    assert caught.value.key == "train.sampling"
