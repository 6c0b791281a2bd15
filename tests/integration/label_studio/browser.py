"""A person at Label Studio's editor: headless Chromium, clicking where a person clicks.

Gestures and selectors are those of Label Studio 1.23's editor. Coordinates are pixels of the upright image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, Request, Response, sync_playwright
from playwright.sync_api import TimeoutError as NothingCame

__all__ = ["CHROMIUM", "Editor", "Said", "browser_page"]

CHROMIUM = Path("/usr/bin/chromium")
"""Debian's package `chromium`."""

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_READY = """() => {
    const annotation = window.Htx && Htx.annotationStore && Htx.annotationStore.selected;
    const image = annotation && annotation.names.get('image');
    return image && image.stageRef && image.naturalWidth > 1;
}"""
_FRAME = """() => {
    const image = Htx.annotationStore.selected.names.get('image');
    const at = image.stageRef.content.getBoundingClientRect();
    return [at.x, at.y, image.stageWidth / image.naturalWidth, image.stageHeight / image.naturalHeight];
}"""
_REGIONS = """() => Htx.annotationStore.selected.regions.map(one => ({
    id: one.cleanId, type: one.type, label: one.labelName, selected: !!one.selected, prompt: !!one.dynamic,
}))"""
_SUGGESTED = "() => [...Htx.annotationStore.selected.suggestions.values()].map(one => one.cleanId)"
_ROWS = "() => JSON.parse(JSON.stringify(Htx.annotationStore.selected.serializeAnnotation()))"


@dataclass(frozen=True)
class Said:
    """One interactive request: the prompts that went out, and the rows that came back."""

    prompts: list[dict[str, Any]]
    rows: list[dict[str, Any]]


@contextmanager
def browser_page(profile: Path) -> Iterator[Page]:
    """A window of 1440 x 1000 with a fresh profile in the folder `profile`."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            ignore_default_args=["--headless"],
            args=_FLAGS,
            viewport={"width": 1440, "height": 1000},
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


class Editor:
    """The labelling page of one task, from the log-in to the submitted annotation."""

    def __init__(self, page: Page, base: str, shots: Path) -> None:
        self.page = page
        self._base = base
        self._shots = shots
        self.strangers: list[str] = []
        self.asked: list[str] = []
        page.on("request", self._note)

    def log_in(self, email: str, password: str) -> None:
        self.page.goto(f"{self._base}/user/login/")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/login" not in url)

    def open(self, project: int, task: int) -> None:
        self.page.goto(f"{self._base}/projects/{project}/data?task={task}")
        self.page.wait_for_selector(".lsf-toolbar", timeout=60_000)
        self.page.wait_for_function(_READY, timeout=60_000)
        self.page.wait_for_timeout(1000)

    def shot(self, name: str) -> None:
        self._shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._shots / f"{name}.png")

    def switch_on_auto_annotation(self) -> None:
        if not self.page.evaluate("Htx.autoAnnotation"):
            self.page.get_by_text("Auto-Annotation", exact=True).click()

    def choose(self, tool: Literal["key-point-tool", "rectangle-tool"], label: str) -> None:
        """The tool first: choosing one clears the labels of other types."""
        self.page.locator(".lsf-toolbar > .lsf-toolbar__group > button.lsf-tool_smart").hover()
        self.page.locator(f".lsf-tool__extra button[aria-label={tool}]").click()
        self.choose_label(tool, label)

    def choose_label(self, tool: Literal["key-point-tool", "rectangle-tool"], label: str) -> None:
        row = {"key-point-tool": 0, "rectangle-tool": 1}[tool]  # the tags' order in the labelling configuration
        self.page.locator(".lsf-labels").nth(row).get_by_text(label, exact=True).click()

    def click(self, x: float, y: float, *, negative: bool = False, inside: bool = False) -> Said:
        """Alt says that the object is not there; Ctrl clicks into a region instead of selecting it."""
        at = self._at(x, y)
        held = [key for key, wanted in (("Control", inside), ("Alt", negative)) if wanted]
        with self._expected() as response:
            self.page.mouse.move(at[0] - 3, at[1] - 3)
            for key in held:
                self.page.keyboard.down(key)
            self.page.mouse.move(*at)
            self.page.mouse.down()
            self.page.mouse.up()
            for key in reversed(held):
                self.page.keyboard.up(key)
        return self._said(response.value)

    def drag(self, box: tuple[float, float, float, float]) -> Said:
        """A rectangle from corner to corner, x1, y1, x2, y2."""
        x1, y1, x2, y2 = box
        with self._expected() as response:
            self.page.mouse.move(*self._at(x1, y1))
            self.page.mouse.down()
            self.page.mouse.move(*self._at((x1 + x2) / 2, (y1 + y2) / 2), steps=5)
            self.page.mouse.move(*self._at(x2, y2), steps=5)
            self.page.mouse.up()
        return self._said(response.value)

    def accept(self) -> None:
        """In the bottom bar: the prompts go, the mask stays."""
        self.page.locator("[data-testid=bottombar-accept-suggestions-button]").click()
        self.page.wait_for_timeout(500)

    def submit(self) -> dict[str, Any]:
        """The annotation as the server took it."""
        return self._sent("POST", "bottombar-submit-button")

    def update(self) -> dict[str, Any]:
        return self._sent("PATCH", "bottombar-update-button")

    def regions(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(_REGIONS))

    def suggestions(self) -> list[str]:
        return list(self.page.evaluate(_SUGGESTED))

    def rows(self) -> list[dict[str, Any]]:
        """What the browser holds, as it would be submitted."""
        return list(self.page.evaluate(_ROWS))

    @contextmanager
    def _expected(self) -> Iterator[Any]:
        """A question's answer; a picture of the page where none was asked."""
        try:
            with self.page.expect_response(_is_question, timeout=30_000) as response:
                yield response
        except NothingCame as exc:
            self.shot("nothing-was-asked")
            raise AssertionError(f"the click asked nothing; on the page are {self.regions()}") from exc

    def _sent(self, method: str, button: str) -> dict[str, Any]:
        def is_annotation(response: Response) -> bool:
            return "/annotations" in response.url and response.request.method == method

        with self.page.expect_response(is_annotation, timeout=30_000) as response:
            self.page.locator(f"[data-testid={button}]").click()
        return dict(response.value.json())

    def _said(self, response: Response) -> Said:
        self.page.wait_for_function("() => !Htx.awaitingSuggestions")
        self.page.wait_for_timeout(300)
        asked = json.loads(response.request.post_data or "{}")["context"]["result"]
        return Said(asked, response.json().get("data", {}).get("result", []))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        left, top, across, down = self.page.evaluate(_FRAME)
        return left + x * across, top + y * down

    def _note(self, request: Request) -> None:
        if not request.url.startswith((self._base, "blob:", "data:")):
            self.strangers.append(request.url)
        if _asks(request.url):
            self.asked.append(request.url)


def _asks(url: str) -> bool:
    return "interactive-annotating" in url


def _is_question(response: Response) -> bool:
    return _asks(response.url)
