"""The report: one self-contained HTML file about a workspace, with what the loop reached, asked, was told and made.

gather     the workspace's facts, as plain values: models, asked, people, reviewers, data
charts     figures as inline SVG, made of svg
pictures   thumbnails with masks, as data: URIs, within a budget of bytes
page       facts to HTML, in words, by the templates beside it
"""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config
from pipeline.events import Emit, silent
from pipeline.report.gather import gather
from pipeline.report.page import render
from pipeline.store.atomic import atomic_write
from pipeline.store.workspace import Workspace

__all__ = ["REPORT", "write_report"]

REPORT = "report.html"
"""The file's name in the workspace."""


def write_report(config: Config, workspace: Workspace, out: Path | None = None, *, emit: Emit = silent) -> Path:
    """Write the report (to `out`, or into the workspace) and say where it is. The same workspace gives the same bytes.

    It reads only, so it needs no lock. Raises LedgerCorrupt for a damaged workspace, DataError when the disk refuses.
    """
    path = out if out is not None else workspace.root / REPORT
    atomic_write(path, render(gather(config, workspace, emit=emit)), emit=emit)
    return path
