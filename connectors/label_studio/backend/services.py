"""What the house lends the backend, and the limits it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pipeline.domain.geometry import Image
from pipeline.domain.records import Instance, Sample
from pipeline.errors import DataError
from pipeline.ports import Segmenter

__all__ = ["Limits", "Services", "Studio"]


class Studio(Protocol):
    """Label Studio as a place where images lie."""

    url: str

    def authorization(self, stale: str | None = None) -> str:
        """The header of that name; `stale` is one that was just refused."""
        ...


@dataclass(frozen=True)
class Services:
    """Callables and values; each may be called from many threads.

    `propose` answers pairs of (name, image) with the machine's instances, or with what is wrong with one of them, in
    order; a name is a sample's id, or the SHA-256 of the image's file. `sample_of` is None for an id that is unknown,
    `read_image` gives a sample's canonical frame, and `decode_image` that of a file's bytes: both raise
    ImageUnreadable. `queue` are the samples that people will see next, first first. `model_version` names what
    `propose` asks at the moment. With `polygons` masks are sent as polygons, where the project has those.
    `run_command` starts the next round; `jobs` is the folder of what it says. `click_log` is the folder where
    clicks are counted, for whoever collects the answers.

    `local_files` is the only folder that `/data/local-files/` addresses reach. `studio` is Label Studio, whose own
    addresses are asked with its token. Of other origins (`https://host[:port]`) those in `allowed` are asked if their
    address is public, and those in `private` wherever they are.
    """

    classes: tuple[str, ...]
    segmenter: Segmenter
    propose: Callable[[Sequence[tuple[str, Image]]], list[tuple[Instance, ...] | DataError]]
    model_version: Callable[[], str]
    sample_of: Callable[[str], Sample | None]
    read_image: Callable[[Sample], Image]
    decode_image: Callable[[bytes], Image]
    queue: Callable[[], Sequence[Sample]]
    now: Callable[[], datetime]
    polygons: bool = False
    run_command: tuple[str, ...] = ()
    jobs: Path | None = None
    click_log: Path | None = None
    local_files: Path | None = None
    studio: Studio | None = None
    allowed: tuple[str, ...] = ()
    private: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What the backend takes and keeps.

    `click_threads` answer clicks, and one more pre-annotates; `waiting` requests wait beside those. `warm_ahead` tasks
    are made ready after each answer. With `run_after` new annotations, and `quiet_s` without another, a round is
    started; 0 starts none.
    """

    max_body_bytes: int = 32 * 2**20
    max_hint_bytes: int = 8 * 2**20
    max_image_bytes: int = 64 * 2**20
    body_timeout_s: float = 30.0
    fetch_timeout_s: float = 10.0
    max_points: int = 200
    max_tasks: int = 256
    batch: int = 16
    click_threads: int = 2
    waiting: int = 64
    warm_ahead: int = 8
    kept_encodings_bytes: int = 512 * 2**20
    kept_sessions_bytes: int = 256 * 2**20
    run_after: int = 0
    quiet_s: float = 10.0
