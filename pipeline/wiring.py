"""From a configuration to live objects: the only room that opens the doors.

The folder is the registry: the peers of a family are the modules of its folder in `connectors/`, and a
peer's file name is its `kind` in YAML, in `pipeline list`, in logs and in the contract tests.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import pkgutil
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

import connectors
from pipeline.config import Config, PeerConfig, Problem, load, problems_of, raise_problems
from pipeline.domain.geometry import Image
from pipeline.domain.records import Sample
from pipeline.domain.rounds import ModelRef
from pipeline.errors import ConfigError, MissingExtra, UnknownPeer, WeightsUnavailable
from pipeline.events import Emit, silent
from pipeline.formats.image import decode_image, read_frame
from pipeline.ports import Annotator, Check, Detector, Executor, Resources, Reviewer, Segmenter, Trainer
from pipeline.segmenting.careful import CarefulSegmenter
from pipeline.segmenting.cleaning import MaskSettings
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.store.encodings import EncodingStore
from pipeline.store.workspace import Workspace

if TYPE_CHECKING:
    from connectors.label_studio.backend.services import Services

__all__ = [
    "FAMILIES",
    "House",
    "Listed",
    "checked_peer",
    "find_weights",
    "is_workspace",
    "label_studio_files",
    "list_family",
    "load_config",
    "open_backend",
    "open_house",
    "open_segmenter",
    "peer_module",
    "peer_names",
]

FAMILIES: Mapping[str, str] = {
    "detector": "detectors",
    "segmenter": "segmenters",
    "annotator": "annotators",
    "trainer": "trainers",
    "executor": "executors",
    "reviewer": "reviewers",
}
"""A family's word in the configuration -> its folder."""


@dataclass(frozen=True)
class Listed:
    """A line of `pipeline list`: a peer, its caption, and what it lacks here ("" if it can be used)."""

    kind: str
    caption: str
    lacks: str


def peer_names(family: str) -> list[str]:
    """The kinds of a family, sorted; nothing is imported but the folder."""
    package = importlib.import_module(f"{connectors.__name__}.{FAMILIES[family]}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def peer_module(family: str, kind: str) -> Any:
    """The module of a peer. Raises UnknownPeer, with the nearest name."""
    known = peer_names(family)
    if kind not in known:
        raise UnknownPeer(family, kind, known, key=f"{family}.kind")
    return importlib.import_module(f"{connectors.__name__}.{FAMILIES[family]}.{kind}")


def list_family(family: str) -> list[Listed]:
    """Every peer of a family, and what it lacks here."""
    rows = []
    for kind in peer_names(family):
        module = peer_module(family, kind)
        caption = (module.__doc__ or "").strip().splitlines()[0]
        rows.append(Listed(kind, caption, "; ".join(_lacking(module))))
    return rows


def _lacking(module: Any) -> list[str]:
    """Extras that are not installed, weights that are not found, what else the peer says of this machine, and what
    those lack that it is made of. Peers whose settings must be told are not asked for weights."""
    lacking = [
        f"pip install 'maskloop[{extra}]'"
        for extra, packages in module.REQUIRES.items()
        if any(importlib.util.find_spec(package) is None for package in packages)
    ]
    try:
        settings = module.Settings()
    except ValidationError:
        settings = None
    if settings is not None:
        lacking += [line for name in _named_weights(settings) for line in _lacking_weights(name)]
        for role, (kind, _) in _members(settings).items():
            lacking += [f"for {role} {kind}: {line}" for line in _lacking(peer_module("segmenter", kind))]
    return [*lacking, *getattr(module, "lacks", list)()]


def _lacking_weights(name: str) -> list[str]:
    try:
        find_weights(name, [Path.cwd(), *_lent_weights()])
    except WeightsUnavailable:
        return [f"weights {name}, here or in $MASKLOOP_WEIGHTS"]
    return []


def _named_weights(settings: BaseModel) -> list[str]:
    """The weights files that a peer's settings ask for: its own, or those published, and those of its words."""
    own = getattr(settings, "weights", None)
    if own is None and not getattr(settings, "untrained", False):
        own = getattr(settings, "published_as", None)
    return [name for name in (own, getattr(settings, "text_weights", None)) if isinstance(name, str)]


def _members(settings: BaseModel) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The segmenters that a peer is made of (cascade): its settings' word for each, its kind and its own settings."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {
        name: (value.kind, value.settings)
        for name, value in values.items()
        if isinstance(getattr(value, "kind", None), str) and isinstance(getattr(value, "settings", None), Mapping)
    }


def load_config(path: Path, overrides: Sequence[str] = (), *, workspace: Path | None = None) -> Config:
    """`config.load`, and the settings of every peer checked too: all problems at once, as ConfigError."""
    return load(path, overrides, workspace=workspace, more=_peer_problems)


def _peer_problems(data: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the settings of the peers that a file's mapping names."""
    problems: list[Problem] = []
    for family in FAMILIES:
        section = data.get(family)
        if isinstance(section, dict) and isinstance(section.get("kind"), str):
            settings = {key: value for key, value in section.items() if key != "kind"}
            _peer_settings(family, section["kind"], settings, problems)
    return problems


def _peer_settings(
    family: str, kind: str, settings: Mapping[str, Any], problems: list[Problem]
) -> BaseModel | None:
    try:
        module = peer_module(family, kind)
    except UnknownPeer as exc:
        problems.append((f"{family}.kind", exc.message))
        return None
    try:
        return cast(BaseModel, module.Settings.model_validate(settings))
    except ValidationError as exc:
        problems.extend(problems_of(exc, module.Settings, family))
        return None


def checked_peer(family: str, kind: str, settings: Mapping[str, Any]) -> tuple[Any, BaseModel]:
    """A peer's module and its settings. Raises ConfigError, UnknownPeer and MissingExtra among them."""
    problems: list[Problem] = []
    checked = _peer_settings(family, kind, settings, problems)
    raise_problems(problems, None)
    module = peer_module(family, kind)
    for extra, packages in module.REQUIRES.items():
        for package in packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(extra, needed_by=f"{family} {kind!r}", package=package)
    return module, cast(BaseModel, checked)


def find_weights(name: str, places: Sequence[Path]) -> Path:
    """A weights file by path, or by name in `places`. Raises WeightsUnavailable with every place searched."""
    named = Path(name).expanduser()
    searched = list(dict.fromkeys(place / named for place in places))
    for path in searched:
        if path.is_file():
            return path.resolve()
    raise WeightsUnavailable(name, [str(path) for path in searched])


def is_workspace(config: Config) -> bool:
    """Whether a run of this configuration has begun."""
    return (config.workspace / "workspace.json").is_file()


class House:
    """The live objects of one run, each built when it is first asked for."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        *,
        folder: Path,
        now: Callable[[], datetime],
        emit: Emit = silent,
    ) -> None:
        self._emit = emit
        self._config = config
        self._workspace = workspace
        self._folder = folder
        self._now = now

    def detector(self, model: ModelRef | None, *, confidence: float | None = None) -> Detector:
        """The configured detector with a trained model, or with its own starting weights (None)."""
        return cast(Detector, self._build("detector", model=model, confidence=confidence))

    @cached_property
    def segmenter(self) -> Segmenter:
        """The configured one, with its encodings kept and the house's own care around it."""
        return CarefulSegmenter(self.stored_segmenter or self._bare_segmenter, self._config.segment)

    @cached_property
    def stored_segmenter(self) -> StoredSegmenter | None:
        """The configured one with its encodings kept; None where they are not: by the configuration, or because
        making them costs next to nothing."""
        kept = self._config.encodings
        if not kept.budget_gb or not self._bare_segmenter.storable:
            return None
        folder = kept.path if kept.path is not None else self._workspace.root / "encodings"
        store = EncodingStore(folder, round(kept.budget_gb * 1e9), emit=self._emit)
        return StoredSegmenter(self._bare_segmenter, store)

    @cached_property
    def _bare_segmenter(self) -> Segmenter:
        return cast(Segmenter, self._build("segmenter"))

    @cached_property
    def trainer(self) -> Trainer:
        return cast(Trainer, self._build("trainer"))

    @cached_property
    def annotator(self) -> Annotator:
        return cast(Annotator, self._build("annotator"))

    @cached_property
    def executor(self) -> Executor:
        return cast(Executor, self._build("executor"))

    def reviewer(self, subject: str = "") -> Reviewer:
        """The configured one, for a part of the project by its name, or for all of it."""
        module, settings = self._peer("reviewer")
        lent = self._resources("reviewer", self.kind("reviewer"))
        return cast(Reviewer, module.build(settings, replace(lent, project=f"{lent.project} {subject}".strip())))

    def read_image(self, sample: Sample) -> Image:
        """The canonical frame of a sample. Raises ImageUnreadable if the file is gone or has changed."""
        if not sample.path.is_file():
            # A peer may remember a sample from before its file, or the whole workspace, was moved.
            sample = self._workspace.ledger.samples.some([sample.id])[sample.id]
        copy = sample.path.is_relative_to(self._workspace.blobs.root)
        return read_frame(sample.path, sha256=None if copy else sample.id)

    def check(self) -> None:
        """Find now what a peer would miss only hours later, when people have done their part.

        Raises MissingExtra for a package that is not installed, WeightsUnavailable for a weights file.
        """
        for family in self.families:
            if family != "reviewer":  # nobody needs one before people review
                self.weights(family)

    @property
    def families(self) -> list[str]:
        """Those of which the configuration chooses a peer."""
        return [family for family in FAMILIES if getattr(self._config, family, None) is not None]

    def kind(self, family: str) -> str:
        """The chosen peer's name."""
        return str(getattr(self._config, family).kind)

    def weights(self, family: str) -> list[tuple[Path, str | None]]:
        """The files that the chosen peer needs, and those that it is made of, with the SHA-256 demanded of each.

        Raises MissingExtra and WeightsUnavailable, ConfigError among them.
        """
        return list(self._weights_of(self._peer(family)[1]))

    def _weights_of(self, settings: BaseModel) -> Iterator[tuple[Path, str | None]]:
        demanded = getattr(settings, "sha256", None)
        for name in _named_weights(settings):
            yield self._find_weights(name), demanded if name != getattr(settings, "text_weights", None) else None
        for kind, more in _members(settings).values():
            yield from self._weights_of(checked_peer("segmenter", kind, more)[1])

    def checks(self, family: str) -> Iterator[Check]:
        """What the chosen peer itself has to say for `pipeline doctor`: most have nothing. Raises what it raises."""
        module, settings = self._peer(family)
        if hasattr(module, "checks"):
            yield from module.checks(settings, self._resources(family, self.kind(family)))

    def _peer(self, family: str) -> tuple[Any, BaseModel]:
        """The chosen peer's module and settings. Raises ConfigError, MissingExtra among them."""
        chosen: PeerConfig = getattr(self._config, family)
        return checked_peer(family, chosen.kind, chosen.settings)

    def _build_segmenter(self, kind: str, settings: Mapping[str, Any]) -> Segmenter:
        module, checked = checked_peer("segmenter", kind, settings)
        return cast(Segmenter, module.build(checked, self._resources("segmenter", kind)))

    def _build(self, family: str, **more: object) -> object:
        module, settings = self._peer(family)
        kind = getattr(self._config, family).kind
        return module.build(settings, self._resources(family, kind), **more)

    def _resources(self, family: str, kind: str) -> Resources:
        return Resources(
            classes=self._config.project.classes,
            seed=self._config.seed,
            work=self._workspace.work(f"{FAMILIES[family]}-{kind}"),
            find_weights=self._find_weights,
            read_image=self.read_image,
            truth=self._workspace.ledger.samples.truth,
            segmenter=lambda: self.segmenter,
            build_segmenter=self._build_segmenter,
            now=self._now,
            project=self._config.project.name,
            people=self._config.collect.people,
        )

    def _find_weights(self, name: str) -> Path:
        return find_weights(name, [self._folder, self._workspace.root, *_lent_weights()])


def open_segmenter(
    kind: str,
    settings: Mapping[str, Any] = MappingProxyType({}),
    *,
    masks: MaskSettings | None = None,
    seed: int = 0,
    work: Path | None = None,
) -> Segmenter:
    """A segmenter without a project: for one image, a server or a notebook.

    Weights by name are looked for in the current folder and `$MASKLOOP_WEIGHTS`. `work` is a folder that the peer may
    keep things in; without one it lasts as long as this process. Raises ConfigError, MissingExtra and
    WeightsUnavailable.
    """
    folder = work if work is not None else _passing_folder()

    def unused(*_: object) -> Any:
        raise ConfigError(f"{kind} needs a project: name it in a configuration", key="segmenter.kind")

    def build(one: str, own: Mapping[str, Any]) -> Segmenter:
        module, checked = checked_peer("segmenter", one, own)
        return cast(Segmenter, module.build(checked, resources))

    resources = Resources(
        classes=(),
        seed=seed,
        work=folder,
        find_weights=lambda name: find_weights(name, [Path.cwd(), *_lent_weights()]),
        read_image=unused,
        truth=lambda _: None,
        segmenter=unused,
        build_segmenter=build,
        now=_now,
    )
    return CarefulSegmenter(build(kind, settings), masks or MaskSettings())


def _passing_folder() -> Path:
    """A folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="maskloop-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _lent_weights() -> list[Path]:
    lent = os.environ.get("MASKLOOP_WEIGHTS")
    return [Path(lent)] if lent else []


def _now() -> datetime:
    return datetime.now(UTC)


def open_house(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    workspace: Path | None = None,
    emit: Emit = silent,
    create: bool = True,
) -> tuple[Config, Workspace, House]:
    """Configuration, workspace and live objects of the file at `path`.

    Raises ConfigError, or LedgerCorrupt for a workspace of a newer version. With `create=False` a
    workspace that does not exist yet is a ConfigError too.
    """
    config = load_config(path, overrides, workspace=workspace)
    if not create and not is_workspace(config):
        raise ConfigError(
            f"{config.workspace} is no workspace yet: `pipeline run {path}` makes it", path=path, key="workspace"
        )

    opened = Workspace.open(config.workspace, emit=emit, now=_now)
    return config, opened, House(config, opened, folder=path.absolute().parent, now=_now, emit=emit)


def open_backend(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    workspace: Path | None = None,
    run_command: tuple[str, ...] = (),
    local_files: Path | None = None,
    allowed: Sequence[str] = (),
    private: Sequence[str] = (),
    emit: Emit = silent,
) -> Services:
    """What Label Studio's backend needs of the project at `path`; the segmenter's weights are loaded now.

    Where the annotator is `label_studio`, Label Studio's address and token are known by it, and its folder of local
    files is `local_files`, if none is given. `run_command` starts the next round. Raises as `open_house`, and what
    building the segmenter raises.
    """
    from connectors.label_studio.backend.services import Services
    from pipeline.live import Live

    config, opened, house = open_house(path, overrides, workspace=workspace, emit=emit)
    live = Live(config, opened, house)
    studio, folder, polygons = _studio(config.annotator)
    return Services(
        classes=config.project.classes,
        segmenter=house.segmenter,
        propose=live.propose,
        model_version=live.model_version,
        sample_of=live.sample_of,
        read_image=house.read_image,
        decode_image=lambda data: decode_image(data).image,
        queue=live.queue,
        now=_now,
        polygons=polygons,
        run_command=run_command,
        jobs=opened.root / "work" / "backend",
        click_log=opened.root / "work" / "annotators-label_studio" / "clicks",
        local_files=local_files or folder,
        studio=studio,
        allowed=tuple(allowed),
        private=tuple(private),
    )


def label_studio_files() -> Any:
    """The codec of Label Studio's own JSON: a module with `write_tasks` and `read_tasks`."""
    return importlib.import_module(f"{connectors.__name__}.label_studio.files")


def _studio(chosen: PeerConfig) -> tuple[Any, Path | None, bool]:
    """Label Studio itself, its folder of local files, and whether masks go there as polygons: what an annotator
    `label_studio` knows of it, and nothing of any other."""
    if chosen.kind != "label_studio":
        return None, None, False
    module, settings = checked_peer("annotator", chosen.kind, chosen.settings)
    told = cast(Any, settings)
    folder = told.images.root if told.images.kind == "local_files" else None
    return module.client_of(settings), folder, told.output == "polygon"
