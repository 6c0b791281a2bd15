"""Image files into the one canonical frame: `uint8 (h, w, 3)` RGB, upright, C-contiguous.

Grey becomes three equal channels, palettes are resolved, CMYK is converted without a colour profile,
transparent pixels are laid over white, and 16-bit values keep their high byte, so the full range stays the
full range. What has no defined range (floats, 32-bit integers) or several pictures in it is refused.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import BmpImagePlugin, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from pipeline.domain.geometry import Image
from pipeline.errors import ImageUnreadable

__all__ = ["MIN_SIDE_PX", "Decoded", "decode_image", "png_bytes", "read_frame", "read_image"]

MIN_SIDE_PX = 8
"""Smaller pictures hold nothing that could be outlined: tracking pixels, icons, damage."""

_Open = Callable[[io.BytesIO], Pillow.Image]

# Pillow's own `open` would try every format it has, and judge the size by a limit that is not ours.
_OPENERS: tuple[tuple[re.Pattern[bytes], _Open], ...] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.jpeg_factory),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
)
_FOREIGN = (
    (re.compile(rb"GIF8"), "a GIF"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "HEIF, AVIF or a video"),
    (re.compile(rb"[\t\n\r -~]{16,}"), "text"),
)
_BYTES_PER_PIXEL = 8
_HEADER_BYTES = 64 * 1024 * 1024
_ORIENTATION_TAG = 0x0112
_UNRANGED_MODES = {"F", "I"}


@dataclass(frozen=True)
class Decoded:
    """A file as the canonical frame.

    `canonical`: OpenCV, and whatever reads with it, decodes the file itself to exactly this frame, so no
    copy of it is needed. `sha256` is the digest of the file's bytes.
    """

    image: Image
    canonical: bool
    sha256: str


def read_image(path: Path, *, max_pixels: int = 100_000_000) -> Decoded:
    """Decode a file of unknown origin, of whatever name: its content decides its format.

    The header is judged before a pixel is decoded, and the whole file is decoded, so that a truncated one is
    found. Raises ImageUnreadable with the reason.
    """
    return decode_image(_read_bytes(path, max_pixels), path=path, max_pixels=max_pixels)


def decode_image(data: bytes, *, path: Path | None = None, max_pixels: int = 100_000_000) -> Decoded:
    """As `read_image`, of a file's bytes that came another way; `path` is told in errors."""
    try:
        with _opened(data, path) as picture:
            _check_header(picture, path, max_pixels)
            picture.load()
            upright = picture.getexif().get(_ORIENTATION_TAG, 1) == 1
            image = _canonical_frame(ImageOps.exif_transpose(picture))
    except ImageUnreadable:
        raise
    except Exception as exc:  # damaged files trip decoders into any exception there is
        raise ImageUnreadable(f"damaged or unsupported: {exc}", path=path) from exc
    return Decoded(image, upright and _opencv_agrees(data, image), hashlib.sha256(data).hexdigest())


def read_frame(path: Path, *, sha256: str | None = None) -> Image:
    """The frame of a file that ingest has accepted as canonical, or has written: fast, nothing is judged.

    Raises ImageUnreadable if the file is gone or no longer an image, or if its bytes have not this SHA-256.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
        if sha256 is not None and hashlib.sha256(data.data).hexdigest() != sha256:
            raise ImageUnreadable("the file has changed since it was taken in", path=path)
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as exc:
        raise ImageUnreadable(f"can no longer be read: {exc}", path=path) from exc
    if frame is None:
        raise ImageUnreadable("is no longer an image", path=path)
    return _rgb(frame.astype(np.uint8, copy=False))


def png_bytes(image: Image) -> bytes:
    """The frame as a PNG file; equal frames give equal bytes."""
    target = io.BytesIO()
    Pillow.fromarray(image).save(target, "PNG", compress_level=1)
    return target.getvalue()


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    """The file's bytes, if it is a regular file of a size that an image within `max_pixels` can have."""
    most = max_pixels * _BYTES_PER_PIXEL + _HEADER_BYTES
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageUnreadable("not a regular file", path=path)
        if status.st_size > most:
            raise ImageUnreadable(f"{status.st_size:,} bytes, more than any image may have ({most:,})", path=path)
        data = path.read_bytes()
    except FileNotFoundError as exc:
        reason = "a symbolic link to nothing" if path.is_symlink() else "no such file"
        raise ImageUnreadable(reason, path=path) from exc
    except OSError as exc:
        raise ImageUnreadable(f"cannot be read: {exc.strerror or exc}", path=path) from exc
    except ValueError as exc:
        raise ImageUnreadable("no file can have this name", path=path) from exc
    if not data:
        raise ImageUnreadable("the file is empty (0 bytes)", path=path)
    return data


def _opened(data: bytes, path: Path | None) -> Pillow.Image:
    """The picture with only its header read, by what the content is and not by what the name says."""
    for signature, opener in _OPENERS:
        if signature.match(data):
            return opener(io.BytesIO(data))
    content = next((name for signature, name in _FOREIGN if signature.match(data)), "unknown bytes")
    raise ImageUnreadable(f"not JPEG, PNG, WEBP, BMP or TIFF, but {content}", path=path)


def _check_header(picture: Pillow.Image, path: Path | None, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise ImageUnreadable(
            f"{width} x {height} pixels are more than the limit of {max_pixels:,}: "
            "scale the image down, or raise max_pixels",
            path=path,
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageUnreadable(f"{width} x {height} pixels: a side under {MIN_SIDE_PX}", path=path)
    # A phone's MPO is one photograph, followed by previews or depth maps of it.
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        raise ImageUnreadable(f"{frames} frames or pages in one file: extract those you want", path=path)
    if picture.mode in _UNRANGED_MODES:
        raise ImageUnreadable("pixels are floats or 32-bit integers without a defined range", path=path)


def _canonical_frame(picture: Pillow.Image) -> Image:
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        white = Pillow.new("RGBA", coloured.size, "white")
        picture = Pillow.alpha_composite(white, coloured)
    return np.ascontiguousarray(np.asarray(picture.convert("RGB")))


def _opencv_agrees(data: bytes, image: Image) -> bool:
    try:
        frame = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # OpenCV refuses what Pillow reads: then a copy is needed, which is the answer
        return False
    return frame is not None and np.array_equal(_rgb(frame.astype(np.uint8, copy=False)), image)


def _rgb(frame: npt.NDArray[np.uint8]) -> Image:
    return np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)
