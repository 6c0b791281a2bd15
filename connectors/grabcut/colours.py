"""Colour models: mixtures of Gaussians, in the layout that OpenCV's GrabCut reads.

Clusters are found by splitting the widest one along its principal axis (Orchard and Bouman, "Color
quantization of images", 1991), as GrabCut's authors did. There is nothing random in it; OpenCV's own
initialisation draws from a generator that all callers of a thread share.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["COMPONENTS", "Mixture", "fit", "log_likelihood"]

COMPONENTS = 5
"""The number of Gaussians that OpenCV's GrabCut is built with."""

Mixture = npt.NDArray[np.float64]
"""`float64 (1, 65)`: five weights, five means of three, five covariances of three times three."""

_VARIANCE_FLOOR = 4.0
_ENOUGH = 1500


def fit(pixels: npt.NDArray[np.uint8]) -> Mixture:
    """The mixture of `(n, 3)` pixels, n >= 1; at most 1500 of them, evenly spaced, are looked at."""
    step = -(-len(pixels) // _ENOUGH)
    clusters = [pixels[::step].astype(np.float64)]
    widths = [_widest(clusters[0])]
    while len(clusters) < COMPONENTS:
        index = max(range(len(clusters)), key=lambda number: widths[number][0])
        variance, axis = widths[index]
        if variance <= _VARIANCE_FLOOR:
            break
        cluster = clusters[index]
        along = cluster @ axis
        upper = along > along.mean()
        clusters[index : index + 1] = [cluster[~upper], cluster[upper]]
        widths[index : index + 1] = [_widest(cluster[~upper]), _widest(cluster[upper])]
    return _packed(clusters)


def log_likelihood(mixture: Mixture, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Natural logarithm of the density at each of `(n, 3)` pixels, `float64 (n,)`."""
    weights, means, covariances = _unpacked(mixture)
    points = pixels.astype(np.float64)
    total = np.full(len(points), -np.inf)
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        if weight <= 0:
            continue
        off = points - mean
        inverse = np.linalg.inv(covariance)
        distance = np.einsum("ni,ij,nj->n", off, inverse, off)
        norm = np.log(weight) - 0.5 * (np.log(np.linalg.det(covariance)) + 3 * np.log(2 * np.pi))
        total = np.logaddexp(total, norm - 0.5 * distance)
    return total


def _widest(cluster: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """The variance along the principal axis, and that axis."""
    if len(cluster) < 2:
        return 0.0, np.zeros(3)
    values, vectors = np.linalg.eigh(np.cov(cluster, rowvar=False))
    return float(values[-1]), vectors[:, -1]


def _packed(clusters: list[npt.NDArray[np.float64]]) -> Mixture:
    mixture = np.zeros((1, 13 * COMPONENTS))
    weights, means, covariances = _unpacked(mixture)
    for index, cluster in enumerate(clusters):
        weights[index] = len(cluster) / sum(len(other) for other in clusters)
        means[index] = cluster.mean(axis=0)
        spread = np.cov(cluster, rowvar=False) if len(cluster) > 1 else np.zeros((3, 3))
        covariances[index] = spread + _VARIANCE_FLOOR * np.eye(3)
    return mixture


def _unpacked(
    mixture: Mixture,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Views of the weights `(5,)`, means `(5, 3)` and covariances `(5, 3, 3)`."""
    flat = mixture[0]
    return (
        flat[:COMPONENTS],
        flat[COMPONENTS : 4 * COMPONENTS].reshape(COMPONENTS, 3),
        flat[4 * COMPONENTS :].reshape(COMPONENTS, 3, 3),
    )
