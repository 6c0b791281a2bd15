"""Who we are to Label Studio: a personal access token, or a legacy one.

A personal access token is a JSON Web Token that only refreshes: it is exchanged for an access token of some minutes,
which is renewed when the server says no. A legacy token is sent as it is, where the organisation still allows it.
"""

from __future__ import annotations

import threading

from connectors.calling import Caller, json_of
from pipeline.errors import BackendRejected, ConfigError

__all__ = ["TOKEN", "Credentials"]

TOKEN = "LABEL_STUDIO_API_KEY"  # noqa: S105  # the variable's name
"""The environment variable that holds the token; Label Studio's own SDK reads the same."""

_NAME = "label_studio"


class Credentials:
    """The header of every request; safe from many threads. It shows its token to nobody."""

    def __init__(self, token: str) -> None:
        self._token = token.strip()
        if not self._token or not self._token.isascii() or not self._token.isprintable() or " " in self._token:
            raise ConfigError(
                "it holds no token: take one from Label Studio, Account & Settings > Personal Access Token",
                key=TOKEN,
            )
        self.is_personal = self._token.count(".") == 2
        self._access: str | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    @property
    def kind(self) -> str:
        return "personal access token" if self.is_personal else "legacy token"

    def header(self, caller: Caller, stale: str | None = None) -> str:
        """The Authorization header; `stale` is one that was just refused, so that another is fetched.

        Raises BackendRejected if the token is not (or no longer) taken, BackendUnavailable if nobody answers.
        """
        if not self.is_personal:
            return f"Token {self._token}"
        with self._lock:
            if self._access is None or stale == self._access:
                self._access = f"Bearer {self._refreshed(caller)}"
            return self._access

    def refusal(self, detail: str) -> BackendRejected:
        """The error of a server that does not take the token."""
        if self.is_personal:
            todo = "make a new personal access token in Account & Settings"
        elif "legacy" in detail.lower():
            todo = (
                "this server takes no legacy tokens: use a personal access token, or allow legacy ones under "
                "Organization > Access Token Settings"
            )
        else:
            todo = "look it up in Account & Settings, or use a personal access token"
        return BackendRejected(
            f"it does not take the {self.kind} in {TOKEN} ({detail:.200}); {todo}",
            backend=_NAME,
            operation="log in",
        )

    def _refreshed(self, caller: Caller) -> str:
        # Done twice, it gives two access tokens: no harm.
        answer = caller.send("POST", "/api/token/refresh", "log in", json={"refresh": self._token})
        body = json_of(answer)
        if answer.status_code in {400, 401, 403}:
            detail = body.get("detail", "") if isinstance(body, dict) else ""
            raise self.refusal(str(detail) or str(answer.status_code))
        access = body.get("access") if isinstance(body, dict) else None
        if not isinstance(access, str):
            raise BackendRejected(
                f"it answers {answer.status_code} where a token is refreshed: is there a Label Studio at this address?",
                backend=_NAME,
                operation="log in",
            )
        return access
