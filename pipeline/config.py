"""The YAML file as one frozen tree; every mistake in it is found at once, each with its key.

Sections bear the names of what they configure: the project, the six peers (`kind` plus the peer's own
settings), and the stages. Paths are relative to the file; `${NAME}` in a path is taken from the
environment. Values of peers are checked by `wiring`, which knows the peers.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.acquisition import load_selector
from pipeline.errors import ConfigError
from pipeline.stages.collect import CollectSettings
from pipeline.stages.evaluate import ANY_OTHER, EvaluateSettings
from pipeline.stages.ingest import SourceSettings, SplitSettings
from pipeline.stages.merge import MergeSettings
from pipeline.stages.propose import ProposeSettings
from pipeline.stages.score import ScoreSettings
from pipeline.stages.segment import SegmentSettings
from pipeline.stages.select import SelectSettings
from pipeline.stages.train import TrainSettings

__all__ = [
    "Config",
    "EncodingsSettings",
    "IngestSettings",
    "PeerConfig",
    "Problem",
    "ProjectSettings",
    "load",
    "parse",
    "problems_of",
    "raise_problems",
    "settings_from",
]

Problem = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

More = Callable[[Mapping[str, Any]], Sequence[Problem]]
"""Checks of a file's mapping beyond the schema."""

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
        if not all(name.isprintable() for name in names):
            raise ValueError("a class name has a character that nobody can see, such as a tab or a line's end")
        return names


class PeerConfig(BaseModel):
    """Which peer of a family, and its settings (every key but `kind`)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class IngestSettings(BaseModel):
    """Where images come from, how they are divided, and whether training on what is held out stops the run."""

    model_config = _STRICT

    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    split: SplitSettings = SplitSettings()
    leaks: Literal["stop", "warn"] = "stop"


class EncodingsSettings(BaseModel):
    """Where encodings of images are kept, so that none is computed twice.

    `path` is by default the workspace's own folder; several workspaces and servers may share one. Over `budget_gb`
    (10^9 bytes) those go first that were used least recently; 0 keeps none.
    """

    model_config = _STRICT

    path: Path | None = None
    budget_gb: Annotated[float, Field(ge=0)] = 10.0


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
    reviewer: PeerConfig = PeerConfig(kind="text")
    encodings: EncodingsSettings = EncodingsSettings()

    ingest: IngestSettings
    propose: ProposeSettings = ProposeSettings()
    segment: SegmentSettings = SegmentSettings()
    score: ScoreSettings = ScoreSettings()
    select: SelectSettings
    collect: CollectSettings = CollectSettings()
    merge: MergeSettings = MergeSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()


def load(
    path: Path, overrides: Sequence[str] = (), *, workspace: Path | None = None, more: More | None = None
) -> Config:
    """Read a configuration file; `overrides` are `dotted.key=value` with the value in YAML.

    Raises ConfigError for a file that cannot be read and, with all problems at once, for wrong contents.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"cannot be read: {exc.strerror}", path=path) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError("is not UTF-8 text", path=path) from exc
    try:
        # The loader is YAML's safe one: no tag of the file makes an object or runs anything.
        data = yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"is not YAML: {' '.join(str(exc).split())}", path=path) from exc
    if not isinstance(data, dict):
        raise ConfigError("must be a mapping of sections; `pipeline init` writes an example", path=path)
    for override in overrides:
        _override(data, override)
    if workspace is not None:
        data["workspace"] = str(workspace.absolute())
    return parse(data, path, more=more)


def parse(data: Mapping[str, Any], path: Path, *, more: More | None = None) -> Config:
    """Validate the mapping of a file at `path`. Raises ConfigError with all problems at once."""
    problems: list[Problem] = []
    resolved = _resolve_paths(dict(data), path.absolute().parent, problems)
    problems += more(resolved) if more is not None else ()
    try:
        config = Config.model_validate(resolved)
    except ValidationError as exc:
        raise_problems([*(found for error in exc.errors() for found in _problems(error)), *problems], path)
        raise
    raise_problems([*problems, *_contradictions(config)], path)
    return config


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that is there twice instead of forgetting the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {twice[0]!r} is there twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def _contradictions(config: Config) -> list[Problem]:
    """Sections that are right, each for itself, and do not go together."""
    weights = config.select.settings.get("weights", {})
    scored = config.score.measures
    strangers = set(config.evaluate.tolerance) - {*config.project.classes, ANY_OTHER}
    return [
        *(
            (f"select.weights.{name}", f"score.measures does not compute it (only {', '.join(sorted(scored))})")
            for name in sorted(set(weights) - set(scored))
        ),
        *(
            (f"evaluate.tolerance.{name}", f"is none of the classes: {', '.join(config.project.classes)}")
            for name in sorted(strangers)
        ),
    ]


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
    return [found for error in exc.errors() for found in _problems(error, model, prefix)]


def _problems(error: Any, model: type[BaseModel] = Config, prefix: str = "") -> list[Problem]:
    location = [str(part) for part in error["loc"]]
    key = ".".join([prefix, *location] if prefix else location)
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ValidationError):  # a selector's own settings, checked by their section
        return problems_of(cause, load_selector(error["input"].get("kind", "top_k")).Settings, key)
    if error["type"] == "extra_forbidden":
        return [(key, f"unknown key{_meant(location[-1], _fields_at(model, location[:-1]))}")]
    if error["type"] == "missing":
        given = error["input"] if isinstance(error["input"], dict) else {}
        strangers = set(map(str, given)) - set(_fields_at(model, location[:-1]))
        return [(key, f"is missing{_meant(location[-1], strangers, 'did you write {!r} for it?')}")]
    if error["type"] in ("model_type", "dict_type"):
        return [(key, f"must be a section of `key: value` lines (given: {error['input']!r})")]
    value = "" if isinstance(error.get("input"), (dict, list)) else f" (given: {error.get('input')!r})"
    return [(key, f"{error['msg'].removeprefix('Value error, ')}{value}")]


def _meant(word: str, known: Iterable[str], question: str = "did you mean {!r}?") -> str:
    nearest = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; {question.format(nearest[0])}" if nearest else ""


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


def settings_from(overrides: Sequence[str]) -> dict[str, Any]:
    """The mapping that `dotted.key=value` overrides alone make. Raises ConfigError."""
    data: dict[str, Any] = {}
    for override in overrides:
        _override(data, override)
    return data


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
        raise ConfigError("--set leads into a value or past a list's end, not to a section", key=key) from exc


def _resolve_paths(data: dict[str, Any], base: Path, problems: list[Problem]) -> dict[str, Any]:
    """The same mapping with its path keys absolute; peers' weights are looked up by name and stay."""
    if isinstance(data.get("workspace"), str):
        data["workspace"] = _absolute(data["workspace"], base, "workspace", problems)
    encodings = data.get("encodings")
    if isinstance(encodings, dict) and isinstance(encodings.get("path"), str):
        data["encodings"] = {**encodings, "path": _absolute(encodings["path"], base, "encodings.path", problems)}
    annotator = data.get("annotator")
    images = annotator.get("images") if isinstance(annotator, dict) else None
    if isinstance(annotator, dict) and isinstance(images, dict) and isinstance(images.get("root"), str):
        root = _absolute(images["root"], base, "annotator.images.root", problems)
        data["annotator"] = {**annotator, "images": {**images, "root": str(root)}}
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
    """The path with `${NAME}` and `~` filled in, absolute; what cannot be filled in is a problem and stays."""
    missing = [name for name in re.findall(r"\$\{(\w+)\}", text) if name not in os.environ]
    problems.extend((key, f"the environment variable {name} is not set") for name in missing)
    path = Path(re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], match[0]), text))
    if not text or "\0" in text:
        problems.append((key, "is no path"))
    try:
        path = path.expanduser()
    except RuntimeError:
        problems.append((key, f"nobody here is called {path.parts[0]}"))
    return Path(os.path.normpath(base / path))
