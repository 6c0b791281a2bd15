"""A fake server, new for every test, and a client that counts its waiting instead of doing it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.label_studio.client import Client
from tests.fakes.label_studio import PERSONAL_TOKEN, FakeLabelStudio


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as server:
        yield server


@pytest.fixture
def fake(fake_server: FakeLabelStudio) -> FakeLabelStudio:
    """As if it had just been installed."""
    fake_server.back()
    fake_server.reset()
    return fake_server


@pytest.fixture
def pauses() -> list[float]:
    """How long the client has waited, each time."""
    return []


@pytest.fixture
def client(fake: FakeLabelStudio, pauses: list[float]) -> Client:
    return Client(fake.url, PERSONAL_TOKEN, timeout_s=0.3, sleep=pauses.append)
