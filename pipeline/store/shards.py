"""Bulk model output as Parquet: one file a batch, written whole, named by what it holds.

One row for each object, and one with an empty `position` for an image without any, so that "looked at,
nothing found" is on record. pandas and every Parquet tool read them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import Box
from pipeline.domain.mask import Mask
from pipeline.domain.prompts import MaskPrediction, Proposal
from pipeline.domain.rounds import Uncertainty
from pipeline.errors import LedgerCorrupt
from pipeline.events import Emit, silent
from pipeline.store.atomic import atomic_write

__all__ = ["ShardStore"]

_DIGITS = 16

Row = dict[str, Any]


class ShardStore:
    """Shards under `root/<stage>/`. Every `write_…` returns the shard's name and its SHA-256.

    Every `read_…` gives what the shards hold of the `wanted` samples, one shard in memory at a time, and
    raises LedgerCorrupt, naming the shard, for one that is gone or damaged.
    """

    def __init__(self, root: Path, *, emit: Emit = silent) -> None:
        self._root = root
        self._emit = emit

    def path(self, name: str) -> Path:
        return self._root / name

    def write_proposals(self, fingerprint: str, rows: Mapping[str, Sequence[Proposal]]) -> tuple[str, str]:
        flat = [
            {
                "sample_id": sample_id,
                "position": position,
                "label": item.label,
                "confidence": item.confidence,
                "class_probs": None if item.class_probs is None else list(item.class_probs),
                **dict(zip(("x1", "y1", "x2", "y2"), item.box, strict=True)),
                **_mask_columns(item.mask),
            }
            for sample_id, items in rows.items()
            for position, item in enumerate(items)
        ]
        return self._write("propose", fingerprint, rows, flat)

    def read_proposals(
        self, names: Sequence[str], wanted: Collection[str]
    ) -> Iterator[tuple[str, list[Proposal]]]:
        for sample_id, rows in self._read(names, wanted):
            yield sample_id, [_proposal(row) for row in rows]

    def write_predictions(
        self, fingerprint: str, rows: Mapping[str, Sequence[MaskPrediction | None]]
    ) -> tuple[str, str]:
        """Logits are not kept: encodings give them again."""
        flat = [
            {
                "sample_id": sample_id,
                "position": position,
                "predicted_iou": None if item is None else item.predicted_iou,
                "stability": None if item is None else item.stability,
                **_mask_columns(None if item is None else item.mask),
            }
            for sample_id, items in rows.items()
            for position, item in enumerate(items)
        ]
        return self._write("segment", fingerprint, rows, flat)

    def read_predictions(
        self, names: Sequence[str], wanted: Collection[str]
    ) -> Iterator[tuple[str, list[MaskPrediction | None]]]:
        for sample_id, rows in self._read(names, wanted):
            yield sample_id, [_prediction(row) for row in rows]

    def write_scores(self, fingerprint: str, rows: Mapping[str, Uncertainty]) -> tuple[str, str]:
        flat = [
            {
                "sample_id": sample_id,
                "position": 0,
                "value": item.value,
                "instances": item.instances,
                "parts": json.dumps(dict(item.parts), sort_keys=True),
            }
            for sample_id, item in rows.items()
        ]
        return self._write("score", fingerprint, rows, flat)

    def read_scores(self, names: Sequence[str], wanted: Collection[str]) -> Iterator[tuple[str, Uncertainty]]:
        for sample_id, (row,) in self._read(names, wanted):
            yield sample_id, Uncertainty(sample_id, row["value"], json.loads(row["parts"]), row["instances"])

    def write_embeddings(self, fingerprint: str, rows: Mapping[str, npt.NDArray[np.float32]]) -> tuple[str, str]:
        flat = [
            {"sample_id": sample_id, "position": 0, "embedding": item.astype(np.float32).tolist()}
            for sample_id, item in rows.items()
        ]
        return self._write("embed", fingerprint, rows, flat)

    def read_embeddings(
        self, names: Sequence[str], wanted: Collection[str]
    ) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        for sample_id, (row,) in self._read(names, wanted):
            yield sample_id, np.asarray(row["embedding"], dtype=np.float32)

    def _write(
        self, stage: str, fingerprint: str, rows: Mapping[str, object], flat: Sequence[Row]
    ) -> tuple[str, str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        seen = {row["sample_id"] for row in flat}
        empty = [{"sample_id": sample_id, "position": None} for sample_id in rows if sample_id not in seen]
        schema = pa.schema([(column, _arrow_type(kind)) for column, kind in _COLUMNS[stage].items()])
        ordered = sorted([*flat, *empty], key=lambda row: (row["sample_id"], row["position"] or 0))
        table = pa.Table.from_pylist(ordered, schema=schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", write_statistics=False)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        # Parquet does not notice every changed byte: the name says what the bytes must be.
        name = f"{stage}/{fingerprint[:16]}-{digest[:_DIGITS]}.parquet"
        atomic_write(self.path(name), buffer.getvalue(), emit=self._emit)
        return name, digest

    def _read(self, names: Sequence[str], wanted: Collection[str]) -> Iterator[tuple[str, list[Row]]]:
        import pyarrow.parquet as pq

        for name in names:
            rows = pq.read_table(io.BytesIO(self._whole(name))).to_pylist()
            for sample_id, group in groupby(rows, key=lambda row: row["sample_id"]):
                if sample_id in wanted:
                    yield sample_id, [row for row in group if row["position"] is not None]

    def _whole(self, name: str) -> bytes:
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise LedgerCorrupt(f"shard {path} cannot be read: {exc.strerror}") from exc
        if hashlib.sha256(data).hexdigest()[:_DIGITS] != path.stem[-_DIGITS:]:
            raise LedgerCorrupt(f"shard {path} is damaged: its bytes have another hash than its name")
        return data


_MASK = {"counts": "binary", "height": "int32", "width": "int32"}
_KEY = {"sample_id": "string", "position": "int32"}
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "propose": {
        **_KEY,
        "label": "string",
        "confidence": "float64",
        "class_probs": "list of float64",
        **dict.fromkeys(("x1", "y1", "x2", "y2"), "float64"),
        **_MASK,
    },
    "segment": {**_KEY, "predicted_iou": "float64", "stability": "float64", **_MASK},
    "score": {**_KEY, "value": "float64", "instances": "int32", "parts": "string"},
    "embed": {**_KEY, "embedding": "list of float32"},
}
"""Column -> the name of its Arrow type."""


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    inner = kind.removeprefix("list of ")
    plain = getattr(pa, inner)()
    return plain if inner == kind else pa.list_(plain)


def _mask_columns(mask: Mask | None) -> Row:
    if mask is None:
        return {"counts": None, "height": None, "width": None}
    return {"counts": mask.counts, "height": mask.size_hw[0], "width": mask.size_hw[1]}


def _mask(row: Row) -> Mask | None:
    return None if row["counts"] is None else Mask(row["counts"], (row["height"], row["width"]))


def _proposal(row: Row) -> Proposal:
    probs = row["class_probs"]
    box = Box(row["x1"], row["y1"], row["x2"], row["y2"])
    return Proposal(box, row["label"], row["confidence"], None if probs is None else tuple(probs), _mask(row))


def _prediction(row: Row) -> MaskPrediction | None:
    mask = _mask(row)
    return None if mask is None else MaskPrediction(mask, row["predicted_iou"], row["stability"])
