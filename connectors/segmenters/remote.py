"""A segmenter served elsewhere: by `pipeline serve-segmenter`, or SAM 3 by a Roboflow inference server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.serving.secrets import MIN_SECRET, is_secret
from pipeline.errors import ConfigError
from pipeline.ports import Resources, Segmenter

__all__ = ["REQUIRES", "Settings", "build"]

REQUIRES: Mapping[str, tuple[str, ...]] = {"remote": ("httpx",)}

_SECRETS = {"maskloop": "MASKLOOP_SECRET", "roboflow": "ROBOFLOW_API_KEY"}


class Settings(BaseModel):
    """Where the server is, and how long it may take.

    `protocol` maskloop is that of `pipeline serve-segmenter`; roboflow is the interactive SAM 3 endpoint of a Roboflow
    inference server, which gives no logits back, one candidate per prompt, and takes no priors. The secret comes
    from the environment: from `secret_env`, by default MASKLOOP_SECRET or ROBOFLOW_API_KEY. A request may take
    `timeout_s`, and is repeated `retries` times while the server is busy or away. `logits` false makes answers small,
    but none of them can be refined. `proxy` is a proxy's address; those of the environment are not used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "http://127.0.0.1:9090"
    protocol: Literal["maskloop", "roboflow"] = "maskloop"
    secret_env: Annotated[str, Field(min_length=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    logits: bool = True
    proxy: str | None = None

    @field_validator("url", "proxy")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = urlsplit(value)  # a ValueError of its own for a port that is none
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError("must be http://HOST:PORT or https://HOST")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must hold no name, password or query: a secret comes from the environment")
        return value


def build(settings: Settings, _resources: Resources) -> Segmenter:
    """Raises BackendUnavailable where no server answers, BackendRejected where it does not accept the secret or is
    no server of this protocol, ConfigError for a secret that cannot be one."""
    from connectors.calling import Caller
    from connectors.remote.client import RemoteSegmenter
    from connectors.remote.roboflow import RoboflowSegmenter

    name = settings.secret_env or _SECRETS[settings.protocol]
    secret = os.environ.get(name) or None
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise ConfigError(f"{name} must be printable ASCII without spaces", key="segmenter.secret_env")
    if settings.protocol == "roboflow":
        caller = Caller(
            settings.url,
            backend="remote-roboflow",
            hint="start the Roboflow inference server, or correct segmenter.url",
            query={"api_key": secret} if secret is not None else None,
            proxy=settings.proxy,
            timeout_s=settings.timeout_s,
            retries=settings.retries,
        )
        return RoboflowSegmenter(caller)
    if secret is not None and not is_secret(secret):
        raise ConfigError(f"{name} has fewer than {MIN_SECRET} characters", key="segmenter.secret_env")
    caller = Caller(
        settings.url,
        backend="remote",
        hint="start it there with `pipeline serve-segmenter --segmenter KIND`, or correct segmenter.url",
        headers={"Authorization": f"Bearer {secret}"} if secret is not None else None,
        proxy=settings.proxy,
        timeout_s=settings.timeout_s,
        retries=settings.retries,
    )
    return RemoteSegmenter(caller, logits=settings.logits)
