"""SVG elements and axes: what every chart of the report is made of.

Everything that is told is escaped here, once. Colours are left to the page's classes, so that charts follow its
light and its dark clothes; numbers are rounded, so that the same figures give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Axis", "Frame", "number", "tag", "ticks"]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def number(value: float) -> str:
    """A figure as people write it: at most four digits that count, no trailing zeros; `1,859`, `0.25`, `12`."""
    digits = 0 if abs(value) >= 1000 else max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{min(digits, 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """`<name …>children</name>`; children that are not markup are escaped. `class_` is written `class`, an
    underscore elsewhere a hyphen, a float with two digits; what is None is left out.
    """
    written = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inside = "".join(str(escape(child)) for child in children)
    # Every part was escaped above, or was markup to begin with.
    return Markup(f"<{name}{''.join(written)}>{inside}</{name}>")  # noqa: S704


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def ticks(high: float, low: float = 0.0, *, about: int = 5, whole: bool = False) -> list[float]:
    """Round values from at most `low` to at least `high`, 1, 2, 2.5 or 5 times a power of ten apart."""
    span = high - low if high > low else 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil((low + span) / step - 1e-9), first + 1)
    return [round(step * index, 10) for index in range(first, last + 1)]


@dataclass(frozen=True)
class Axis:
    """What one axis says, and the values that are marked on it; it spans the first to the last of them."""

    label: str
    marks: Sequence[float]

    def share(self, value: float) -> float:
        """Where the value lies between the ends: 0 to 1, as a rule."""
        return (value - self.marks[0]) / (self.marks[-1] - self.marks[0])


@dataclass(frozen=True)
class Frame:
    """A chart's paper with its two axes, in the units of its own view box; y grows upwards in values."""

    x: Axis
    y: Axis
    width: float = 460.0
    height: float = 270.0
    left: float = 50.0
    right: float = 16.0
    top: float = 12.0
    bottom: float = 46.0

    def at_x(self, value: float) -> float:
        return self.left + self.x.share(value) * (self.width - self.left - self.right)

    def at_y(self, value: float) -> float:
        return self.height - self.bottom - self.y.share(value) * (self.height - self.top - self.bottom)

    def drawn(self, title: str, *parts: Markup, mark_x: bool = True) -> Markup:
        """The whole picture: grid, axes with labels, then `parts`; `title` is for those who cannot see it."""
        view = f"0 0 {self.width:g} {self.height:g}"
        return tag("svg", *self._grid(mark_x), *parts, class_="chart", viewBox=view, role="img", aria_label=title)

    def _grid(self, mark_x: bool) -> list[Markup]:
        right, bottom = self.width - self.right, self.height - self.bottom
        parts = []
        for value in self.y.marks:
            y = self.at_y(value)
            kind = "axis" if value == self.y.marks[0] else "grid"
            parts.append(tag("line", class_=kind, x1=self.left, x2=right, y1=y, y2=y))
            parts.append(tag("text", number(value), class_="tick end", x=self.left - 8, y=y + 4))
        for value in self.x.marks if mark_x else ():
            x = self.at_x(value)
            parts.append(tag("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4))
            parts.append(tag("text", number(value), class_="tick middle", x=x, y=bottom + 18))
        middle = (self.left + right) / 2
        parts.append(tag("text", self.x.label, class_="label middle", x=middle, y=self.height - 6))
        turned = f"translate(14 {_plain((self.top + bottom) / 2)}) rotate(-90)"
        parts.append(tag("text", self.y.label, class_="label middle", transform=turned))
        return parts
