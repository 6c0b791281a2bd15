"""What `pipeline doctor` looks at where people work in Label Studio, each with its remedy.

The way of a click is followed from end to end: the server, the token, the project and its labels, how images get there,
the backend as we reach it and as Label Studio does; and at last one click goes that way. Nothing is changed or stored.
"""

from __future__ import annotations

from collections.abc import Iterator

from connectors.label_studio.doctor.backend import backend_checks
from connectors.label_studio.doctor.images import image_checks
from connectors.label_studio.doctor.patient import Patient
from connectors.label_studio.doctor.project import label_checks, project_of
from connectors.label_studio.doctor.server import client_of, server_checks
from pipeline.ports import Check

__all__ = ["studio_checks"]


def studio_checks(patient: Patient) -> Iterator[Check]:
    """From the server to the click; where there is nothing more to look at, it ends.

    Raises BackendError if the server goes away meanwhile, or refuses what it gives to everybody.
    """
    client = yield from client_of(patient)
    if client is None:
        return
    yield from server_checks(client)
    project = yield from project_of(client, patient)
    if project is None:
        return
    tags = yield from label_checks(project, patient.classes)
    yield from image_checks(client, project, tags, patient)
    yield from backend_checks(client, project, tags, patient)
