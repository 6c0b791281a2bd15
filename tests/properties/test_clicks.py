"""The click simulator against the protocol written down literally, and what must hold for any mask."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.domain.clicks import Click, next_click, progressive_merge
from pipeline.domain.mask import Bitmap


class LiteralClicker:
    """The protocol's steps one by one, on whole images: the referee. Ground truth is 1, 0 or -1 (ignore).

    Intel's primitives are switched off for it: on small images their roots of one number differ in the
    last digit from pixel to pixel, so that equal distances are ranked by chance.
    """

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth == 1
        self.not_ignored = truth != -1
        self.not_clicked = np.ones(truth.shape, dtype=bool)

    def __call__(self, pred: np.ndarray) -> tuple[int, int, bool]:
        missing = np.logical_and(np.logical_and(self.truth, np.logical_not(pred)), self.not_ignored)
        surplus = np.logical_and(np.logical_and(np.logical_not(self.truth), pred), self.not_ignored)
        depth_of_missing, depth_of_surplus = self.depth(missing), self.depth(surplus)
        positive = bool(depth_of_missing.max() > depth_of_surplus.max())
        chosen = depth_of_missing if positive else depth_of_surplus
        ys, xs = np.where(chosen == chosen.max())
        self.not_clicked[ys[0], xs[0]] = False
        return int(xs[0]), int(ys[0]), positive

    def depth(self, error: np.ndarray) -> np.ndarray:
        padded = np.pad(error, ((1, 1), (1, 1)), "constant").astype(np.uint8)
        used = cv2.ipp.useIPP()
        cv2.ipp.setUseIPP(False)
        try:
            depth: np.ndarray = cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1] * self.not_clicked
        finally:
            cv2.ipp.setUseIPP(used)
        return depth


def random_bitmap(rng: np.random.Generator, size_hw: tuple[int, int]) -> Bitmap:
    """Noise, blobs of any scale, rectangles, nothing or everything."""
    kind = rng.integers(6)
    if kind == 0:
        return np.zeros(size_hw, dtype=bool)
    if kind == 1:
        return rng.random(size_hw) < rng.random()
    if kind == 2:
        bitmap = np.zeros(size_hw, dtype=bool)
        y1, y2 = sorted(rng.integers(0, size_hw[0] + 1, 2))
        x1, x2 = sorted(rng.integers(0, size_hw[1] + 1, 2))
        bitmap[y1:y2, x1:x2] = True
        return bitmap
    if kind == 3:
        return np.ones(size_hw, dtype=bool)
    sigma = float(rng.uniform(0.5, 6.0))
    blurred = cv2.GaussianBlur(rng.random(size_hw).astype(np.float32), (0, 0), sigma)
    return np.asarray(blurred > np.quantile(blurred, rng.uniform(0.2, 0.98)))


def same_clicks(rng: np.random.Generator, size_hw: tuple[int, int], clicks: int) -> int:
    """Play one sequence of clicks on changing predictions; the number of clicks that were compared."""
    truth = random_bitmap(rng, size_hw)
    ignore = random_bitmap(rng, size_hw) if rng.random() < 0.3 else np.zeros(size_hw, dtype=bool)
    literal = LiteralClicker(np.where(ignore, -1, truth.astype(np.int8)))
    clicked: list[Click] = []
    pred = random_bitmap(rng, size_hw)
    for _ in range(clicks):
        click = next_click(pred, truth, ignore if ignore.any() else None, clicked)
        x, y, positive = literal(pred)
        if click is None:
            unclicked = (pred ^ truth) & ~ignore
            unclicked[[c.y for c in clicked], [c.x for c in clicked]] = False
            assert not unclicked.any()
            return len(clicked)
        assert (click.x, click.y, click.positive) == (x, y, positive)
        clicked.append(click)
        if rng.random() < 0.5:
            pred = random_bitmap(rng, size_hw)
    return len(clicked)


@pytest.mark.slow
def test_ten_thousand_masks_give_the_clicks_of_the_literal_protocol() -> None:
    rng = np.random.default_rng(20220)
    compared = 0
    for _ in range(12_500):
        size_hw = (int(rng.integers(1, 72)), int(rng.integers(1, 72)))
        compared += same_clicks(rng, size_hw, clicks=4) > 0
    assert compared >= 10_000


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 400), (400, 1), (480, 640), (1024, 1024), (1500, 300)])
def test_large_and_odd_sizes_give_the_clicks_of_the_literal_protocol(size_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    assert sum(same_clicks(rng, size_hw, clicks=3) for _ in range(12)) > 0


def test_small_errors_cost_a_fifth_of_the_literal_protocol() -> None:
    truth = np.zeros((1080, 1920), dtype=bool)
    truth[300:700, 400:900] = True
    pred = truth.copy()
    pred[300:400, 400:600] = False
    literal, ours = [], []
    for _ in range(5):
        started = time.perf_counter()
        expected = LiteralClicker(truth.astype(np.int8))(pred)
        literal.append(time.perf_counter() - started)
        started = time.perf_counter()
        click = next_click(pred, truth)
        ours.append(time.perf_counter() - started)
        assert click is not None
        assert (click.x, click.y, click.positive) == expected
    assert min(ours) * 5 <= min(literal)


bitmaps = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(st.data())
def test_a_click_lies_on_an_error_of_its_kind(data: st.DataObject) -> None:
    truth = data.draw(bitmaps)
    pred = data.draw(arrays(bool, truth.shape))
    click = next_click(pred, truth)
    if click is None:
        assert (pred == truth).all()
    else:
        assert truth[click.y, click.x] == click.positive
        assert pred[click.y, click.x] != click.positive


@given(st.data())
def test_clicking_every_answer_in_turn_reaches_every_error_once(data: st.DataObject) -> None:
    truth = data.draw(bitmaps)
    pred = data.draw(arrays(bool, truth.shape))
    clicked: list[Click] = []
    while (click := next_click(pred, truth, clicked=clicked)) is not None:
        clicked.append(click)
    assert len(clicked) == len({(c.x, c.y) for c in clicked}) == (pred ^ truth).sum()


@given(st.data())
def test_merging_changes_only_toward_the_prediction_and_the_click(data: st.DataObject) -> None:
    previous = data.draw(bitmaps)
    prediction = data.draw(arrays(bool, previous.shape))
    y, x = data.draw(st.integers(0, previous.shape[0] - 1)), data.draw(st.integers(0, previous.shape[1] - 1))
    merged = progressive_merge(previous, prediction, Click(x, y, positive=True))
    changed = merged ^ previous
    assert (merged[changed] == prediction[changed]).all()
    assert (previous[changed] == previous[y, x]).all()
    assert merged[y, x] == prediction[y, x]
    _, components = cv2.connectedComponents((previous ^ prediction).astype(np.uint8), connectivity=8)
    assert set(components[changed].tolist()) <= {components[y, x]}
