"""A scripted Label Studio on loopback: the requests that we make of the real one, and every way they can fail.

`tests/integration/label_studio/test_fake_is_real.py` makes one list of requests of both, and compares.
"""

from __future__ import annotations

from tests.fakes.label_studio.app import application
from tests.fakes.label_studio.faults import FAULTS, Faults
from tests.fakes.label_studio.state import LEGACY_TOKEN, PERSONAL_TOKEN, State
from tests.fakes.served import serving

__all__ = ["FAULTS", "LEGACY_TOKEN", "PERSONAL_TOKEN", "FakeLabelStudio"]


class FakeLabelStudio:
    """`with FakeLabelStudio() as fake`: `fake.url` is its address, `fake.state` what it holds, `fake.faults` its moods.

    `away()` and `back()` take it down and bring it up again at the same address.
    """

    def __init__(self) -> None:
        self.state = State()
        self.faults = Faults(application(self.state))
        self._serving: serving | None = serving(self.faults)
        self._port = self._serving.port
        self.url = self._serving.url

    def away(self) -> None:
        if self._serving is not None:
            self._serving.stop()
            self._serving = None

    @property
    def is_away(self) -> bool:
        return self._serving is None

    def back(self) -> None:
        if self._serving is None:
            self._serving = serving(self.faults, self._port)

    def __enter__(self) -> FakeLabelStudio:
        return self

    def __exit__(self, *_: object) -> None:
        self.away()
