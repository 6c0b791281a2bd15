"""Who may ask: this machine itself, or whoever has the secret."""

from __future__ import annotations

import ipaddress

__all__ = ["MIN_SECRET", "host_of", "is_loopback", "is_secret"]

MIN_SECRET = 16
"""Characters."""


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_secret(text: str) -> bool:
    """Whether it can stand in a header, and is not guessed at once: printable ASCII, at least 16 characters."""
    return len(text) >= MIN_SECRET and text.isascii() and text.isprintable() and " " not in text


def host_of(header: str) -> str:
    """The name in a Host header, without its port."""
    return header.partition("]")[0] if header.startswith("[") else header.partition(":")[0]
