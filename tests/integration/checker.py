"""An outsider's look at a workspace: the ledger through `sqlite3`, folders through `os` and `hashlib`.

What it knows of a workspace is what its documentation promises: which tables there are, where the folders lie.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Facts", "Ledger", "damage", "differences", "human_rows", "leftovers", "query", "take", "tree_hash"]

Row = tuple[Any, ...]

OF_THE_MOMENT = {
    ("sources", "mtime_ns"),
    ("quarantine", "mtime_ns"),
    ("revisions", "created_at"),
    ("marks", "seconds"),
    ("promotions", "at"),
}
"""Columns that tell the time, which no two runs share."""
TIMES_TOLD = {"lock", "report.html"}
"""Files that tell the time."""
LEDGER = "ledger.sqlite"


@dataclass(frozen=True)
class Facts:
    """Everything two runs of the same configuration must agree on, free of time and place."""

    tables: Mapping[str, list[Row]]
    files: Mapping[str, str]
    trees: Mapping[int, str]
    """Round -> hash of its dataset version's folder."""


class Ledger:
    """The ledger of a workspace, read from a copy: to look must not mend what a killed process left."""

    def __init__(self, root: Path) -> None:
        self._copy = tempfile.TemporaryDirectory(dir=root.parent)
        for path in root.glob(f"{LEDGER}*"):
            shutil.copy(path, self._copy.name)
        self._connection = sqlite3.connect(Path(self._copy.name) / LEDGER)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._copy.cleanup()

    def __call__(self, sql: str) -> list[Row]:
        return self._connection.execute(sql).fetchall()

    @property
    def tables(self) -> list[str]:
        return [name for (name,) in self("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]

    @property
    def versions(self) -> list[Row]:
        return self("SELECT round, id FROM versions ORDER BY round")


def query(root: Path, sql: str) -> list[Row]:
    """Rows of the ledger of a workspace."""
    with Ledger(root) as ledger:
        return ledger(sql)


def take(root: Path) -> Facts:
    """The facts of a workspace that no process is using."""
    with Ledger(root) as ledger:
        tables = {name: _table(ledger, name) for name in ledger.tables}
        trees = {number: tree_hash(root / "datasets" / version[:16]) for number, version in ledger.versions}
    return Facts(tables, _files(root), trees)


def _table(ledger: Ledger, name: str) -> list[Row]:
    columns = [row[1] for row in ledger(f"PRAGMA table_info({name})")]
    kept = [column for column in columns if (name, column) not in OF_THE_MOMENT]
    rows = ledger(f"SELECT {', '.join(kept)} FROM {name}")
    return sorted((row for row in rows if row[0] != "fence"), key=repr)


def tree_hash(folder: Path) -> str:
    """SHA-256 of the sorted lines `relative path, SHA-256` of every file below `folder`."""
    lines = sorted(
        f"{path.relative_to(folder)} {_sha256(path.read_bytes())}" for path in folder.rglob("*") if path.is_file()
    )
    return _sha256("\n".join(lines).encode())


def _files(root: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file but the ledger's and `TIMES_TOLD`; the workspace's path is no content."""
    found = {}
    for folder, _, names in os.walk(root):
        for path in (Path(folder) / name for name in names):
            name = path.relative_to(root).as_posix()
            if name not in TIMES_TOLD and not name.startswith(LEDGER):
                found[name] = _sha256(path.read_bytes().replace(str(root).encode(), b"ROOT"))
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def differences(wanted: Facts, found: Facts) -> list[str]:
    """What `found` has more, less or otherwise than `wanted`."""
    complaints = [
        f"round {number}: another tree hash"
        for number, tree in wanted.trees.items()
        if found.trees.get(number) != tree
    ]
    for name, rows in wanted.tables.items():
        have = found.tables.get(name, [])
        missing = [row for row in rows if row not in have]
        extra = [row for row in have if row not in rows]
        if missing or extra or len(have) != len(rows):
            complaints.append(
                f"table {name}: {len(have)} rows for {len(rows)}; missing {missing[:2]}, extra {extra[:2]}"
            )
    for name in sorted(wanted.files.keys() | found.files.keys()):
        if name not in found.files:
            complaints.append(f"file {name} is missing")
        elif name not in wanted.files:
            complaints.append(f"file {name} should not be there")
        elif wanted.files[name] != found.files[name]:
            complaints.append(f"file {name} has other contents")
    return complaints


def human_rows(root: Path) -> set[Row]:
    """What people have said and the ledger has acknowledged: every revision with its objects."""
    with Ledger(root) as ledger:
        if not ledger.tables:
            return set()
        return set(
            ledger(
                "SELECT r.sample_id, r.revision, r.round, r.seconds, r.content, i.position, i.row "
                "FROM revisions r LEFT JOIN instances i "
                "ON i.sample_id = r.sample_id AND i.revision = r.revision "
                "WHERE r.origin_kind = 'human'"
            )
        )


def damage(root: Path) -> list[str]:
    """What must not be wrong in any workspace, not even in one whose process was just killed."""
    with Ledger(root) as ledger:
        if not ledger.tables:
            return []
        complaints = [f"integrity: {text}" for (text,) in ledger("PRAGMA integrity_check") if text != "ok"]
        complaints += [f"dangling: {row}" for row in ledger("PRAGMA foreign_key_check")]
        complaints += _bad_pointers(ledger) + _doubles(ledger)
        for name, sha256 in ledger("SELECT name, sha256 FROM shards"):
            complaints += _differs(root / "shards" / name, sha256)
        for path, sha256 in ledger("SELECT weights, sha256 FROM models"):
            complaints += _differs(root / path, sha256)
        for _, version in ledger.versions:
            complaints += _differs(root / "blobs" / version[:2] / version, version)
            complaints += _differs(root / "datasets" / version[:16] / "manifest.jsonl", version)
        for path, sha256 in ledger("SELECT path, sample_id FROM sources"):
            complaints += _differs(root / path, sha256)
    return complaints


def _doubles(ledger: Ledger) -> list[str]:
    """Keys that the tables' own constraints do not guard, or that they must be seen to guard."""
    twice = ledger("SELECT task_id FROM tasks GROUP BY task_id HAVING count(*) > 1")
    twice += ledger("SELECT sample_id, content FROM revisions GROUP BY 1, 2 HAVING count(*) > 1")
    twice += ledger("SELECT stage, fingerprint, sample_id FROM products GROUP BY 1, 2, 3 HAVING count(*) > 1")
    return [f"twice: {row}" for row in twice]


def _bad_pointers(ledger: Ledger) -> list[str]:
    known = {model for (model,) in ledger("SELECT id FROM models")}
    champions = ledger("SELECT value FROM pointers WHERE name = 'champion'")
    complaints = [f"the champion {name} is no model" for (name,) in champions if name not in known]
    shards = {name for (name,) in ledger("SELECT name FROM shards")}
    named = {name for (name,) in ledger("SELECT DISTINCT shard FROM products")}
    complaints += [f"products name the unknown shard {name}" for name in named - shards]
    for number, facts in ledger("SELECT round, facts FROM marks WHERE stage = 'train'"):
        model = json.loads(facts)["model"]
        complaints += [] if model in known else [f"round {number} names the unknown model {model}"]
    return complaints


def _differs(path: Path, sha256: str) -> list[str]:
    if not path.is_file():
        return [f"{path} is missing"]
    return [] if _sha256(path.read_bytes()) == sha256 else [f"{path} is not what the ledger says"]


def leftovers(root: Path) -> list[str]:
    """What a finished run must not leave: open intents, unanswered tasks, unfinished files."""
    with Ledger(root) as ledger:
        open_intents = ledger("SELECT key FROM intents WHERE state <> 'closed'")
        unanswered = ledger("SELECT round, sample_id FROM tasks WHERE state <> 'answered'")
    complaints = [f"open intent {row}" for row in open_intents] + [f"unanswered task {row}" for row in unanswered]
    for folder, folders, names in os.walk(root):
        hidden = [name for name in (*folders, *names) if name.startswith(".") or name.endswith(("~", ".tmp"))]
        complaints += [f"left behind: {Path(folder) / name}" for name in hidden]
    return complaints
