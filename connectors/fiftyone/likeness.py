"""What looks alike, through FiftyOne Brain: near-duplicates, uniqueness, and a plot of all images.

Each image is described by its own pixels, made small: no model is needed, and none is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FIGURES", "compare", "described"]

FIGURES = ("uniqueness", "near_duplicate")
"""The fields that `compare` fills: the first in [0, 1] (1 = like no other), the second true or false."""

PLOT = "likeness"
"""The plot's key in the App's Embeddings panel."""

_SIDE = 16
_FEWEST = 4
_ALIKE = 0.01
"""Cosine distance of two images that are the same picture, saved twice: 0.0003 for a JPEG of quality 60."""


def described(path: Path) -> npt.NDArray[np.float32]:
    """An image file's 16 x 16 thumbnail less its mean colour, `float32 (768,)` of length 1; zeros for a flat image.

    Raises OSError for a file that is no image.
    """
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    flat: npt.NDArray[np.float32] = (pixels - pixels.mean(axis=(0, 1))).reshape(-1)
    length = np.float32(np.linalg.norm(flat))
    return np.divide(flat, length, out=flat, where=length > 0)


def compare(dataset: Any) -> None:
    """Fill FIGURES and make the plot. Fewer than four images are not compared."""
    import fiftyone.brain as fob

    ids, paths = dataset.values(["id", "filepath"])
    if len(ids) < _FEWEST:
        return
    looks = np.stack([_described_or_flat(Path(path)) for path in paths])
    fob.compute_uniqueness(dataset, uniqueness_field=FIGURES[0], embeddings=looks)
    if dataset.has_brain_run(PLOT):
        dataset.delete_brain_run(PLOT)
    fob.compute_visualization(dataset, embeddings=looks, method="pca", brain_key=PLOT, num_dims=2)
    near = fob.compute_near_duplicates(dataset, threshold=_ALIKE, embeddings=looks)
    alike = {*near.neighbors_map, *(one for rows in near.neighbors_map.values() for one, _ in rows)}
    dataset.set_values(FIGURES[1], [one in alike for one in ids])


def _described_or_flat(path: Path) -> npt.NDArray[np.float32]:
    """An image that is gone, or was never readable, is like a flat one: it is in the quarantine anyhow."""
    try:
        return described(path)
    except OSError:
        return np.zeros(_SIDE * _SIDE * 3, dtype=np.float32)
