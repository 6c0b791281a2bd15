"""Known weaknesses of Label Studio's releases, and which of them a release has.

Source: the project's security advisories on GitHub, and for the last row the released page itself, which escapes the
hotkeys from 1.23.2 on. A release that is not listed as fixed is taken as affected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ADVISORIES", "Advisory", "advisories_of"]


@dataclass(frozen=True)
class Advisory:
    """Releases before `fixed_in` can be attacked by `what`."""

    id: str
    what: str
    fixed_in: str


ADVISORIES = (
    Advisory("CVE-2022-36551", "data imports that read local files", "1.6.0"),
    Advisory("GHSA-cpmr-mw4j-99r7", "addresses that read any file, without a login", "1.7.2"),
    Advisory("CVE-2023-47115", "scripts in avatars", "1.9.2"),
    Advisory("CVE-2023-47117", "task filters that tell passwords' hashes", "1.9.2.post0"),
    Advisory("CVE-2024-23633", "scripts in imported files", "1.10.1"),
    Advisory("CVE-2023-47116", "imports that reach into the private network", "1.11.0"),
    Advisory("CVE-2025-25296", "scripts in the upload example", "1.16.0"),
    Advisory("CVE-2025-25297", "storages that reach into the private network", "1.16.0"),
    Advisory("CVE-2025-25295", "exports that write outside of their folder", "1.16.0"),
    Advisory("CVE-2026-22033", "scripts in hotkeys that take accounts over", "1.23.2"),
)


def advisories_of(release: str) -> list[Advisory]:
    """Those that a release such as `1.23.2` is affected by; all of them for a name that is no release."""
    return [advisory for advisory in ADVISORIES if _order(release) < _order(advisory.fixed_in)]


def _order(release: str) -> tuple[int, ...]:
    """1.9.2.post0 comes after 1.9.2, and 1.24.0.dev3 or 1.24.0rc1 before 1.24.0."""
    found = re.match(r"(\d+(?:\.\d+)*)[.-]?(post|dev|rc|a|b)?(\d*)", release)
    if found is None:
        return ()
    numbers = [int(part) for part in found[1].split(".")]
    after = {"post": 1, None: 0}.get(found[2], -1)
    return (*[*numbers, 0, 0, 0][:3], after, int(found[3] or 0))
