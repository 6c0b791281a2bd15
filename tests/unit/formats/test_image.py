"""The canonical frame: what becomes of every kind of pixel, and when a copy is needed."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.domain.geometry import Image
from pipeline.errors import ImageUnreadable
from pipeline.formats.image import png_bytes, read_frame, read_image

RNG = np.random.default_rng(3)
PIXELS: Image = cv2.GaussianBlur(RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8), (5, 5), 0).astype(np.uint8)


def write(path: Path, image: Pillow.Image, kind: str, **options: Any) -> Path:
    image.save(path, kind, **options)
    return path


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG", "WEBP"])
def test_plain_files_are_canonical_as_they_are(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.any", Pillow.fromarray(PIXELS), kind)
    decoded = read_image(path)
    assert decoded.canonical
    assert decoded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert decoded.image.dtype == np.uint8
    assert decoded.image.flags.c_contiguous
    reference = cv2.imread(str(path))
    assert reference is not None
    assert np.array_equal(decoded.image[:, :, ::-1], reference)
    assert np.array_equal(decoded.image, read_frame(path))
    if kind not in {"JPEG", "WEBP"}:
        assert np.array_equal(decoded.image, PIXELS)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied_once_and_kept_as_a_copy(orientation: int, tmp_path: Path) -> None:
    """A dark corner goes where the orientation sends it."""
    pixels = np.full((40, 56, 3), 250, dtype=np.uint8)
    pixels[:10, :10] = 0
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    decoded = read_image(write(tmp_path / "x.jpg", Pillow.fromarray(pixels), "JPEG", exif=exif))
    assert not decoded.canonical
    corner = {2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[orientation]
    assert decoded.image.shape[:2] == ((40, 56) if orientation < 5 else (56, 40))
    corners = {(row, column): int(decoded.image[row, column, 0]) for row in (0, -1) for column in (0, -1)}
    assert min(corners, key=lambda place: corners[place]) == corner
    copy = tmp_path / "copy.png"
    copy.write_bytes(png_bytes(decoded.image))
    again = read_image(copy)
    assert again.canonical
    assert np.array_equal(again.image, decoded.image)


def test_sixteen_bits_keep_their_high_byte(tmp_path: Path) -> None:
    grey = (PIXELS[:, :, 0].astype(np.uint16) << 8) + 77
    colour = (PIXELS.astype(np.uint16) << 8) + 200
    for name, array in (("grey.png", grey), ("grey.tif", grey), ("colour.png", colour), ("colour.tif", colour)):
        path = tmp_path / name
        assert cv2.imwrite(str(path), array if array.ndim == 2 else array[:, :, ::-1])
        wanted = PIXELS[:, :, :1].repeat(3, axis=2) if array.ndim == 2 else PIXELS
        assert np.array_equal(read_image(path).image, wanted), name


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((40, 56), dtype=np.uint8)
    alpha[:, :20] = 255
    alpha[:, 20:30] = 128
    rgba = Pillow.fromarray(np.dstack([np.zeros((40, 56, 3), np.uint8), alpha]))
    decoded = read_image(write(tmp_path / "x.png", rgba, "PNG"))
    assert decoded.image[0, [0, 25, 50], 0].tolist() == [0, 127, 255]
    assert not decoded.canonical


def test_a_channel_that_hides_nothing_needs_no_copy(tmp_path: Path) -> None:
    opaque = Pillow.fromarray(PIXELS).convert("RGBA")
    decoded = read_image(write(tmp_path / "x.png", opaque, "PNG"))
    assert decoded.canonical
    assert np.array_equal(decoded.image, PIXELS)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK"])
def test_every_mode_becomes_three_channels(mode: str, tmp_path: Path) -> None:
    source = Pillow.fromarray(PIXELS).convert(mode)
    decoded = read_image(write(tmp_path / "x.tif", source, "TIFF"))
    assert decoded.image.shape == (40, 56, 3)
    assert np.array_equal(decoded.image, np.asarray(source.convert("RGB")))


def test_png_bytes_are_the_same_every_time_and_lossless() -> None:
    first = png_bytes(PIXELS)
    assert first == png_bytes(PIXELS.copy())
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(first))), PIXELS)


def test_the_pixel_limit_is_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", Pillow.fromarray(PIXELS), "PNG")
    assert read_image(path, max_pixels=40 * 56).image.shape == (40, 56, 3)
    with pytest.raises(ImageUnreadable, match="more than the limit of 2,239"):
        read_image(path, max_pixels=40 * 56 - 1)


def test_a_file_too_large_for_any_image_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        file.truncate(2 * 10**9)
    with pytest.raises(ImageUnreadable, match="more than any image may have"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # decoders warn of what a flipped bit may do
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG", "WEBP"])
def test_flipped_bits_never_escape_as_foreign_errors(kind: str, tmp_path: Path) -> None:
    good = io.BytesIO()
    Pillow.fromarray(PIXELS).save(good, kind)
    rng = np.random.default_rng(11)
    path = tmp_path / "x"
    for _ in range(150):
        data = bytearray(good.getvalue())
        for place in rng.integers(0, min(len(data), 400), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(ImageUnreadable):
            assert read_image(path).image.ndim == 3


def test_a_frame_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable, match="can no longer be read"):
        read_frame(tmp_path / "gone.png")
    (tmp_path / "x.png").write_bytes(b"no longer")
    with pytest.raises(ImageUnreadable, match="no longer an image"):
        read_frame(tmp_path / "x.png")


def test_a_frame_of_other_bytes_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(np.zeros((9, 9, 3), np.uint8)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_frame(path, sha256=digest).shape == (9, 9, 3)
    path.write_bytes(png_bytes(np.ones((9, 9, 3), np.uint8)))
    with pytest.raises(ImageUnreadable, match="has changed"):
        read_frame(path, sha256=digest)
