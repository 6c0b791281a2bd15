"""Colour models: mixtures of Gaussians, in the layout that OpenCV's GrabCut reads.

Clusters are found by splitting the widest one along its principal axis (Orchard and Bouman, "Color
quantization of images", 1991), as GrabCut's authors did. There is nothing random in it; OpenCV's own
initialisation draws from a generator that all callers of a thread share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["COMPONENTS", "Mixture", "fit", "log_likelihood", "sharper"]

COMPONENTS = 5
"""The number of Gaussians that OpenCV's GrabCut is built with."""

Mixture = npt.NDArray[np.float64]
"""`float64 (1, 65)`: five weights, five means of three, five covariances of three times three."""

_VARIANCE_FLOOR = 4.0


class _Cluster(NamedTuple):
    """`(n, 3)` colours, their mean and covariance, and the widest direction with the variance along it."""

    colours: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    axis: npt.NDArray[np.float64]
    variance: float


def fit(pixels: npt.NDArray[np.uint8]) -> Mixture:
    """The mixture of `(n, 3)` pixels, n >= 1."""
    clusters = [_cluster(pixels.astype(np.float64))]
    while len(clusters) < COMPONENTS:
        index = max(range(len(clusters)), key=lambda number: clusters[number].variance)
        widest = clusters[index]
        if widest.variance <= _VARIANCE_FLOOR:
            break
        upper = (widest.colours - widest.mean) @ widest.axis > 0
        clusters[index : index + 1] = [_cluster(widest.colours[~upper]), _cluster(widest.colours[upper])]
    return _packed(clusters)


def sharper(mixture: Mixture, weight: float) -> Mixture:
    """The same mixture with all covariances divided by `weight`: distances from the means count that much more."""
    sharpened = mixture.copy()
    _unpacked(sharpened)[2][...] /= weight
    return sharpened


def log_likelihood(mixture: Mixture, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Natural logarithm of the density at each of `(n, 3)` pixels, `float64 (n,)`."""
    weights, means, covariances = (part[_unpacked(mixture)[0] > 0] for part in _unpacked(mixture))
    # With L L' the inverse covariance, the squared length of L'(x - mean) is the Mahalanobis distance.
    factors = np.linalg.cholesky(np.linalg.inv(covariances)).transpose(0, 2, 1)
    shifts = np.einsum("kij,kj->ki", factors, means)
    norms = np.log(weights) + np.log(np.linalg.det(factors)) - 1.5 * np.log(2 * np.pi)
    turned = factors.reshape(-1, 3) @ np.ascontiguousarray(pixels.T, dtype=np.float64)
    off = turned.reshape(len(weights), 3, -1) - shifts[..., None]
    logs = norms[:, None] - 0.5 * (off[:, 0] ** 2 + off[:, 1] ** 2 + off[:, 2] ** 2)
    highest: npt.NDArray[np.float64] = logs.max(axis=0)
    highest += np.log(np.exp(logs - highest).sum(axis=0))
    return highest


def _cluster(colours: npt.NDArray[np.float64]) -> _Cluster:
    mean = colours.mean(axis=0)
    off = colours - mean
    covariance = off.T @ off / max(1, len(colours) - 1)
    values, vectors = np.linalg.eigh(covariance)
    return _Cluster(colours, mean, covariance, vectors[:, -1], float(values[-1]))


def _packed(clusters: list[_Cluster]) -> Mixture:
    mixture = np.zeros((1, 13 * COMPONENTS))
    weights, means, covariances = _unpacked(mixture)
    for index, cluster in enumerate(clusters):
        weights[index] = len(cluster.colours) / sum(len(other.colours) for other in clusters)
        means[index] = cluster.mean
        covariances[index] = cluster.covariance + _VARIANCE_FLOOR * np.eye(3)
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
