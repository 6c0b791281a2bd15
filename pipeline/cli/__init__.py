"""The command `pipeline`. Command modules import nothing heavy: what they need is imported when they run.

Exit codes: 0 done, 1 error, 2 usage or configuration, 3 waiting for people.
"""

from __future__ import annotations

import click

from pipeline.cli import data, init, listing, run, status
from pipeline.cli.common import HouseGroup

__all__ = ["main"]


@click.group(cls=HouseGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="maskloop", prog_name="pipeline")
def main() -> None:
    """From a folder of images to a trained YOLO segmentation model, asking a person only where it is not sure.

    \b
    pipeline init    write a configuration to start from
    pipeline run     go on with the loop: start, resume, or find that nothing is left to do
    pipeline status  what each round did
    """


for command in (init.init, run.run, *run.STAGE_COMMANDS, status.status, listing.list_, data.export, data.verify):
    main.add_command(command)
