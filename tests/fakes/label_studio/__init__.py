"""A scripted Label Studio on loopback: the requests that we make of the real one, and every way they can fail.

`tests/integration/label_studio/test_fake_is_real.py` makes one list of requests of both, and compares.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

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
        self._serving: serving | None = serving(self)
        self._port = self._serving.port
        self.url = self._serving.url
        self.reset()

    def reset(self) -> None:
        """As if it had just been installed; at the same address."""
        self.state = State()
        self.faults = Faults(application(self.state))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.faults(scope, receive, send)

    def away(self) -> None:
        if self._serving is not None:
            self._serving.stop()
            self._serving = None

    @property
    def is_away(self) -> bool:
        return self._serving is None

    def back(self) -> None:
        if self._serving is None:
            self._serving = serving(self, self._port)

    def __enter__(self) -> FakeLabelStudio:
        return self

    def __exit__(self, *_: object) -> None:
        self.away()
