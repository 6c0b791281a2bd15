"""`pipeline init`: a configuration to start from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from pipeline.errors import ConfigError

__all__ = ["init"]

TEMPLATE = """\
# A maskloop configuration. Paths are relative to this file; `pipeline list` shows the peers to choose from.
project:
  name: {name}
  classes: [{classes}]        # their order is the order of class numbers, for good
workspace: {workspace}
seed: 0
rounds: 3

detector:
  kind: ultralytics_yolo
  weights: yolo11n-seg.pt     # from docs.ultralytics.com/models; put it beside this file (nothing is downloaded)
  class_map: {class_map}  # the weights' class name: one of yours; "*" stands for every other name
segmenter:
  kind: grabcut               # needs no weights; for real work take mobile_sam, or sam2, with their weights
annotator:
  kind: folder                # tasks and answers as files
trainer:
  kind: ultralytics_yolo
  weights: yolo11n-seg.pt
  epochs: 30                  # on a laptop without a GPU start with 10 epochs at imgsz 320
  imgsz: 640

ingest:
  sources:
    - kind: images
      path: {images}
  # `val` judges the models, and nobody is asked about it: only images that come with labels (sources of kind coco
  # or yolo) can. Without any, every new model takes over unjudged; then ask about all images: train: 1, val: 0.
  # Splits never move, and pictures that look the same share one: where all are of one scene, as from a fixed
  # camera, add near_duplicates: off; to keep folders, videos or patients together, group_by: folder, video, pattern.
  split: {{train: 0.8, val: 0.2}}

score:
  measures: {{entropy: 1.0, detector_segmenter_disagreement: 1.0}}
select:
  kind: top_k
  budget: {{images: 20}}
"""


@click.command(short_help="Write a configuration to start from.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="maskloop.yaml")
@click.option(
    "--images", type=click.Path(path_type=Path, file_okay=False), required=True, help="Your folder of images."
)
@click.option("--classes", required=True, metavar="A,B,…", help="What the model shall find, separated by commas.")
@click.option("--name", default="my-project", show_default=True, help="The project's name.")
def init(file: Path, images: Path, classes: str, name: str) -> None:
    """Write a configuration to start from into FILE  [default: maskloop.yaml]."""
    import os

    names = [part.strip() for part in classes.split(",") if part.strip()]
    if not names or len(set(names)) != len(names):
        raise ConfigError("name at least one class, and none of them twice", key="--classes")
    if not images.is_dir():
        raise ConfigError(f"{images} is not a folder", key="--images")
    text = TEMPLATE.format(
        name=_quoted(name),
        classes=", ".join(_quoted(part) for part in names),
        class_map=f'{{"*": {_quoted(names[0])}}}' if len(names) == 1 else "{}",
        workspace=_quoted(f"runs/{re.sub(r'[^a-zA-Z0-9_-]+', '-', name).strip('-') or 'project'}"),
        images=_quoted(os.path.relpath(images, file.absolute().parent)),
    )
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as exc:
        raise ConfigError("exists already; nothing is overwritten", path=file) from exc
    except OSError as exc:
        raise ConfigError(f"cannot be written: {exc.strerror}", path=file) from exc
    click.echo(f"wrote {file}; next: pipeline run {file}")


def _quoted(text: str) -> str:
    """The text as YAML: plain if nothing could be read into it, else in quotes (JSON's are YAML's too)."""
    import yaml

    plain = re.fullmatch(r"[\w./-][\w ./-]*", text) is not None and yaml.safe_load(text) == text
    return text if plain else json.dumps(text, ensure_ascii=False)
