"""The parts of `benchmarks.fuzz` without a server: brush codes, rows of regions and labelling configurations, damaged.

A part holds if each attempt was either read or refused with a DataError, none took long, and memory did not grow.
What is read of a small brush code is compared with a plain reading, bit by bit, that knows nothing of arrays.
"""

from __future__ import annotations

import copy
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.brush_rle import smooth
from connectors.label_studio.convert import Region, brush_row, polygon_rows, read_regions
from connectors.label_studio.labeling_config import labeling_config, read_config
from connectors.label_studio.rle import decode_rle, encode_rle
from pipeline.domain.mask import Mask
from pipeline.errors import DataError

__all__ = ["brush_codes", "configurations", "regions"]

MOST_MIB = 64.0
SLOWEST_S = 2.0
"""Of one attempt, on a busy machine; what hangs or is cubic takes longer."""

_SIZES = ((1, 1), (7, 5), (24, 32), (64, 64), (150, 200))
_COMPARED_PX = 1000
_ODD: tuple[Any, ...] = (None, True, -1, 256, 1.5, 10**400, float("nan"), 1e308, "", "7", [], {}, [[]], "\0\ud800")
"""What JSON can hold where something else was expected."""


def brush_codes(number: int, seed: int) -> dict[str, Any]:
    """Codes of masks, and of any records in any widths, with bits turned, bytes cut, doubled and exchanged.

    One in eight is left whole.
    """
    rng = np.random.default_rng(seed)
    whole = [(size_hw, encode_rle(alpha)) for size_hw in _SIZES for alpha in _alphas(size_hw, rng)]

    def attempts() -> Iterator[Callable[[], object]]:
        for _ in range(number):
            size_hw, code = whole[rng.integers(len(whole))]
            if rng.random() < 0.25:
                size_hw = _SIZES[rng.integers(3)]
                code = _any_records(size_hw, rng)
            _, other = whole[rng.integers(len(whole))]
            damaged = code if rng.random() < 0.125 else _damaged(bytearray(code), other, rng)
            small = size_hw[0] * size_hw[1] <= _COMPARED_PX
            yield partial(_read_both_ways if small else decode_rle, damaged, size_hw)

    return _tried(attempts())


def regions(number: int, seed: int) -> dict[str, Any]:
    """Rows as the editor writes them, with odd values in one to three places."""
    rng = np.random.default_rng(seed)
    size_hw = (24, 32)
    rows = _rows(size_hw)

    def attempts() -> Iterator[Callable[[], object]]:
        for _ in range(number):
            row = copy.deepcopy(rows[rng.integers(len(rows))])
            for _ in range(rng.integers(1, 4)):
                _spoil(row, rng)
            yield partial(_shown, read_regions, [row], size_hw)

    return _tried(attempts())


def configurations(number: int, seed: int) -> dict[str, Any]:
    """Configurations with characters exchanged, cut and doubled, and declarations before them."""
    rng = np.random.default_rng(seed)
    whole = labeling_config(["car", "<&>", "ü"])
    parts = ("<", ">", '"', "&a;", "<!DOCTYPE x [<!ENTITY a 'aaaa'>]>", "<Image/>", "<View>", "\0", "$", "<!--")

    def attempts() -> Iterator[Callable[[], object]]:
        for _ in range(number):
            text = whole
            for _ in range(rng.integers(1, 5)):
                start, end = sorted(int(one) for one in rng.integers(0, len(text) + 1, 2))
                end = min(end, start + int(rng.integers(0, 30)))
                text = text[:start] + parts[rng.integers(len(parts))] * int(rng.integers(0, 3)) + text[end:]
            yield partial(_shown, read_config, text)

    return _tried(attempts())


def _tried(attempts: Iterator[Callable[[], object]]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    slowest_s = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for attempt in attempts:
        start = time.perf_counter()
        try:
            attempt()
        except DataError:
            counts["refused"] += 1
        except Exception as exc:  # noqa: BLE001  any other is what is looked for
            faults[f"{type(exc).__name__}: {exc}"[:120]] += 1
        else:
            counts["read"] += 1
        slowest_s = max(slowest_s, time.perf_counter() - start)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "tried": counts.total() + faults.total(),
        **counts,
        "faults": dict(faults.most_common(10)),
        "slowest_ms": round(1000 * slowest_s, 1),
        "memory_grew_mib": round(grown_mib, 1),
        "held": not faults and slowest_s < SLOWEST_S and grown_mib < MOST_MIB,
    }


def _shown(read: Callable[..., object], *given: object) -> str:
    """Also what is read must be fit to be shown."""
    return repr(read(*given))


def _alphas(size_hw: tuple[int, int], rng: np.random.Generator) -> list[npt.NDArray[Any]]:
    soft = (smooth(size_hw, 4) * 200.0 + rng.integers(0, 50, size_hw)).astype(np.uint8)
    noise = rng.random(size_hw) < 0.5
    return [smooth(size_hw, 3), noise, soft, np.ones(size_hw, np.bool_), np.zeros(size_hw, np.bool_)]


def _any_records(size_hw: tuple[int, int], rng: np.random.Generator) -> bytes:
    """A good code that no encoder writes: widths from 1 to 16, repeated and single values in any order."""
    left = size_hw[0] * size_hw[1] * 4
    widths = rng.integers(1, 17, 4)
    bits = [f"{left:032b}00111", *(f"{width - 1:04b}" for width in widths)]
    while left:
        choice, repeated = int(rng.integers(4)), int(rng.integers(2))
        count = int(rng.integers(1, min(left, 2 ** int(widths[choice]), 300) + 1))
        values = rng.integers(0, 256, 1 if repeated else count)
        bits += [f"{repeated}{choice:02b}{count - 1:0{widths[choice]}b}", *(f"{value:08b}" for value in values)]
        left -= count
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _damaged(code: bytearray, other: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        place, way = int(rng.integers(len(code) + 1)), rng.integers(16)
        if way == 0:
            del code[place:]
        elif way == 1:
            del code[place : place + int(rng.integers(1, 9))]
        elif way == 2:
            code[place:place] = rng.bytes(int(rng.integers(1, 9)))
        elif way == 3:
            code[place:place] = other[: int(rng.integers(1, 400))]
        elif way == 4:
            code[:7] = rng.bytes(7)
        elif way == 5:
            code[4:7] = rng.bytes(3)
        elif place < len(code):
            code[place] ^= 1 << int(rng.integers(8))
    return bytes(code)


def _read_both_ways(code: bytes, size_hw: tuple[int, int]) -> None:
    """Raises DataError for what neither way reads, ValueError where they differ."""
    plain = _plain(code, size_hw)
    try:
        alpha = decode_rle(code, size_hw)
    except DataError as exc:
        if plain is not None:
            raise ValueError("refused, and could be read") from exc
        raise
    if plain != alpha.reshape(-1).tolist():
        raise ValueError("read, and not as it says")


def _plain(code: bytes, size_hw: tuple[int, int]) -> list[int] | None:
    """Every fourth value as the format says, one record after the other; None for no such code."""
    elements = size_hw[0] * size_hw[1] * 4
    bits, size = int.from_bytes(code, "big"), len(code) * 8
    if size < 56 or size > 53 + 27 * elements + 16:
        return None
    text = f"{bits:0{size}b}"
    if int(text[:32], 2) != elements or text[32:37] != "00111":
        return None
    widths = [int(text[start : start + 4], 2) + 1 for start in (37, 41, 45, 49)]
    here, values = 53, bytearray()
    while len(values) < elements:
        record = text[here : here + 3]
        width = widths[int(record[1:] or "0", 2)]
        count = int(text[here + 3 : here + 3 + width] or "0", 2) + 1
        here += 3 + width
        own = 1 if record.startswith("1") else count
        if here + 8 * own > size or len(values) + count > elements:
            return None
        part = bytes(int(text[start : start + 8], 2) for start in range(here, here + 8 * own, 8))
        values += part * (count if record.startswith("1") else 1)
        here += 8 * own
    return list(values[3::4])


def _rows(size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    tags = read_config(labeling_config(["car", "dog"]))
    mask = Mask.from_bitmap(smooth(size_hw, 3))
    region = Region("r1", "car", "brush", mask, score=0.5)
    point = {"x": 5.5, "y": 50, "width": 0.25, "labels": ["car"], "keypointlabels": ["car"]}
    box = {"x": 5.5, "y": 50, "width": 20, "height": 9, "rotation": 30, "rectanglelabels": ["dog"]}
    frame = {"original_width": size_hw[1], "original_height": size_hw[0], "image_rotation": 0}
    return [
        brush_row(region, tags),
        *polygon_rows(region, tags),
        {"id": "k", "type": "keypointlabels", "is_positive": False, "value": point, **frame},
        {"id": "b", "type": "rectanglelabels", "value": box, **frame},
    ]


def _spoil(node: Any, rng: np.random.Generator) -> None:
    """One place, at any depth, gets something odd or goes."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = keys[rng.integers(len(keys))]
    if isinstance(node[key], (dict, list)) and rng.random() < 0.7:
        _spoil(node[key], rng)
    elif rng.random() < 0.2:
        del node[key]
    else:
        node[key] = copy.deepcopy(_ODD[rng.integers(len(_ODD))])
