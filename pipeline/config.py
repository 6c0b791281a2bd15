"""The YAML file as one frozen tree; every mistake in it is found at once, each with its key.

Sections bear the names of what they configure: the project, the five peers (`kind` plus the peer's own
settings), and the stages. Paths are relative to the file; `${NAME}` in a path is taken from the
environment. Values of peers are checked by `wiring`, which knows the peers.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.errors import ConfigError
from pipeline.stages.evaluate import EvaluateSettings
from pipeline.stages.ingest import SourceSettings, SplitSettings
from pipeline.stages.merge import MergeSettings
from pipeline.stages.propose import ProposeSettings
from pipeline.stages.score import ScoreSettings
from pipeline.stages.segment import SegmentSettings
from pipeline.stages.select import SelectSettings

__all__ = [
    "Config",
    "IngestSettings",
    "PeerConfig",
    "Problem",
    "ProjectSettings",
    "load",
    "parse",
    "problems_of",
    "raise_problems",
]

Problem = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

_STRICT = ConfigDict(frozen=True, extra="forbid")


class ProjectSettings(BaseModel):
    """What the model shall find. The order of `classes` is the order of class numbers everywhere."""

    model_config = _STRICT

    name: Annotated[str, Field(min_length=1)]
    classes: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("classes")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("two classes have the same name")
        if any(not name.strip() or name != name.strip() for name in names):
            raise ValueError("a class name is empty, or has a space at its end")
        return names


class PeerConfig(BaseModel):
    """Which peer of a family, and its settings (every key but `kind`)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class IngestSettings(BaseModel):
    """Where images come from, and how they are divided."""

    model_config = _STRICT

    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    split: SplitSettings = SplitSettings()


class Config(BaseModel):
    """One run, as the file describes it."""

    model_config = _STRICT

    project: ProjectSettings
    workspace: Path
    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Annotated[int, Field(ge=1)] = 3

    detector: PeerConfig
    segmenter: PeerConfig
    annotator: PeerConfig
    trainer: PeerConfig
    executor: PeerConfig = PeerConfig(kind="serial")

    ingest: IngestSettings
    propose: ProposeSettings = ProposeSettings()
    segment: SegmentSettings = SegmentSettings()
    score: ScoreSettings = ScoreSettings()
    select: SelectSettings
    merge: MergeSettings = MergeSettings()
    evaluate: EvaluateSettings = EvaluateSettings()


def load(path: Path, overrides: Sequence[str] = (), *, workspace: Path | None = None) -> Config:
    """Read a configuration file; `overrides` are `dotted.key=value` with the value in YAML.

    Raises ConfigError for a file that cannot be read and, with all problems at once, for wrong contents.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot be read: {exc.strerror}", path=path) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8 text", path=path) from exc
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"is not YAML: {' '.join(str(exc).split())}", path=path) from exc
    if not isinstance(data, dict):
        raise ConfigError("must be a mapping of sections; `pipeline init` writes an example", path=path)
    for override in overrides:
        _override(data, override)
    if workspace is not None:
        data["workspace"] = str(workspace.absolute())
    return parse(data, path)


def parse(data: Mapping[str, Any], path: Path) -> Config:
    """Validate the mapping of a file at `path`. Raises ConfigError with all problems at once."""
    problems: list[Problem] = []
    resolved = _resolve_paths(dict(data), path.absolute().parent, problems)
    try:
        config = Config.model_validate(resolved)
    except ValidationError as exc:
        problems += [_problem(error) for error in exc.errors()]
        raise_problems(problems, path)
        raise
    raise_problems(problems, path)
    return config


def raise_problems(problems: Sequence[Problem], path: Path | str | None) -> None:
    """Raise one ConfigError that lists every problem; nothing if there is none."""
    if not problems:
        return
    if len(problems) == 1:
        key, message = problems[0]
        raise ConfigError(message, path=path, key=key)
    lines = "".join(f"\n  {key}: {message}" for key, message in problems)
    raise ConfigError(f"{len(problems)} problems:{lines}", path=path)


def problems_of(exc: ValidationError, model: type[BaseModel], prefix: str) -> list[Problem]:
    """A peer's or section's validation errors as problems under `prefix`."""
    return [_problem(error, model, prefix) for error in exc.errors()]


def _problem(error: Any, model: type[BaseModel] = Config, prefix: str = "") -> Problem:
    location = [str(part) for part in error["loc"]]
    key = ".".join([prefix, *location] if prefix else location)
    if error["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(location[-1], _fields_at(model, location[:-1]), n=1)
        return key, f"unknown key{f'; did you mean {nearest[0]!r}?' if nearest else ''}"
    if error["type"] == "missing":
        return key, "is missing"
    given = "" if isinstance(error.get("input"), (dict, list)) else f" (given: {error.get('input')!r})"
    return key, f"{error['msg'].removeprefix('Value error, ')}{given}"


def _fields_at(model: type[BaseModel], location: Iterable[str]) -> list[str]:
    """The field names of the model that stands at `location` inside `model`."""
    here: Any = model
    for part in location:
        if part.isdigit():
            continue
        field = here.model_fields.get(part)
        if field is None:
            return []
        inner = [kind for kind in (field.annotation, *_arguments(field.annotation)) if _is_model(kind)]
        if not inner:
            return []
        here = inner[0]
    return list(here.model_fields)


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return tuple(getattr(annotation, "__args__", ()))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r} is not of the form dotted.key=value", key="--set")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"the value {text!r} is not YAML", key=key) from exc
    here: Any = data
    *parents, last = key.split(".")
    try:
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
        here[int(last) if isinstance(here, list) else last] = value
    except (AttributeError, IndexError, TypeError, ValueError) as exc:
        raise ConfigError("--set leads to no section of the file", key=key) from exc


def _resolve_paths(data: dict[str, Any], base: Path, problems: list[Problem]) -> dict[str, Any]:
    """The same mapping with its path keys absolute; peers' weights are looked up by name and stay."""
    if isinstance(data.get("workspace"), str):
        data["workspace"] = _absolute(data["workspace"], base, "workspace", problems)
    ingest = data.get("ingest")
    sources = ingest.get("sources") if isinstance(ingest, dict) else None
    if isinstance(ingest, dict) and isinstance(sources, list):
        resolved = []
        for number, source in enumerate(sources):
            fields = dict(source) if isinstance(source, dict) else source
            for key in ("path", "labels"):
                if isinstance(fields, dict) and isinstance(fields.get(key), str):
                    where = f"ingest.sources.{number}.{key}"
                    fields[key] = _absolute(fields[key], base, where, problems)
            resolved.append(fields)
        data["ingest"] = {**ingest, "sources": resolved}
    return data


def _absolute(text: str, base: Path, key: str, problems: list[Problem]) -> Path:
    missing = [name for name in re.findall(r"\$\{(\w+)\}", text) if name not in os.environ]
    for name in missing:
        problems.append((key, f"the environment variable {name} is not set"))
    expanded = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], match[0]), text)
    return Path(os.path.normpath(base / Path(expanded).expanduser()))
