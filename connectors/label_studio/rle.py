"""Brush masks as Label Studio keeps them: RGBA pixels, row by row, in a run-length code of bits.

The format is that of thi.ng's rle-pack, which Label Studio's editor reads and writes: 32 bits with the number of
elements (height x width x 4), 5 bits with the word size less one (8), four times 4 bits with the widths, less one, in
which lengths are written (3, 4, 8, 16); then records. A record is one bit (1: one value repeated, 0: that many single
values), two bits that choose a width, the length less one in that width, and the value or values. A mask is the alpha
channel; an eraser leaves values between 0 and 255 along its edge.

Both ways are computed on whole arrays: of records there may be a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.domain.geometry import SizeHW
from pipeline.domain.mask import Mask
from pipeline.errors import BadFormat, ShapeMismatch

__all__ = ["decode_rle", "encode_rle", "mask_of_rle"]

_CHANNELS = 4
_WORD = 8
_WIDTHS = np.array([3, 4, 8, 16])
_HEADER_BITS = 32 + 5 + 4 * 4
_LONGEST = 2**16
_CHUNK = 2**16
"""Bytes whose records are looked for at once: what bounds the memory."""

_MOST_BITS = 3 + 16 + _WORD
"""Of a record for one element: no code spends more on any."""

_Ints = npt.NDArray[np.int64]


def encode_rle(bitmap: npt.NDArray[Any]) -> bytes:
    """`(h, w)` of bool, or of uint8 as alpha, as Label Studio's own encoder writes it, byte for byte.

    Every channel holds the value, so that no run is shorter than four. Raises ShapeMismatch for another shape, an
    empty one, one of 2**30 pixels or more, whose number the format cannot hold, or another type.
    """
    if bitmap.size * _CHANNELS >= 2**32:
        raise ShapeMismatch(f"a brush mask cannot have {bitmap.size} pixels, only fewer than {2**30}")
    if bitmap.ndim != 2 or bitmap.size == 0 or bitmap.dtype not in (np.bool_, np.uint8):
        raise ShapeMismatch(f"a brush mask is bool or uint8 (h, w), not {bitmap.dtype} {bitmap.shape}")
    flat = np.ascontiguousarray(bitmap).reshape(-1)
    if bitmap.dtype == np.bool_:
        flat = flat.view(np.uint8) * np.uint8(255)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths = np.diff(ends, prepend=0) * _CHANNELS
    values = flat[ends - 1].astype(np.int64)
    if lengths.max() > _LONGEST:
        lengths, values, was_long = _split(lengths, values)
    else:
        was_long = np.zeros(lengths.size, dtype=np.bool_)
    return _packed(flat.size * _CHANNELS, lengths, values, was_long)


def decode_rle(rle: Sequence[int] | bytes, size_hw: SizeHW) -> npt.NDArray[np.uint8]:
    """The alpha channel, `uint8 (h, w)`, of an image of `size_hw`.

    Nothing larger than the code itself is allocated before its number of elements was found to be that of the image,
    and nothing at all for a code longer than any of that image. What follows the last element is not looked at.
    Raises ShapeMismatch for a mask of another size, BadFormat for anything that is no such code.
    """
    data = _bytes_of(rle)
    if data.size < 7:
        raise BadFormat(f"a brush mask of {data.size} bytes is too short")
    header = int.from_bytes(data[:7].tobytes(), "big") >> (56 - _HEADER_BITS)
    elements, word = header >> 21, (header >> 16 & 31) + 1
    widths = np.array([(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)])
    if word != _WORD:
        raise BadFormat(f"a brush mask has words of {word} bits; Label Studio's have 8")
    if elements != size_hw[0] * size_hw[1] * _CHANNELS:
        raise ShapeMismatch(
            f"a brush mask holds {elements} values, an image of height x width {size_hw} has "
            f"{size_hw[0] * size_hw[1] * _CHANNELS}"
        )
    if data.size * 8 > _HEADER_BITS + elements * _MOST_BITS + 16:
        raise BadFormat(f"a brush mask of {elements} values has {data.size} bytes: no code is that long")
    padded = np.concatenate([data, np.zeros(8, dtype=np.uint8)])
    starts = _starts(padded, data.size * 8, widths)
    repeated, lengths, bodies = _records(padded, starts, widths)
    used = int(np.searchsorted(np.cumsum(lengths), elements)) + 1
    ends = bodies + np.where(repeated, 1, lengths) * _WORD
    if used > lengths.size or ends[used - 1] > data.size * 8:
        raise BadFormat(f"a brush mask of {elements} values ends in the middle")
    if int(lengths[:used].sum()) != elements:
        raise BadFormat("the last run of a brush mask is longer than the image")
    return _alpha(padded, repeated[:used], lengths[:used], bodies[:used]).reshape(size_hw)


def mask_of_rle(rle: Sequence[int] | bytes, size_hw: SizeHW) -> Mask:
    """The pixels whose alpha is over 127. Raises as `decode_rle`."""
    return Mask.from_bitmap(decode_rle(rle, size_hw) > 127)


def _split(lengths: _Ints, values: _Ints) -> tuple[_Ints, _Ints, npt.NDArray[np.bool_]]:
    """Runs over the longest length as several; and which came of such a one: all of those take the longest width."""
    pieces = -(-lengths // _LONGEST)
    long = np.repeat(lengths > 256, pieces)
    split = np.full(int(pieces.sum()), _LONGEST)
    split[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    return split, np.repeat(values, pieces), long


def _packed(elements: int, lengths: _Ints, values: _Ints, was_long: npt.NDArray[np.bool_]) -> bytes:
    """Header and records as bytes. A code that fills its last byte is followed by an empty one."""
    choice = np.where(was_long, 3, np.searchsorted([8, 16, 256], lengths))
    width = _WIDTHS[choice]
    codes = ((4 + choice) << width | (lengths - 1)) << _WORD | values
    bits = 3 + width + _WORD
    ends = _HEADER_BITS + np.cumsum(bits)
    header = (
        elements << 21 | (_WORD - 1) << 16 | sum((int(one) - 1) << (12 - 4 * k) for k, one in enumerate(_WIDTHS))
    )
    out = np.zeros(int(ends[-1]) // 8 + 1, dtype=np.float64)
    # A record has 27 bits at most: with those before it in its first byte it touches five bytes. No two share a bit,
    # so that sums join them; sums of bytes are exact in float64.
    starts = ends - bits
    first, aligned = starts // 8, codes << (40 - starts % 8 - bits)
    for place in range(5):
        part = aligned >> (32 - 8 * place) & 255
        out += np.bincount(np.minimum(first + place, out.size - 1), weights=part, minlength=out.size)
    for place, byte in enumerate((header << 3).to_bytes(7, "big")):
        out[place] += byte
    return out.astype(np.uint8).tobytes()


def _bytes_of(rle: Sequence[int] | bytes) -> npt.NDArray[np.uint8]:
    """Raises BadFormat for anything but whole numbers from 0 to 255."""
    if isinstance(rle, bytes):
        return np.frombuffer(rle, dtype=np.uint8)
    try:
        return np.frombuffer(bytes(rle), dtype=np.uint8)
    except (TypeError, ValueError) as exc:
        raise BadFormat("a brush mask is a list of whole numbers from 0 to 255") from exc


def _starts(padded: npt.NDArray[np.uint8], bits: int, widths: _Ints) -> _Ints:
    """The bits at which records begin, up to the end of the code.

    Where one begins is known only from the one before: so the length of a record at every bit is computed first,
    whether one begins there or not, and the chain followed then.
    """
    found: list[int] = []
    here = _HEADER_BITS
    while here < bits:
        low = here // 8
        window = _windows(padded[low : low + _CHUNK + 8])
        after = _lengths(window, widths).tolist()
        offset, end = low * 8, min(bits, (low + _CHUNK) * 8)
        while here < end:
            found.append(here)
            here += after[here - offset]
    return np.array(found, dtype=np.int64)


def _windows(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """The 24 bits from every bit on but those of the last three bytes."""
    wide = data.astype(np.int64)
    four = wide[:-3] << 24 | wide[1:-2] << 16 | wide[2:-1] << 8 | wide[3:]
    return (four[:, None] >> (8 - np.arange(8)) & 0xFFFFFF).astype(np.int32).reshape(-1)


def _lengths(window: npt.NDArray[np.int32], widths: _Ints) -> npt.NDArray[np.int32]:
    """How many bits a record has that begins with each window."""
    width = widths.astype(np.int32)[window >> 21 & 3]
    count = (window >> (21 - width) & ((1 << width) - 1)) + 1
    return np.where(window >> 23, 3 + width + _WORD, 3 + width + count * _WORD).astype(np.int32)


def _records(
    padded: npt.NDArray[np.uint8], starts: _Ints, widths: _Ints
) -> tuple[npt.NDArray[np.bool_], _Ints, _Ints]:
    """Of every record: whether its value is repeated, how many values it gives, and the bit of the first."""
    window = _bits_at(padded, starts, 24)
    width = widths[window >> 21 & 3]
    lengths = (window >> (21 - width) & ((1 << width) - 1)) + 1
    return (window >> 23).astype(np.bool_), lengths, starts + 3 + width


def _bits_at(padded: npt.NDArray[np.uint8], positions: _Ints, count: int) -> _Ints:
    """`count` bits, 24 or fewer, from each position on; past the end there are zeros."""
    first = np.minimum(positions // 8, padded.size - 4)
    wide = sum(padded[first + place].astype(np.int64) << (24 - 8 * place) for place in range(4))
    return np.asarray(wide >> (32 - count - positions % 8) & ((1 << count) - 1), dtype=np.int64)


def _alpha(
    padded: npt.NDArray[np.uint8], repeated: npt.NDArray[np.bool_], lengths: _Ints, bodies: _Ints
) -> npt.NDArray[np.uint8]:
    """Every fourth value, the first the fourth: of a record from element s to e those of pixels s // 4 to e // 4."""
    if not repeated.all():
        # Single values become runs of one.
        counts = np.where(repeated, 1, lengths)
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        bodies = np.repeat(bodies, counts) + within * _WORD
        lengths = np.where(np.repeat(repeated, counts), np.repeat(lengths, counts), 1)
    ends = np.cumsum(lengths) // _CHANNELS
    return np.repeat(_bits_at(padded, bodies, _WORD).astype(np.uint8), np.diff(ends, prepend=0))
