"""The way of a click: the backend as we reach it and as Label Studio does, its password, its webhook, one click."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from connectors.calling import Caller
from connectors.label_studio.client import Client
from connectors.label_studio.convert import read_regions
from connectors.label_studio.doctor.patient import Patient
from connectors.label_studio.labeling_config import Tags
from connectors.label_studio.project import BACKEND_USER, SECRET_HEADER
from connectors.tasks import Task
from pipeline.domain.clicks import next_click
from pipeline.errors import BackendUnavailable, DataError
from pipeline.ports import Check

__all__ = ["backend_checks"]

_CONNECT = (
    "the next round's tasks connect it, if `pipeline serve` runs by then; or, in the project: Settings > Model, with "
    f"this address, basic authentication as {BACKEND_USER} with MASKLOOP_SECRET, and interactive preannotations"
)
_HOOK = f"set it in the project: Settings > Webhooks, with the header {SECRET_HEADER} and MASKLOOP_SECRET"
_CLICK = "maskloop-doctor"
"""The id of the click's only point."""


def backend_checks(
    client: Client, project: Mapping[str, Any], tags: Tags | None, patient: Patient
) -> Iterator[Check]:
    """Nothing is said of a click where something on its way is missing. Raises BackendError if the server goes."""
    number = int(project["id"])
    if patient.backend is None:
        remedy = "set annotator.backend to the address of `pipeline serve`, as Label Studio reaches it"
        yield Check("backend", "warning", "annotator.backend is not set: clicks ask nobody", remedy)
        return
    url = patient.backend.rstrip("/")
    yield from _as_we_reach_it(url, patient.secret)
    row = next((one for one in client.backends(number) if str(one.get("url", "")).rstrip("/") == url), None)
    if row is None:
        yield Check("connection", "failed", f"{url} is no model of the project", _CONNECT)
        return
    connection = _connection(client, row, patient.secret)
    yield connection
    yield _webhook(client, number, f"{url}/webhook", patient.secret)
    if connection.state == "ok" and tags is not None:
        yield from _click(client, number, int(row["id"]), tags, patient)


def _as_we_reach_it(url: str, secret: str | None) -> Iterator[Check]:
    """Its address is the one that Label Studio uses: from here it may be another network's."""
    caller = Caller(url, backend="pipeline serve", hint="is it running?", timeout_s=5, retries=0)
    begun = time.perf_counter()
    try:
        alive = caller.send("GET", "/health", "answer")
        known = caller.send("GET", "/versions", "answer", headers=_basic(secret))
    except BackendUnavailable as exc:
        remedy = (
            "start `pipeline serve CONFIG`; if it runs where only Label Studio reaches it, this is as it should be"
        )
        yield Check("backend", "warning", str(exc), remedy)
        return
    if alive.status_code != 200 or known.status_code not in {200, 401, 403}:
        yield Check("backend", "failed", f"{url} is no `pipeline serve`", "put annotator.backend right")
    elif known.status_code != 200:
        remedy = "start `pipeline serve` and this command with the same MASKLOOP_SECRET"
        yield Check("backend", "failed", f"{url} does not take our MASKLOOP_SECRET", remedy)
    else:
        took = 1000 * (time.perf_counter() - begun)
        yield Check("backend", "ok", f"{url} answers in {took:.0f} ms{' and takes our secret' if secret else ''}")


def _connection(client: Client, row: Mapping[str, Any], secret: str | None) -> Check:
    """As Label Studio reaches it: looking at it makes Label Studio ask for its health, with the password it has."""
    seen = client.get(f"/api/ml/{row['id']}", "look at a backend")
    if seen.get("state") != "CO":
        said = " ".join(str(seen.get("error_message") or seen.get("readable_state") or seen.get("state")).split())
        remedy = (
            "see that annotator.backend is its address as Label Studio reaches it; Label Studio refuses private ones "
            "unless started with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false"
        )
        return Check("connection", "failed", f"Label Studio does not reach it: {said:.300}", remedy)
    if not seen.get("is_interactive"):
        return Check("connection", "failed", "it is not interactive: clicks do not reach it", _CONNECT)
    if secret is not None and seen.get("auth_method") != "BASIC_AUTH":
        return Check("connection", "failed", "Label Studio sends it no password", _CONNECT)
    return Check("connection", "ok", "Label Studio reaches it, and asks it at every click")


def _webhook(client: Client, project: int, url: str, secret: str | None) -> Check:
    """Label Studio makes it without any header."""
    row = next((one for one in client.webhooks(project) if one.get("url") == url), None)
    if row is None or not row.get("is_active"):
        return Check(
            "webhook", "warning", "answers are not announced: the next tasks are not made ready", _CONNECT
        )
    if secret is not None and (row.get("headers") or {}).get(SECRET_HEADER) != secret:
        return Check("webhook", "warning", f"it does not send {SECRET_HEADER}: the backend refuses it", _HOOK)
    return Check("webhook", "ok", "answers are announced to the backend")


def _click(client: Client, project: int, backend: int, tags: Tags, patient: Patient) -> Iterator[Check]:
    """One click, as the editor asks, where nothing is yet: it edits no region. The answer is stored nowhere."""
    asked = patient.asked()
    known = [(int(row["id"]), asked.get(str(row["data"].get("maskloop_sample")))) for row in client.tasks(project)]
    found = [(number, task) for number, task in known if task is not None]
    if not found:
        yield Check(
            "studio click", "warning", "there is no task to click in yet", "`pipeline run CONFIG` makes some"
        )
        return
    number, task = found[-1]  # the least doubtful: people are at the others
    begun = time.perf_counter()
    answer = client.ask(backend, number, {"result": [_point(task, tags)]})
    took = 1000 * (time.perf_counter() - begun)
    fault = _fault(answer, task)
    if fault is None:
        yield Check("studio click", "ok", f"a click through Label Studio came back as a mask in {took:.0f} ms")
    else:
        remedy = "look into the log of `pipeline serve`, and of Label Studio"
        yield Check("studio click", "failed", f"a click in task {number} {fault}", remedy)


def _point(task: Task, tags: Tags) -> dict[str, Any]:
    """The row of a positive key point, in the middle of the widest place that no mask covers."""
    height, width = task.size_hw
    covered = np.zeros(task.size_hw, dtype=np.bool_)
    for instance in task.instances:
        if instance.mask is not None:
            covered |= instance.mask.bitmap()
    click = next_click(covered, np.ones(task.size_hw, dtype=np.bool_))
    x, y = click.point_xy if click is not None else (width / 2, height / 2)
    label = tags.labels_of["keypoint"][0]
    value = {
        "x": 100 * x / width,
        "y": 100 * y / height,
        "width": 0.5,
        "keypointlabels": [label],
        "labels": [label],
    }
    return {
        "id": _CLICK,
        "from_name": tags.keypoint,
        "to_name": tags.image,
        "type": "keypointlabels",
        "origin": "manual",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "is_positive": True,
        "value": value,
    }


def _fault(answer: Mapping[str, Any], task: Task) -> str | None:
    """What is wrong with an answer; None if it is a mask of the image's size."""
    if answer.get("errors"):
        return f"is answered with {' '.join(str(answer['errors']).split()):.300}"
    rows = (answer.get("data") or {}).get("result") or []
    try:
        masks = [region.mask for region in read_regions(rows, task.size_hw) if region.mask is not None]
    except DataError as exc:
        return f"is answered with a region that does not fit: {exc}"
    return None if masks and masks[0].area_px else "is answered with nothing"


def _basic(secret: str | None) -> dict[str, str]:
    """The header that Label Studio sends."""
    if secret is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{BACKEND_USER}:{secret}".encode()).decode()}
