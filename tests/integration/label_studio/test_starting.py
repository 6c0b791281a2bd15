"""The server that the tests and `make studio` start."""

from __future__ import annotations

from connectors.label_studio.client import Client
from connectors.label_studio.starting import Studio


def test_both_kinds_of_token_are_taken(studio: Studio, token: str) -> None:
    personal, legacy = Client(studio.url, token), Client(studio.url, studio.account.legacy_token)
    assert (personal.credentials.kind, legacy.credentials.kind) == ("personal access token", "legacy token")
    assert personal.whoami() == legacy.whoami()
    assert personal.version().startswith("1.")
    assert set(personal.users().values()) == {studio.account.email}
    assert token not in repr(personal.credentials) + repr(vars(personal))
