"""`pipeline segment`: one prompt on one image, one stage of a project, or a project's encodings ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.common import json_option

__all__ = ["DEFAULT_SEGMENTER", "segment"]

DEFAULT_SEGMENTER = "nano_sam"

_CONFIGURATIONS = (".yaml", ".yml")
_OF_MASKS = ("threshold", "mask_threshold", "max_hole_area", "max_sprinkle_area")
_OF_IMAGE = ("boxes", "points", "text", "mask", "segmenter", "multimask", *_OF_MASKS, "out", "preview")
_OF_CONFIG = ("workspace", "warm", "queue")


class _Png(click.Path):
    """A file to be written, named as what it will be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.suffix.lower() != ".png":
            self.fail(f"{value!r} does not end in .png: masks and previews are PNG files", param, ctx)
        if path.is_dir():
            self.fail(f"{value!r} is a folder: name a file", param, ctx)
        return path


@click.command(short_help="Turn boxes into masks: a project's, or one of yours.")
@click.argument("file", type=click.Path(path_type=Path), metavar="IMAGE|CONFIG")
@click.option("--box", "boxes", multiple=True, metavar="X1,Y1,X2,Y2", help="A box around it.")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="X,Y,+|-",
    help="A point on the object (+) or off it (-); may be repeated.",
)
@click.option("--text", help="What it is, in words; for segmenters that read.")
@click.option(
    "--mask", type=click.Path(path_type=Path), metavar="PNG", help="A mask to start from: white is object."
)
@click.option(
    "--segmenter",
    metavar="KIND",
    default=DEFAULT_SEGMENTER,
    show_default=True,
    help="Who is asked; `pipeline list segmenters` names them.",
)
@click.option(
    "--multimask", is_flag=True, help="Tell several candidates, the best first; --out and --preview take the best."
)
@click.option("--threshold", type=float, default=0.0, help="Predicted IoU, 0 to 1, under which there is no mask.")
@click.option(
    "--mask-threshold", type=float, default=0.0, help="Logit over which a pixel is object; lower is wider."
)
@click.option("--max-hole-area", type=int, default=0, metavar="PX", help="Fill holes up to this many pixels.")
@click.option("--max-sprinkle-area", type=int, default=0, metavar="PX", help="Drop specks up to this many pixels.")
@click.option("--out", type=_Png(), metavar="PNG", help="Write the mask: 255 is object, 0 is not.")
@click.option("--preview", type=_Png(), metavar="PNG", help="Write a picture of image, prompt and mask.")
@click.option("--warm", is_flag=True, help="Compute CONFIG's encodings now, so that no click waits for one.")
@click.option("--queue", is_flag=True, help="With --warm: only of the images that wait for people.")
@click.option(
    "--workspace", type=click.Path(path_type=Path), help="Use this folder instead of CONFIG's `workspace`."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one value, as in segmenter.device=cpu; may be repeated.",
)
@json_option
@click.pass_context
def segment(context: click.Context, /, file: Path, **given: Any) -> None:
    """Turn boxes, points, a rough mask or words into a mask.

    With an IMAGE: one prompt about one object, and its mask. Coordinates are pixels, x to the right and y down.

    \b
      pipeline segment cat.jpg --box 40,30,220,190 --out mask.png --preview preview.png
      pipeline segment cat.jpg --point 120,90,+ --point 30,40,- --segmenter mobile_sam

    With a CONFIG, which ends in .yaml: the stage of its current round, a mask for every proposed box.

    \b
      pipeline segment project.yaml
      pipeline segment --warm --queue project.yaml
    """
    if file.suffix.lower() in _CONFIGURATIONS:
        _of_project(context, file, given)
    else:
        _of_image(context, file, given)


def _of_project(context: click.Context, config: Path, given: dict[str, Any]) -> None:
    for name in _typed(context, _OF_IMAGE):
        hint = f": in a project it is --set segment.{name}=…" if name in _OF_MASKS else ""
        hint = ": in a project it is --set segmenter.kind=…" if name == "segmenter" else hint
        raise click.UsageError(
            f"{_spelt(context, name)}: only with an image, and {config} is a configuration{hint}"
        )
    if given["queue"] and not given["warm"]:
        raise click.UsageError("--queue goes with --warm: it says which encodings are computed")
    if given["warm"]:
        from pipeline.cli.warm import warm_up

        warm_up(config, given["overrides"], given["workspace"], queue=given["queue"], json_=given["json_"])
    else:
        from pipeline.cli.run import run_stage

        run_stage("segment", config, given["overrides"], given["workspace"], json_=given["json_"])


def _of_image(context: click.Context, image: Path, given: dict[str, Any]) -> None:
    for name in _typed(context, _OF_CONFIG):
        raise click.UsageError(
            f"{_spelt(context, name)}: only with a CONFIG, a .yaml file, and {image} is taken for an image"
        )
    if len(given["boxes"]) > 1:
        raise click.UsageError(
            "one prompt is about one object: give one --box, and call again for the next object"
        )
    if not (given["boxes"] or given["points"] or given["text"] or given["mask"]):
        raise click.UsageError("an empty prompt: give --box, --point, --mask or --text")
    places = [path.resolve() for path in (image, given["out"], given["preview"]) if path is not None]
    if len(set(places)) < len(places):
        raise click.UsageError("IMAGE, --out and --preview must be different files")
    from pipeline.cli.one_image import Asked, ask

    ask(
        image,
        Asked(given["boxes"], given["points"], given["text"], given["mask"]),
        kind=given["segmenter"],
        overrides=given["overrides"],
        masks={name: given[name] for name in _OF_MASKS},
        multimask=given["multimask"],
        out=given["out"],
        preview=given["preview"],
        json_=given["json_"],
    )


def _typed(context: click.Context, names: tuple[str, ...]) -> list[str]:
    """Those that the person has typed."""
    given = click.core.ParameterSource.DEFAULT
    return [name for name in names if context.get_parameter_source(name) is not given]


def _spelt(context: click.Context, name: str) -> str:
    return next(option.opts[0] for option in context.command.params if option.name == name)
