"""Is Label Studio there, does it take our token, and is it safe?"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from urllib.parse import urlsplit

from connectors.calling import Caller
from connectors.label_studio.client import Client
from connectors.label_studio.credentials import TOKEN
from connectors.label_studio.doctor.advisories import advisories_of
from connectors.label_studio.doctor.patient import Patient
from connectors.serving.secrets import is_loopback
from pipeline.errors import BackendRejected, BackendUnavailable, ConfigError
from pipeline.ports import Check

__all__ = ["client_of", "server_checks"]

_TOKEN_REMEDY = f"take a personal access token from Label Studio (Account & Settings), and export it as {TOKEN}"
_TIMEOUT_S = 20.0


def client_of(patient: Patient) -> Generator[Check, None, Client | None]:
    """A client that the server takes requests of; None where it does not."""
    try:
        answer = _unknown(patient.url).send("GET", "/health", "answer")
    except BackendUnavailable as exc:
        remedy = "start it (`make studio` starts one on this machine), or put annotator.url right"
        yield Check("server", "failed", str(exc), remedy)
        return None
    if answer.status_code != 200 or "UP" not in answer.text:
        found = f"{patient.url}/health answers {answer.status_code}: that is no Label Studio"
        yield Check("server", "failed", found, "put annotator.url right")
        return None
    yield Check("server", "ok", f"{patient.url} answers")
    if not patient.token:
        yield Check("token", "failed", f"{TOKEN} is not set", _TOKEN_REMEDY)
        return None
    try:
        client = Client(patient.url, patient.token, timeout_s=_TIMEOUT_S, retries=1)
        who = client.whoami()
    except (ConfigError, BackendRejected) as exc:
        yield Check("token", "failed", str(exc), _TOKEN_REMEDY)
        return None
    yield Check("token", "ok", f"the {client.credentials.kind} of {who.get('email') or who.get('username')}")
    return client


def server_checks(client: Client) -> Iterator[Check]:
    """Its release against known advisories; and whether strangers may make an account."""
    release = client.version()
    known = advisories_of(release)
    if known:
        told = "; ".join(f"{one.id} ({one.what})" for one in known)
        remedy = f"upgrade Label Studio to {known[-1].fixed_in} or later"
        yield Check("version", "warning", f"{release or 'an unknown release'} can be attacked: {told}", remedy)
    else:
        yield Check("version", "ok", f"{release}: no advisory is known")
    if is_loopback(urlsplit(client.url).hostname or ""):
        return
    if _unknown(client.url).send("GET", "/user/signup/", "show its sign-up page").status_code == 200:
        remedy = "start it with LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK=true, and invite people by a link"
        yield Check("sign-up", "warning", "whoever reaches the server may make an account", remedy)
    else:
        yield Check("sign-up", "ok", "people are invited by a link")


def _unknown(url: str) -> Caller:
    """Somebody without a token."""
    return Caller(url.rstrip("/"), backend="label_studio", hint="is it running?", timeout_s=_TIMEOUT_S, retries=1)
