"""The command `pipeline`. Command modules import nothing heavy: what they need is imported when they run.

Exit codes: 0 done, 1 error, 2 usage or configuration, 3 waiting for people, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os

import click

from pipeline.cli import (
    diff,
    doctor,
    export,
    export_model,
    gc,
    import_,
    init,
    listing,
    log,
    models,
    report,
    review,
    run,
    segment,
    serve,
    serve_segmenter,
    status,
    studio,
    verify,
)
from pipeline.cli.common import HouseGroup

__all__ = ["main"]


@click.group(cls=HouseGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="maskloop", prog_name="pipeline")
@click.pass_context
def main(context: click.Context) -> None:
    """From a folder of images to a trained YOLO segmentation model, asking a person only where it is not sure.

    `pipeline init` writes a configuration, `pipeline run` starts the loop or goes on with it, `pipeline
    status` shows what each round did. CONFIG is always a YAML file; each command's own --help says more.

    Exit codes: 0 done, 1 error, 2 usage or configuration, 3 waiting for people.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


for command in (
    init.init,
    run.run,
    *(segment.segment if stage == "segment" else run.stage_command(stage) for stage in run.CAPTIONS),
    status.status,
    models.models,
    models.promote,
    models.rollback,
    report.report,
    review.review,
    listing.list_,
    log.log,
    diff.diff,
    export.export,
    export_model.export_model,
    import_.import_,
    verify.verify,
    gc.gc,
    serve.serve,
    serve_segmenter.serve_segmenter,
    studio.studio,
    doctor.doctor,
):
    main.add_command(command)
