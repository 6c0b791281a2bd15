"""What the fake Label Studio holds: tables of rows that look as its interface shows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["DOCUMENT_ROOT", "LEGACY_TOKEN", "PERSONAL_TOKEN", "USER", "VERSION", "Missing", "State", "Wrong"]

PERSONAL_TOKEN = "eyFake.refresh.token"
LEGACY_TOKEN = "f" * 40
VERSION = "1.23.2"
USER = "person@example.org"
DOCUMENT_ROOT = "/srv/images"

Row = dict[str, Any]


class Missing(Exception):
    """404."""


class Wrong(Exception):
    """400, with what its checks found."""

    def __init__(self, found: dict[str, list[str]]) -> None:
        super().__init__(str(found))
        self.found = found


@dataclass
class State:
    """Its clock goes on by a millisecond at every change; a test may turn `clock` anywhere."""

    clock: datetime = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
    legacy_allowed: bool = True
    access: str = "access-1"
    refreshed: int = 0
    users: list[Row] = field(default_factory=lambda: [{"id": 1, "email": USER, "username": "", "first_name": ""}])
    projects: dict[int, Row] = field(default_factory=dict)
    tasks: dict[int, Row] = field(default_factory=dict)
    annotations: dict[int, Row] = field(default_factory=dict)
    uploads: dict[int, Row] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    backends: dict[int, Row] = field(default_factory=dict)
    webhooks: dict[int, Row] = field(default_factory=dict)
    storages: dict[int, Row] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def now(self) -> str:
        self.clock += timedelta(milliseconds=1)
        return self.clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def renew_access(self) -> str:
        """Whoever had the former access token has it no more."""
        self.refreshed += 1
        self.access = f"access-{self.refreshed + 1}"
        return self.access

    def row(self, table: dict[int, Row], number: int) -> Row:
        if number not in table:
            raise Missing("No row matches the given query.")
        return table[number]

    def add(self, table: dict[int, Row], row: Row) -> Row:
        number = next(self._ids)
        table[number] = {"id": number, **row}
        return table[number]

    def add_timed(self, table: dict[int, Row], row: Row) -> Row:
        now = self.now()
        return self.add(table, {**row, "created_at": now, "updated_at": now})

    # --- projects and tasks ---------------------------------------------------------------------------------

    def make_project(self, wanted: Row) -> Row:
        if len(str(wanted.get("title", ""))) < 3:
            raise Wrong({"title": ["Ensure this field has at least 3 characters."]})
        defaults = {
            "label_config": "<View></View>",
            "expert_instruction": "",
            "show_instruction": False,
            "model_version": "",
            "show_collab_predictions": True,
            "sampling": "Sequential sampling",
            "maximum_annotations": 1,
        }
        return self.add(self.projects, {**defaults, **wanted, "created_at": self.now()})

    def change_project(self, number: int, wanted: Row) -> Row:
        project, version = self.row(self.projects, number), wanted.get("model_version")
        versions = {one["model_version"] for task in self.of(number) for one in task["predictions"]}
        versions |= {one["title"] for one in self.backends.values() if one["project"] == number}
        if version and version not in versions:
            raise Wrong({"model_version": ["Model version doesn't exist either as live model or as static one."]})
        project.update(wanted)
        return project

    def of(self, project: int) -> list[Row]:
        """The tasks of a project, oldest first."""
        return [task for task in self.tasks.values() if task["project"] == project]

    def import_tasks(self, project: int, rows: list[Row]) -> list[int]:
        self.row(self.projects, project)
        for number, row in enumerate(rows):
            if "image" not in row.get("data", {}):
                raise Wrong(
                    {"non_field_errors": [f'Error at item {number}: "image" key is expected in task data']}
                )
        made = []
        for row in rows:
            predictions = [{"id": next(self._ids), **one} for one in row.get("predictions", [])]
            task = {"data": row["data"], "predictions": predictions, "drafts": [], "project": project}
            made.append(int(self.add_timed(self.tasks, task)["id"]))
        return made

    def find(self, project: int, filters: list[Row]) -> list[Row]:
        """As the Data Manager filters: by the task's data, and by when it was changed."""
        found = self.of(project)
        for one in filters:
            column, wanted = str(one["filter"]).removeprefix("filter:tasks:"), str(one["value"])
            if one["operator"] == "contains":
                key = column.removeprefix("data.")
                found = [task for task in found if wanted in str(task["data"].get(key, ""))]
            elif (column, one["operator"]) == ("updated_at", "greater"):
                found = [task for task in found if task["updated_at"] > wanted]
            else:
                raise Wrong({"non_field_errors": [f"the fake knows no filter {column} {one['operator']}"]})
        return found

    def shown(self, task: Row, include: list[str]) -> Row:
        """A task with the fields in `include`: with few of them its annotations are numbers and times alone."""
        own = [one for one in self.annotations.values() if one["task"] == task["id"]]
        light = [{"id": one["id"], "updated_at": one["updated_at"]} for one in own]
        total = len([one for one in own if not one["was_cancelled"]])
        whole = {**task, "annotations": light if include else own, "total_annotations": total}
        return {key: value for key, value in whole.items() if not include or key in include}

    def delete_task(self, number: int) -> None:
        self.row(self.tasks, number)
        del self.tasks[number]
        self.annotations = {key: one for key, one in self.annotations.items() if one["task"] != number}

    # --- what people do -------------------------------------------------------------------------------------

    def annotate(self, task: int, wanted: Row, by: int = 1) -> Row:
        self.row(self.tasks, task)
        defaults = {"result": [], "was_cancelled": False, "lead_time": None, "ground_truth": False}
        made = self.add_timed(self.annotations, {**defaults, **wanted, "task": task, "completed_by": by})
        self._touch(task)
        return made

    def change_annotation(self, number: int, wanted: Row) -> Row:
        row = self.row(self.annotations, number)
        row.update(wanted, updated_at=self.now())
        self._touch(row["task"])
        return row

    def delete_annotation(self, number: int) -> None:
        row = self.row(self.annotations, number)
        del self.annotations[number]
        self._touch(row["task"])

    def draft(self, task: int, wanted: Row) -> Row:
        made = {"id": next(self._ids), "user": USER, "result": [], **wanted, "task": task, "annotation": None}
        self.row(self.tasks, task)["drafts"].append(made)
        return made

    def _touch(self, task: int) -> None:
        self.tasks[task]["updated_at"] = self.now()

    # --- what a project has ---------------------------------------------------------------------------------

    def make_backend(self, wanted: Row) -> Row:
        """With the webhook that it makes by itself, which has no headers; and the name that it gives predictions."""
        project = self.row(self.projects, int(wanted["project"]))
        hidden = {"basic_auth_pass_is_set": bool(wanted.get("basic_auth_pass"))}
        row = {key: value for key, value in wanted.items() if key != "basic_auth_pass"}
        made = self.add(
            self.backends, {"auth_method": "NONE", **row, **hidden, "model_version": "v1", "state": "CO"}
        )
        project["model_version"] = project["model_version"] or made["title"]
        self.make_webhook({"project": project["id"], "url": f"{wanted['url']}/webhook"})
        return made

    def change_backend(self, number: int, wanted: Row) -> Row:
        """Its health is looked at first."""
        row = self.row(self.backends, number)
        if row["state"] == "DI" and wanted.get("url", row["url"]) == row["url"]:
            raise Wrong({"non_field_errors": [f"Can't connect to ML backend {row['url']}, health check failed."]})
        row.update({key: value for key, value in wanted.items() if key != "basic_auth_pass"})
        row["basic_auth_pass_is_set"] |= "basic_auth_pass" in wanted
        return row

    def make_webhook(self, wanted: Row) -> Row:
        defaults = {"send_payload": True, "send_for_all_actions": True, "headers": {}, "is_active": True}
        return self.add(self.webhooks, {**defaults, "actions": [], **wanted})

    def make_storage(self, wanted: Row) -> Row:
        if not str(wanted["path"]).startswith(f"{DOCUMENT_ROOT}/"):
            said = f"Absolute local path {wanted['path']!r} must be a subdirectory of {DOCUMENT_ROOT!r}"
            raise Wrong({"non_field_errors": [said]})
        return self.add(self.storages, {"type": "localfiles", **wanted})

    def upload(self, project: int, name: str, content: bytes) -> Row:
        self.row(self.projects, project)
        made = self.add(self.uploads, {"size": len(content)})
        made["file"] = f"upload/{project}/{made['id']:08x}-{name}"
        self.files[f"/data/{made['file']}"] = content
        return made
