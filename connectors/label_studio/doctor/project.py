"""The project that people work in, and its labels against our classes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from connectors.label_studio.client import Client
from connectors.label_studio.doctor.patient import Patient
from connectors.label_studio.labeling_config import Tags, config_problems, read_config
from connectors.label_studio.project import PREDICTIONS
from connectors.work_folder import read_json
from pipeline.errors import BackendRejected, BadFormat
from pipeline.ports import Check

__all__ = ["label_checks", "project_of"]


def project_of(client: Client, patient: Patient) -> Generator[Check, None, dict[str, Any] | None]:
    """The project that the workspace knows, or else that of the settings; None where there is none to look into."""
    known = read_json(patient.work / "project.json")
    if known is not None and known.get("wanted") != patient.wanted:
        found = (
            f"this workspace's tasks are in project {known['id']}, and annotator.project says {patient.wanted!r}"
        )
        yield Check("project", "failed", found, "put annotator.project back, or begin another workspace")
        return None
    remedy = "put annotator.project or annotator.url right, or begin another workspace"
    try:
        row = _row_of(client, int(known["id"]) if known is not None else patient.wanted)
    except BackendRejected as exc:
        yield Check("project", "failed", str(exc), remedy)
        return None
    if row is None:
        yield Check("project", "warning", f"{patient.wanted!r} is not there yet", "`pipeline run CONFIG` makes it")
        return None
    if known is not None and row.get("created_at") != known.get("created_at"):
        found = f"project {row['id']} is not the one that this workspace's tasks are in"
        yield Check("project", "failed", found, remedy)
        return None
    yield Check("project", "ok", f"{row.get('title')!r} is at {client.url}/projects/{row['id']}/data")
    return row


def label_checks(project: Mapping[str, Any], classes: Sequence[str]) -> Generator[Check, None, Tags | None]:
    """Labels, smart tags, and what people are shown; the tags, or None where clicks cannot work with them."""
    xml = str(project.get("label_config", ""))
    problems = config_problems(xml, classes)
    for problem in problems:
        yield Check("labels", "failed", problem, "change it in the project: Settings > Labeling Interface > Code")
    if not problems:
        yield Check("labels", "ok", f"{', '.join(classes)}: to draw with, and to ask with by point and rectangle")
    shown = project.get("model_version")
    if shown and shown != PREDICTIONS:
        remedy = f"choose {PREDICTIONS!r} in the project: Settings > Annotation > Live Predictions"
        yield Check(
            "predictions", "warning", f"people are shown those of {shown!r}, not what was imported", remedy
        )
    try:
        tags = read_config(xml)
    except BadFormat:  # told above
        return None
    return tags if tags.keypoint is not None and (tags.brush or tags.polygon) is not None else None


def _row_of(client: Client, wanted: int | str) -> dict[str, Any] | None:
    if isinstance(wanted, int):
        return client.project(wanted)
    found = client.projects(wanted)
    return client.project(int(found[0]["id"])) if found else None
