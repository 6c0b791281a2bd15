"""One line that says how far a piece of work is: a bar, counts, the rate, and what is left."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NAME_WIDTH", "Bar", "duration"]

NAME_WIDTH = 8
BAR_WIDTH = 24
UNITS = {"train": "epochs", "submit": "tasks", "collect": "answers", "verify": "files", "report": "pictures"}


@dataclass
class Bar:
    """Work that began at `started_s`. `total` is 0 where nobody knows it.

    `done` counts finished batches, `part` what is known of the batch on its way, and `before` how much of
    `done` an earlier call did: it takes no part in the rate. All may run ahead of the total (a file that
    came in between); what is shown never does.
    """

    name: str
    started_s: float
    total: int = 0
    done: int = 0
    part: int = 0
    before: int = 0

    @property
    def count(self) -> int:
        """How much is done, at least 0 and at most the total."""
        count = max(self.done + self.part, 0)
        return min(count, self.total) if self.total else count

    def advance(self, done: int) -> None:
        """A batch is finished."""
        self.done, self.part = self.done + done, 0

    def text(self, now_s: float, *, width: int, ink: str = "█", paper: str = "·") -> str:
        """The whole line, cut to `width` characters."""
        drawn = ""
        if self.total:
            filled = BAR_WIDTH * self.count // self.total
            drawn = ink * filled + paper * (BAR_WIDTH - filled) + "  "
        return f"  {self.name:<{NAME_WIDTH}}  {drawn}{self.counts(now_s)}"[: max(width, 0)]

    def counts(self, now_s: float) -> str:
        """`120/260 images  3.2/s  0:43 left`; what is not known yet is left out."""
        unit = UNITS.get(self.name, "images")
        if not self.count:
            return f"0/{self.total:,} {unit}" if self.total else "…"
        told = [f"{self.count:,}/{self.total:,} {unit}" if self.total else f"{self.count:,} {unit}"]
        each_s = max(now_s - self.started_s, 0.0) / max(self.count - self.before, 1)
        if each_s > 0:
            told.append(f"{1 / each_s:.1f}/s" if each_s <= 1 else f"{each_s:.1f} s each")
        if self.total > self.count:
            told.append(f"{duration(each_s * (self.total - self.count))} left")
        return "  ".join(told)


def duration(seconds: float) -> str:
    """`4.2 s` below a minute, `3:05 min` below an hour, `2:03:05 h` above."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
