"""`pipeline export-model`: a model's weights for other tools, with a card that says what they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option, short

if TYPE_CHECKING:
    from pipeline.domain.rounds import ModelRef
    from pipeline.store.workspace import Workspace
    from pipeline.wiring import House

__all__ = ["export_model"]

AS_TRAINED = "weights"


@click.command(name="export-model", short_help="Write a model's weights for other tools.")
@config_options
@click.argument("model", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice([AS_TRAINED, "onnx", "openvino"]),
    default=AS_TRAINED,
    show_default=True,
    help="The file as it was trained, or what another engine reads.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; it must not exist yet."
)
@json_option
def export_model(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    model: str | None,
    format_: str,
    out: Path,
    json_: bool,
) -> None:
    """Write the weights of MODEL, or of the champion, into a folder of their own.

    Beside them lies card.json: class names in their order, SHA-256, the dataset version they were trained on, and the
    figures by which they were judged.
    """
    from pipeline.errors import ConfigError
    from pipeline.store.atomic import atomic_folder
    from pipeline.wiring import open_house

    settings, opened, house = open_house(config, overrides, workspace=workspace, create=False)
    chosen = _chosen(opened, model)
    if out.exists():
        raise ConfigError(f"{out} exists already; nothing is overwritten", key="--out")
    cards: list[dict[str, Any]] = []

    def fill(fresh: Path) -> None:
        made = _written(chosen, format_, fresh, house)
        cards.append(_card(opened, chosen, settings.project.name, format_, made))
        (fresh / "card.json").write_text(as_json(cards[0]) + "\n", encoding="utf-8")

    atomic_folder(out.absolute(), fill)
    if json_:
        click.echo(as_json({**cards[0], "folder": str(out)}))
    else:
        click.echo(
            f"{chosen.id} as {format_}: {short(out / cards[0]['file'])}, described by {short(out / 'card.json')}"
        )


def _chosen(opened: Workspace, wanted: str | None) -> ModelRef:
    """The champion, or the one model whose id starts so. Raises ConfigError, WeightsUnavailable."""
    from pipeline.cli.models import check_weights, model_named
    from pipeline.errors import ConfigError

    name = model_named(opened, wanted) if wanted is not None else opened.ledger.promotions.champion()
    if name is None:
        raise ConfigError(
            "the detector's own starting weights are no model of this workspace: name one that `pipeline models` lists",
            key="MODEL",
        )
    check_weights(opened, name)
    return opened.ledger.models.get(name)


def _written(model: ModelRef, format_: str, folder: Path, house: House) -> Path:
    """The file or folder of a model, in `folder`. Raises ConfigError where the trainer writes no such format."""
    from pipeline.errors import ConfigError
    from pipeline.ports import Exporting

    if format_ == AS_TRAINED:
        return Path(shutil.copyfile(model.weights, folder / model.weights.name))
    trainer = house.trainer
    if not isinstance(trainer, Exporting):
        raise ConfigError(f"{trainer.name} writes its models as they were trained only", key="--format")
    return trainer.export(model, format_, folder)


def _card(opened: Workspace, model: ModelRef, project: str, format_: str, made: Path) -> dict[str, Any]:
    """What somebody who finds the file must know."""
    from importlib.metadata import version

    from pipeline.cli.models import summary
    from pipeline.files import file_sha256

    (row,) = [row for row in summary(opened)["models"] if row["id"] == model.id]
    files = sorted(path for path in ([made] if made.is_file() else made.rglob("*")) if path.is_file())
    return {
        "model": model.id,
        "project": project,
        "format": format_,
        "file": made.name,
        "sha256": {path.relative_to(made.parent).as_posix(): file_sha256(path) for path in files},
        "classes": list(model.class_names),
        "trained_weights_sha256": model.sha256,
        "dataset_version": model.trained_on,
        **{name: row[name] for name in ("round", "base", "champion", "figures", "judged")},
        "maskloop": version("maskloop"),
    }
