"""A dataset version as one Parquet table: one row an instance, and one without an instance for an image of nothing.

Sorted by sample, so that its parts can be skipped by their statistics; a mask is COCO's compressed run lengths. pandas,
DuckDB, Polars and Arrow read it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.domain.dataset import DatasetEntry
from pipeline.domain.geometry import Box, SizeHW
from pipeline.domain.mask import Mask
from pipeline.domain.records import Instance
from pipeline.errors import BadFormat, DataError
from pipeline.formats.labels import SPLIT_NAMES, Found, LabelProblem, Labels, check_proposal, imported, told_apart

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "TableLabels", "find_table", "open_table", "write_table"]

COLUMNS: Mapping[str, str] = {
    "sample": "string",
    "file_name": "string",
    "split": "name",
    "group": "string",
    "height": "int32",
    "width": "int32",
    "revision": "int32",
    "agreement": "float64",
    "instance": "string",
    "label": "name",
    "state": "name",
    "origin": "name",
    "made_by": "name",
    "prompt": "string",
    "round": "int32",
    "clicks": "int32",
    "confidence": "float64",
    "predicted_iou": "float64",
    "stability": "float64",
    "x1": "float64",
    "y1": "float64",
    "x2": "float64",
    "y2": "float64",
    "area_px": "float64",
    "counts": "binary",
    "round_trip": "float64",
}
"""Column -> type; "name" is a string that many rows share. From `instance` on, an image of nothing has no values."""

_GROUP = 65_536
_ID = re.compile(r"[0-9a-f]{64}")
_SIDES = ("x1", "y1", "x2", "y2")
_OF_IMAGE = ("sample", "file_name", "split", "group", "height", "width")
_FOR_LABELS = (*_OF_IMAGE, "instance", "label", "state", *_SIDES, "counts")

Condition = tuple[str, str, Any]
"""A column, one of == != < <= > >= "in" "not in", and a value."""


def write_table(entries: Iterable[DatasetEntry], path: Path, file_name: Callable[[str], str]) -> None:
    """Write the entries, sorted by sample and instance; equal input gives equal bytes.

    `file_name` tells what a sample's image is called. Memory is that of one row group, not of the whole table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for entry in sorted(entries, key=lambda entry: entry.sample_id):
            rows += _rows(entry, file_name(entry.sample_id))
            if len(rows) >= _GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def open_table(
    path: Path, columns: Sequence[str] | None = None, where: Sequence[Condition] | None = None
) -> pa.Table:
    """The table, or the columns and rows of it that are wanted; the rest is not read where it can be skipped.

    `where` lists conditions that must all hold, such as `[("label", "==", "cat"), ("area_px", "<", 100)]`. Raises
    BadFormat for a file that is no such table, DataError for a column or condition that there is not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    unknown = {*(columns or ()), *(column for column, _, _ in where or ())} - set(COLUMNS)
    if unknown:
        raise DataError(f"a table has no column {min(unknown)!r} (known: {', '.join(COLUMNS)})")
    try:
        missing = set(columns or COLUMNS) - set(pq.read_schema(path).names)
        if missing:
            raise BadFormat(f"no table of instances: the column {min(missing)!r} is missing", path=path)
        return _read(path, columns, where)
    except (pa.ArrowException, OSError, ValueError, TypeError) as exc:
        raise BadFormat(
            f"not a Parquet table that can be read: {str(exc).splitlines()[0]:.200}", path=path
        ) from exc


def _read(path: Path, columns: Sequence[str] | None, where: Sequence[Condition] | None) -> pa.Table:
    """Row group by row group where rows are chosen: the whole table, unchosen, would need several times the memory."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    wanted = None if columns is None else list(columns)
    if not where:
        return pq.read_table(path, columns=wanted, memory_map=True)
    dataset, condition = ds.dataset(path, format="parquet"), pq.filters_to_expression(list(where))
    groups = [
        group.to_table(schema=dataset.schema, columns=wanted, filter=condition)
        for fragment in dataset.get_fragments()
        for group in fragment.split_by_row_group(condition, schema=dataset.schema)
    ]
    return pa.concat_tables(groups) if groups else dataset.head(0, columns=wanted)


class TableLabels:
    """The rows of one image of the table at `path`."""

    def __init__(self, path: Path, rows: Sequence[Mapping[str, Any]], *, proposals: bool = False) -> None:
        self.path = path
        self._proposals = proposals
        self._rows = rows

    def read(self, size_hw: SizeHW, key: str) -> Labels:
        """Instances in the frame of `size_hw`; those of an image of another size, or damaged ones, are problems."""
        instances: list[Instance] = []
        problems: list[LabelProblem] = []
        for row in self._rows:
            if row["instance"] is None:
                continue
            try:
                check_proposal(row["state"], accepted=self._proposals)
                box, mask = _shape(row, size_hw)
                label = row["label"]
                if not isinstance(label, str):
                    raise DataError("it has no label")
                instances.append(imported(label, box, mask, key=key, source=self.path))
            except DataError as exc:
                problems.append(LabelProblem(self.path, None, f"instance {row['instance']!r:.60}: {exc.reason}"))
        return Labels(told_apart(instances, key=key, source=self.path), tuple(problems))


def find_table(path: Path, images: Path, *, proposals: bool = False) -> Iterator[Found | LabelProblem]:
    """The images of a table by their samples' ids, or else by name, under the folder `images`.

    With `proposals`, what a model proposed is taken too: the file was looked over. Raises BadFormat for a
    file that is no such table.
    """
    table = open_table(path, _FOR_LABELS)
    for name, kinds in (("sample", "string"), ("counts", "binary"), ("x1", "double"), ("height", "int32")):
        found = str(table.schema.field(name).type)
        if kinds not in found:
            raise BadFormat(f"the column {name!r} is {found}, not {kinds}", path=path)
    seen: set[str] = set()
    for sample, group in groupby(table.to_pylist(), key=lambda row: row["sample"]):
        rows = list(group)
        name = rows[0]["file_name"]
        if not isinstance(sample, str) or not isinstance(name, str) or sample in seen:
            yield LabelProblem(path, None, f"sample {sample!r:.80} has no name, or its rows are apart")
            continue
        seen.add(sample)
        if not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            yield LabelProblem(path, None, f"{name!r:.80} lies outside the folder of images")
            continue
        # An id says more than a name; as a file's name it is understood too.
        called = f"{sample}{Path(name).suffix}" if _ID.fullmatch(sample) else name
        split, tied = SPLIT_NAMES.get(str(rows[0]["split"])), str(rows[0]["group"] or "")
        yield Found(images / called, split, TableLabels(path, rows, proposals=proposals), tied)


def _rows(entry: DatasetEntry, file_name: str) -> list[dict[str, Any]]:
    height, width = entry.size_hw
    image = {
        "sample": entry.sample_id,
        "file_name": file_name,
        "split": entry.split,
        "group": entry.group,
        "height": height,
        "width": width,
        "revision": entry.revision,
        "agreement": entry.agreement,
    }
    instances = sorted(entry.instances, key=lambda item: item.id)
    return [image | _row(item, entry.round_trip.get(item.id)) for item in instances] or [image]


def _row(item: Instance, round_trip: float | None) -> dict[str, Any]:
    return {
        "instance": item.id,
        "label": item.label,
        "state": item.state.value,
        "origin": item.origin.kind.value,
        "made_by": item.origin.name,
        "prompt": item.origin.prompt,
        "round": item.origin.round,
        "clicks": item.clicks,
        "confidence": item.confidence,
        "predicted_iou": item.predicted_iou,
        "stability": item.stability,
        **dict(zip(_SIDES, item.box, strict=True)),
        "area_px": item.box.area_px if item.mask is None else item.mask.area_px,
        "counts": None if item.mask is None else item.mask.counts,
        "round_trip": round_trip,
    }


def _shape(row: Mapping[str, Any], size_hw: SizeHW) -> tuple[Box | None, Mask | None]:
    if (row["height"], row["width"]) != size_hw:
        raise DataError(f"it is of an image of {(row['height'], row['width'])}, the image is {size_hw}")
    if row["counts"] is not None:
        return None, Mask.from_rle(row["counts"], size_hw)
    sides = [row[side] for side in _SIDES]
    if any(side is None for side in sides):
        raise DataError("it has neither a mask nor a box")
    return Box(*sides).checked(size_hw), None


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    return pa.dictionary(pa.int32(), pa.string()) if kind == "name" else getattr(pa, kind)()
