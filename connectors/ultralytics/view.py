"""A dataset folder as Ultralytics may touch it.

Ultralytics writes beside the images it reads: label caches, cached pixels, and a "restored" copy over a JPEG that
it finds incomplete. A dataset version is immutable, so it is shown a folder of symbolic links instead: what it
writes, replaces or removes there never reaches the version. Only the training split is shown; the held-out images
belong to the evaluation.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import yaml

from connectors.repeats import named, repeated
from pipeline.errors import BackendRejected, BadFormat

__all__ = ["make_view"]


def make_view(
    dataset: Path, folder: Path, repeats: Mapping[str, int] = MappingProxyType({})
) -> tuple[Path, tuple[str, ...]]:
    """Link the training split of the YOLO-seg folder `dataset` into `folder`; returns the view's data.yaml, and
    the class names in their order. An image is there as often as `repeats` says of its sample id, usually once.

    Raises BadFormat for a data.yaml without `names` and `train`, BackendRejected where there is nothing to train
    on. Nothing else of the data.yaml is passed on: it may name scripts to download with, which would be run.
    """
    names, train = _read(dataset / "data.yaml")
    there = sorted(path for path in (dataset / train).rglob("*") if path.is_file())
    labels_root = Path(*("labels" if part == "images" else part for part in train.parts))
    images = list(repeated(there, repeats))
    labels = list(repeated(sorted((dataset / labels_root).rglob("*.txt")), repeats))
    if not images or not any(path.stat().st_size for path, _ in labels):
        what = "image" if not images else "labelled object"
        raise BackendRejected(
            f"{dataset} has no {what} in its training split; label some first",
            backend="ultralytics",
            operation="train",
        )
    if folder.exists():
        shutil.rmtree(folder)
    _link(images, dataset / train, folder / "images" / "train")
    _link(labels, dataset / labels_root, folder / "labels" / "train")
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"train": "images/train", "val": "images/train", "names": list(names)}))
    return path, names


def _link(paths: list[tuple[Path, int]], source: Path, target: Path) -> None:
    for path, times in paths:
        link = target / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, times + 1):
            named(link, number).symlink_to(path.resolve())


def _read(path: Path) -> tuple[tuple[str, ...], Path]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = data["names"]
        return tuple(str(names[number]) for number in range(len(names))), Path(data["train"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError) as exc:
        raise BadFormat(f"is not a data.yaml with `names` and `train` ({exc})", path=path) from exc
