"""A person at the FiftyOne App: headless Chromium, selecting and tagging as people do.

Selectors are those of FiftyOne 1.22's App. Samples are numbered from 0 in the grid's order.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from pipeline.domain.geometry import SizeHW

__all__ = ["Reviewer"]

_PAINTED = "canvas[canvas-loaded=true]"


class Reviewer:
    """One window with a dataset open in it."""

    def __init__(self, page: Page, url: str, shots: Path) -> None:
        self.page = page
        self._shots = shots
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_selector(f"[data-cy=looker] {_PAINTED}")
        page.get_by_text("Dismiss", exact=True).click()
        page.wait_for_timeout(1000)

    def shot(self, name: str) -> None:
        self._shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._shots / f"fiftyone-{name}.png")

    def views(self) -> list[str]:
        """The names in the menu of saved views."""
        self.page.locator("[data-cy=saved-views-selection]").click()
        options = self.page.locator("[role=option]")
        options.first.wait_for()
        self.shot("views")
        names = [line.strip() for text in options.all_inner_texts() for line in text.splitlines()]
        self.page.mouse.click(700, 950)
        self.page.wait_for_timeout(500)
        return names

    def tag_sample(self, number: int, tag: str) -> None:
        one = self.page.locator("[data-cy=looker]").nth(number)
        one.hover()
        one.locator("label").click()
        self.page.locator("[data-cy=action-tag-sample-labels]").click()
        self._tag("sample-tag-input", tag)
        self.shot(f"sample-{tag}")
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(500)

    def open(self, number: int) -> None:
        self.page.locator("[data-cy=looker] canvas").nth(number).click()
        self.page.wait_for_selector(f"[data-cy=modal-looker-container] {_PAINTED}")
        self.page.wait_for_timeout(1000)

    def tag_label(self, x: float, y: float, size_hw: SizeHW, tag: str) -> None:
        """The label under a point, in pixels of the open sample."""
        canvas = self.page.locator("[data-cy=modal-looker-container] canvas").first.bounding_box()
        assert canvas is not None
        scale = min(canvas["width"] / size_hw[1], canvas["height"] / size_hw[0])
        left = canvas["x"] + (canvas["width"] - scale * size_hw[1]) / 2
        top = canvas["y"] + (canvas["height"] - scale * size_hw[0]) / 2
        self.page.mouse.move(left + scale * x, top + scale * y)
        self.page.wait_for_timeout(500)
        self.page.mouse.click(left + scale * x, top + scale * y)
        self.page.wait_for_timeout(500)
        self.page.locator("[data-cy=modal] [data-cy=action-tag-sample-labels]").click()
        self._tag("label-tag-input", tag)
        self.shot(f"label-{tag}")

    def _tag(self, field: str, tag: str) -> None:
        self.page.locator(f"[data-cy={field}]").fill(tag)
        self.page.keyboard.press("Enter")
        with self.page.expect_response(lambda answer: "/tag" in answer.url or "/graphql" in answer.url):
            self.page.get_by_text("Apply", exact=True).click()
        self.page.wait_for_timeout(1000)
