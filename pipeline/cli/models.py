"""`pipeline models`, `promote` and `rollback`: who is champion, who could be, and a person's word about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.common import as_json, config_options, json_option

if TYPE_CHECKING:
    from pipeline.domain.rounds import ModelRef
    from pipeline.store.promotions import Promotion
    from pipeline.store.workspace import Workspace

__all__ = ["check_weights", "model_named", "models", "promote", "rollback", "summary"]

START = "start"
COLUMNS = ("", "model", "round", "trained on", "from", "mAP50-95", "95 % interval", "decision")
reason_option = click.option(
    "--reason", required=True, help="Why: it is kept with the decision, beside who made it."
)


@click.command(short_help="List champion and candidates, with lineage and figures.")
@config_options
@json_option
def models(config: Path, overrides: tuple[str, ...], workspace: Path | None, json_: bool) -> None:
    """List every model of CONFIG: what it was trained on and from, its figure on the held-out images at its trial, and
    every decision about it. A star marks the champion, which proposes from now on.
    """
    from pipeline.wiring import open_house

    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    told = summary(opened)
    if json_:
        click.echo(as_json(told))
        return
    click.echo(_table(told))
    click.echo(f"\n{_decided(told)}" if told["decisions"] else "\nnothing was decided yet")


@click.command(short_help="Make a model champion by hand.")
@config_options
@click.argument("model")
@reason_option
@json_option
def promote(
    config: Path, overrides: tuple[str, ...], workspace: Path | None, model: str, reason: str, json_: bool
) -> None:
    """Make MODEL champion by hand, whatever the gate said of it.

    MODEL is (the start of) an id that `pipeline models` lists, or `start` for the starting weights. It proposes from
    now on: in servers at once, in a run from the next `propose` on.
    """
    _decide(config, overrides, workspace, reason, json_=json_, wanted=model)


@click.command(short_help="Go back to the champion before this one.")
@config_options
@reason_option
@json_option
def rollback(config: Path, overrides: tuple[str, ...], workspace: Path | None, reason: str, json_: bool) -> None:
    """Go back to the champion before this one; called again, to the one before that.

    It proposes from now on: in servers at once, in a run from the next `propose` on.
    """
    _decide(config, overrides, workspace, reason, json_=json_, wanted=None)


def _decide(
    config: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    reason: str,
    *,
    json_: bool,
    wanted: str | None,
) -> None:
    """Promote the model that starts with `wanted`, or roll back (None), under the write lock."""
    from pipeline.errors import ConfigError
    from pipeline.wiring import open_house

    if not reason.strip():
        raise ConfigError("say why in a few words", key="--reason")
    _, opened, _ = open_house(config, overrides, workspace=workspace, create=False)
    with opened.write_lock():
        promotions, by = opened.ledger.promotions, _person()
        number = max((row.round for row in opened.ledger.rounds.all()), default=0)
        if wanted is None:
            before = promotions.before()
            check_weights(opened, before)
            row = promotions.roll_back(number, by=by, reason=reason)
        else:
            model = model_named(opened, wanted)
            check_weights(opened, model)
            row = promotions.promote(model, number, by=by, reason=reason)
    if json_:
        click.echo(as_json(_decision(row)))
    else:
        click.echo(f"the champion is {row.model_id or 'the starting weights'} (was {_named(row.previous)})")


def model_named(opened: Workspace, wanted: str) -> str | None:
    """The one model whose id starts so; None for the starting weights. Raises ConfigError."""
    from pipeline.errors import ConfigError

    known = [model.id for model in opened.ledger.models.all()]
    if wanted == START:
        return None
    found = [name for name in known if name == wanted] or [name for name in known if name.startswith(wanted)]
    if len(found) != 1 or not wanted:
        problem = f"{len(found)} models start" if found else "no model starts"
        raise ConfigError(f"{problem} with {wanted!r} (known: {', '.join([*known, START])})", key="MODEL")
    return found[0]


def check_weights(opened: Workspace, name: str | None) -> None:
    """A champion's weights are what the ledger says. Raises WeightsUnavailable."""
    from pipeline.errors import WeightsUnavailable
    from pipeline.files import file_sha256

    if name is None:
        return
    model = opened.ledger.models.get(name)
    if not model.weights.is_file() or file_sha256(model.weights) != model.sha256:
        raise WeightsUnavailable(
            str(model.weights), reason="the file is gone, or is not the one that was trained: nothing was changed"
        )


def _person() -> str:
    """Who is at the keyboard, by the system's name, or by number where it has none."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def summary(opened: Workspace) -> dict[str, Any]:
    """The JSON of `pipeline models`."""
    ledger = opened.ledger
    champion, decisions = ledger.promotions.champion(), ledger.promotions.all()
    trials = {row.model_id: row for row in decisions if row.body}
    figures = {row.round: row.metrics.headline() for row in ledger.rounds.all()}
    rows = [
        {
            **_model(row.model),
            "round": row.round,
            "base": row.base or START,
            "champion": row.model.id == champion,
            "figures": figures.get(row.round),
            "judged": _trial(trials.get(row.model.id)),
        }
        for row in ledger.models.lineage()
    ]
    return {
        "workspace": str(opened.root),
        "champion": champion or START,
        "models": rows,
        "decisions": [_decision(row) for row in decisions],
    }


def _model(model: ModelRef) -> dict[str, Any]:
    return {
        "id": model.id,
        "weights": str(model.weights),
        "sha256": model.sha256,
        "classes": list(model.class_names),
        "trained_on": model.trained_on,
    }


def _trial(row: Promotion | None) -> dict[str, Any] | None:
    """What the gate saw of a model: its figure with an interval, and its gain over the champion it met."""
    if row is None or row.body.get("whole") is None:
        return None
    whole = row.body["whole"]
    told = {name: row.body[name] for name in ("by", "images", "units", "confidence_level")}
    return told | {name: whole[name] for name in ("candidate", "champion", "difference", "p")}


def _decision(row: Promotion) -> dict[str, Any]:
    return {
        "number": row.number,
        "at": row.at.isoformat(timespec="seconds"),
        "round": row.round,
        "model": row.model_id or START,
        "previous": row.previous or START,
        "decision": row.decision,
        "by": row.by,
        "reason": row.reason,
    }


def _named(name: str | None) -> str:
    return name if name and name != START else "the starting weights"


def _table(told: dict[str, Any]) -> str:
    """One line a model; the starting weights have no figure of their own."""
    last: dict[str, str] = {}
    for row in told["decisions"]:
        back = row["decision"] == "rolled back"
        last |= (
            {row["previous"]: "rolled back", row["model"]: "back again"}
            if back
            else {row["model"]: row["decision"]}
        )
    start = ("*" if told["champion"] == START else "", START, "", "", "", "", "", last.get(START, ""))
    lines = [COLUMNS, start, *(_line(row, last.get(row["id"], "")) for row in told["models"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([rows[0].rstrip(), "-" * max(map(len, rows)), *(row.rstrip() for row in rows[1:])])


def _line(row: dict[str, Any], decision: str) -> tuple[str, ...]:
    judged = row["judged"]
    figure, interval = "", ""
    if judged is not None:
        own = judged["candidate"]
        figure = f"{judged['by']} {own['value']:.3f}"
        interval = "" if own["low"] is None else f"{own['low']:.3f} to {own['high']:.3f}"
    trained_on = (row["trained_on"] or "")[:12]
    star = "*" if row["champion"] else ""
    return star, row["id"], str(row["round"]), trained_on, row["base"], figure, interval, decision


def _decided(told: dict[str, Any]) -> str:
    """Every decision, with its reason."""
    lines = []
    for row in told["decisions"]:
        back = row["decision"] == "rolled back"
        what = f"{row['previous']} rolled back to {row['model']}" if back else f"{row['model']} {row['decision']}"
        by = "the gate" if row["by"] == "gate" else row["by"]
        lines.append(f"round {row['round']}: {what}, by {by}: {row['reason']}")
    return "\n".join(lines)
