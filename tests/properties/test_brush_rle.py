"""Brush codes: exact both ways, equal to Label Studio's own, and no input breaks the reader."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from connectors.label_studio.rle import decode_rle, encode_rle, mask_of_rle
from pipeline.domain.mask import Mask
from pipeline.errors import BadFormat, DataError, ShapeMismatch
from tests.fakes.sdk import ask_sdk

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "label_studio" / "brush.json"

bitmaps = stn.arrays(np.bool_, stn.array_shapes(min_dims=2, max_dims=2, max_side=40))
alphas = stn.arrays(np.uint8, stn.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 255))


def smooth(height: int, width: int, seed: int) -> npt.NDArray[np.bool_]:
    """Blobs with holes and parts."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    waves = sum(np.sin(xs / width * a + ys / height * b + c) for a, b, c in rng.uniform(-12, 12, (6, 3)))
    return np.asarray(waves > 0.8)


def shapes() -> list[npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(5)
    plain = [np.zeros((3, 5), bool), np.ones((3, 5), bool), np.ones((1, 1), bool), np.ones((128, 128), bool)]
    long = [np.ones((128, 256), bool), np.ones((300, 700), bool), np.zeros((257, 256), bool)]
    noise = [rng.random((int(h), int(w))) < p for h, w, p in rng.uniform((1, 1, 0), (40, 40, 1), (60, 3))]
    return [*plain, *long, *noise, smooth(200, 300, 1), smooth(333, 97, 2)]


@given(bitmaps)
def test_every_bitmap_comes_back(bitmap: npt.NDArray[np.bool_]) -> None:
    assert np.array_equal(decode_rle(encode_rle(bitmap), bitmap.shape) > 127, bitmap)
    assert mask_of_rle(list(encode_rle(bitmap)), bitmap.shape) == Mask.from_bitmap(bitmap)


@given(alphas)
def test_every_alpha_comes_back(alpha: npt.NDArray[np.uint8]) -> None:
    assert np.array_equal(decode_rle(encode_rle(alpha), alpha.shape), alpha)


def test_codes_are_those_of_the_editors_own_kit() -> None:
    masks = shapes()
    theirs = ask_sdk([("encode", (mask.astype(np.uint8) * 255).tolist()) for mask in masks])
    for mask, code in zip(masks, theirs, strict=True):
        assert list(encode_rle(mask)) == code


def test_what_the_kit_writes_is_read_as_the_kit_reads_it() -> None:
    """Also channels that differ, single values, and what an eraser leaves."""
    rng = np.random.default_rng(6)
    sizes = rng.integers((1, 1, 2), (20, 20, 256), (60, 3))
    pixels = [rng.integers(0, top, (int(h), int(w), 4), dtype=np.uint8) for h, w, top in sizes]
    codes = ask_sdk([("encode_flat", one.reshape(-1).tolist()) for one in pixels])
    for one, code in zip(pixels, codes, strict=True):
        assert np.array_equal(decode_rle(code, one.shape[:2]), one[..., 3])


def test_golden_codes() -> None:
    """Made with the kit, so that they are held where it is not installed."""
    for case in json.loads(GOLDEN.read_text()):
        height, width = case["size_hw"]
        bitmap = smooth(height, width, case["seed"])
        assert encode_rle(bitmap).hex() == case["code"]
        assert np.array_equal(decode_rle(bytes.fromhex(case["code"]), bitmap.shape) > 127, bitmap)


def literal(values: list[int], widths: tuple[int, ...] = (3, 4, 8, 16), choice: int = 0) -> bytes:
    """Records of single values, which the editor itself writes: the kit has only records of one."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in widths)
    most = 2 ** widths[choice]
    for start in range(0, len(values), most):
        part = values[start : start + most]
        bits += f"0{choice:02b}" + f"{len(part) - 1:0{widths[choice]}b}" + "".join(f"{one:08b}" for one in part)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@given(st.lists(st.integers(0, 255), min_size=4, max_size=400), st.integers(0, 3))
def test_records_of_many_single_values_are_read(values: list[int], choice: int) -> None:
    values = values[: len(values) // 4 * 4]
    code = literal(values, choice=choice)
    assert decode_rle(code, (1, len(values) // 4)).tolist() == [values[3::4]]


def test_codes_longer_than_a_chunk_are_read() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (300, 400), dtype=np.uint8)
    code = encode_rle(noise)
    assert len(code) > 3 * 2**16
    assert np.array_equal(decode_rle(code, noise.shape), noise)


@given(st.binary(max_size=200), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_anything_is_read_or_refused(code: bytes, size_hw: tuple[int, int]) -> None:
    with contextlib.suppress(BadFormat, ShapeMismatch):
        assert decode_rle(code, size_hw).shape == size_hw


@given(bitmaps, st.data())
def test_a_damaged_code_is_read_or_refused(bitmap: npt.NDArray[np.bool_], data: st.DataObject) -> None:
    code = bytearray(encode_rle(bitmap))
    for _ in range(data.draw(st.integers(1, 4))):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(code)))
    for one in (bytes(code), bytes(code[:cut])):
        with contextlib.suppress(BadFormat, ShapeMismatch):
            assert decode_rle(one, bitmap.shape).shape == bitmap.shape


def test_the_number_of_values_is_checked_before_anything_is_made() -> None:
    bomb = (2**32 - 1).to_bytes(4, "big") + encode_rle(np.ones((64, 64), bool))[4:] * 500
    with pytest.raises(ShapeMismatch, match="4294967295 values"):
        decode_rle(bomb, (64, 64))


def test_a_code_longer_than_any_of_its_image_is_refused() -> None:
    code = encode_rle(np.ones((2, 2), bool))
    assert decode_rle(code + bytes(40), (2, 2)).all()
    with pytest.raises(BadFormat, match="no code is that long"):
        decode_rle(code + bytes(100), (2, 2))


def test_the_longest_code_of_an_image_is_read() -> None:
    """Every element a record of its own, its length written in 16 bits."""
    values = np.random.default_rng(8).integers(0, 256, 4 * 30).tolist()
    bits = f"{len(values):032b}{7:05b}0010001101111111" + "".join(
        f"0110000000000000000{one:08b}" for one in values
    )
    bits += "0" * (-len(bits) % 8)
    code = int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert decode_rle(code, (5, 6)).reshape(-1).tolist() == values[3::4]


def test_more_pixels_than_the_format_counts_are_refused() -> None:
    wide = np.broadcast_to(np.zeros(1, dtype=bool), (2**15, 2**15))
    with pytest.raises(ShapeMismatch, match="1073741824 pixels"):
        encode_rle(wide)


@pytest.mark.parametrize("code", [[], [1, 2], "text", [1.5] * 20, [300] * 20, [-1] * 20, [None] * 20, {"a": 1}])
def test_what_is_no_list_of_bytes_is_refused(code: object) -> None:
    with pytest.raises(DataError, match="brush mask"):
        decode_rle(code, (4, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", [7, 8, 10])
def test_a_code_that_ends_early_is_refused(cut: int) -> None:
    code = encode_rle(smooth(40, 40, 3))
    with pytest.raises(BadFormat, match="ends in the middle"):
        decode_rle(code[:cut], (40, 40))


def test_a_last_run_beyond_the_image_is_refused() -> None:
    code = (16).to_bytes(4, "big") + encode_rle(np.ones((2, 4), bool))[4:]
    with pytest.raises(BadFormat, match="longer than the image"):
        decode_rle(code, (2, 2))


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2), bool), np.zeros((0, 4), bool), np.zeros((2, 2), np.float32)]
)
def test_only_bitmaps_and_alphas_are_written(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(ShapeMismatch, match="brush mask is bool or uint8"):
        encode_rle(array)
