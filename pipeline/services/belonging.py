"""Where images belong that come in with labels: the splits and groups that files say of them.

The label file itself may say a split, and a table a group; `manifest.jsonl`, which exports put beside it, says both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.domain.records import Sample, Split
from pipeline.formats.beside import START, Place, start_of
from pipeline.formats.labels import Found, LabelProblem, exists, one_spelling

__all__ = ["Belonging"]


class Belonging:
    """The places of the images that `found` names, with those that a manifest says of samples, beside a pool."""

    def __init__(
        self, found: Iterable[Found | LabelProblem], said: Mapping[str, Place], pool: Iterable[Sample]
    ) -> None:
        self._beside = {sample[:START]: place for sample, place in said.items()}
        self._by_key: dict[str, set[Place]] = defaultdict(set)
        self._by_name: dict[str, list[tuple[Path, Place]]] = defaultdict(list)
        self._standing: dict[str, set[Split]] = defaultdict(set)
        for sample in pool:
            self._standing[sample.group].add(sample.split)
        for one in found:
            if isinstance(one, Found) and "\0" not in str(one.image):
                place = Place(one.split, one.group)
                self._by_name[one_spelling(one.image.name)].append((one.image, place))
                for key in (str(one.image.resolve()), *_starts(one.image)):
                    self._by_key[key].add(place)

    def said(self, sample_id: str, image: Path) -> Place:
        """What is said of the sample whose file is `image`: by the label file, or else by the manifest."""
        keys = [str(image.resolve()), sample_id[:START], *_starts(image)]
        found = next((self._by_key[key] for key in keys if key in self._by_key), None) or self._named(image)
        beside = next((self._beside[key] for key in keys if key in self._beside), Place())
        (place,) = found if len(found) == 1 else (Place(),)
        return Place(place.split or beside.split, place.group or beside.group)

    def of_new(self, sample_id: str, image: Path) -> Place:
        """The place of an image that is new. What is of a group that the pool has goes where that is, or it leaks."""
        place = self.said(sample_id, image)
        standing = self._standing.get(place.group)
        return place if standing is None or place.split in standing else Place(None, place.group)

    def _named(self, image: Path) -> set[Place]:
        """By name alone: of files that are not there, or that may be the same."""
        rows = self._by_name.get(one_spelling(image.name), [])
        return {place for path, place in rows if not exists(path) or path.stat().st_size == image.stat().st_size}


def _starts(image: Path) -> list[str]:
    start = start_of(image)
    return [start] if start else []
