"""How a person names a dataset version on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.store.workspace import Workspace

__all__ = ["version_named"]


def version_named(workspace: Workspace, word: str | None, *, key: str) -> str:
    """The id of the version that a word means: None the newest, `@3` that of round 3, else the start of an id.

    Raises ConfigError, at `key`, unless there is exactly one.
    """
    rounds = workspace.ledger.versions.by_round()
    if not rounds:
        raise ConfigError("there is no dataset version yet: `pipeline run` makes one in every round")
    if word is None:
        return rounds[max(rounds)].id
    if word.startswith("@"):
        if word[1:].isdecimal() and int(word[1:]) in rounds:
            return rounds[int(word[1:])].id
        made = ", ".join(f"@{number}" for number in rounds)
        raise ConfigError(f"no dataset version is called {word!r} (known: {made})", key=key)
    known = list(dict.fromkeys(version.id for version in rounds.values()))
    found = [name for name in known if word and name.startswith(word)]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} dataset versions start" if found else "no dataset version starts"
    raise ConfigError(f"{problem} with {word!r} (known: {', '.join(name[:12] for name in known)})", key=key)
