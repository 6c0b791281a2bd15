"""What Label Studio sends, as far as it is used. What is not used is not looked at, and nothing is trusted.

A draft, an annotation or a prediction that cannot be read is one that is not there: a person's click on another object
must not fail by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.serving.work import Refusal

__all__ = ["Context", "Hint", "Nothing", "Params", "Predict", "Saved", "Setup", "Task", "project_of", "read"]

T = TypeVar("T", bound=BaseModel)

_LENIENT = ConfigDict(frozen=True, extra="ignore")
_NEVER = datetime.min.replace(tzinfo=UTC)


class Saved(BaseModel):
    """A draft, an annotation or a prediction: its regions, and when it was saved."""

    model_config = _LENIENT

    id: int | str | None = None
    result: list[dict[str, Any]] = []
    updated_at: datetime | None = None
    created_at: datetime | None = None
    model_version: str | None = None
    was_cancelled: bool = False
    score: float | None = None
    user: str | int | None = None

    @property
    def at(self) -> datetime:
        """When it was last changed, UTC; before everything else where nobody says."""
        told = self.updated_at or self.created_at or _NEVER
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


class Task(BaseModel):
    """One task. `data` holds the image's address and, where we made the task, `maskloop_sample`."""

    model_config = _LENIENT

    id: int | str | None = None
    data: dict[str, Any] = {}
    drafts: Any = None
    annotations: Any = None
    predictions: Any = None

    def saved(self, where: str) -> list[Saved]:
        """Its `drafts`, `annotations` (those that were not skipped) or `predictions`, newest first."""
        rows = getattr(self, where)
        found = [row for row in map(_saved, rows if isinstance(rows, list) else []) if row is not None]
        return sorted((row for row in found if not row.was_cancelled), key=lambda row: row.at, reverse=True)


class Context(BaseModel):
    """The prompts of a click; none at all means that they were destroyed."""

    model_config = _LENIENT

    result: list[dict[str, Any]] = []


class Params(BaseModel):
    """`context` is null in a pre-annotation, and only there."""

    model_config = _LENIENT

    context: Context | None = None


class Predict(BaseModel):
    """POST /predict."""

    model_config = _LENIENT

    tasks: Annotated[list[Task], Field(min_length=1)]
    project: str | int | None = None
    label_config: Annotated[str, Field(max_length=1_000_000)]
    params: Params = Params()


class Setup(BaseModel):
    """POST /setup. Label Studio's token comes with it, and is not even read."""

    model_config = _LENIENT

    project: str | int | None = None
    label_config: str | None = Field(default=None, alias="schema", max_length=1_000_000)


class Hint(BaseModel):
    """POST /webhook: that something happened, and no more."""

    model_config = _LENIENT

    action: Annotated[str, Field(max_length=64)]


class Nothing(BaseModel):
    """A body that says nothing."""

    model_config = _LENIENT


def read(kind: type[T], data: bytes) -> T:
    """Raises Refusal 422, which says where the body is wrong and repeats nothing of it."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"]) or "body"
        raise Refusal(422, "BadFormat", f"{where[:200]}: {first['type']}") from exc


def project_of(project: str | int | None) -> str:
    """The project's id out of `<id>.<creation time>`."""
    return str(project if project is not None else "").partition(".")[0]


def _saved(row: object) -> Saved | None:
    if not isinstance(row, Mapping):
        return None
    try:
        return Saved.model_validate({**row, "result": _rows(row.get("result"))})
    except ValidationError:
        return None


def _rows(result: object) -> Sequence[object]:
    """The rows of a result that are objects."""
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []
