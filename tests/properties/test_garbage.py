"""Whatever a workspace holds: what is referred to stays, byte by byte, and nothing else does."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.dataset import DatasetVersion
from pipeline.store.garbage import find_garbage, free
from pipeline.store.workspace import Workspace
from tests.fakes.store import NOON, ingested

_ROLES = ("version", "parent", "image", "pointer", "mark", "none")
blobs = st.dictionaries(st.integers(0, 30), st.sampled_from(_ROLES), max_size=12)
shards = st.dictionaries(st.integers(0, 30), st.booleans(), max_size=6)
trainings = st.dictionaries(st.integers(1, 9), st.booleans(), max_size=4)


def _refer(workspace: Workspace, number: int, name: str, role: str) -> None:
    ledger = workspace.ledger
    match role:
        case "version":
            ledger.versions.add(DatasetVersion(name, None, {}), number)
        case "parent":
            other = workspace.blobs.put(f"child {number}".encode())
            ledger.versions.add(DatasetVersion(other, name, {}), number)
        case "image":
            one = ingested(number)
            sample = replace(one.sample, path=workspace.blobs.path(name))
            ledger.samples.add([replace(one, sample=sample)])
        case "pointer":
            ledger.pointers.set(f"p{number}", name)
        case "mark":
            ledger.rounds.mark(number, "merge", {"version": name})


def _files(workspace: Workspace) -> dict[str, bytes]:
    kept = ("blobs", "shards", "work")
    return {
        path.relative_to(workspace.root).as_posix(): path.read_bytes()
        for folder in kept
        for path in (workspace.root / folder).rglob("*")
        if path.is_file()
    }


@settings(max_examples=10, deadline=None)
@given(blobs, shards, trainings)
def test_what_is_referred_to_is_never_freed(
    roles: dict[int, str], recorded: dict[int, bool], finished: dict[int, bool]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "run", now=lambda: NOON)
        with workspace.write_lock():
            gone = set()
            for number, role in roles.items():
                name = workspace.blobs.put(f"blob {number}".encode())
                _refer(workspace, number, name, role)
                gone |= {workspace.blobs.path(name)} if role == "none" else set()
            for number, known in recorded.items():
                path = workspace.shards.path(f"propose/{number}.parquet")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
                if known:
                    workspace.ledger.products.record(
                        "propose", f"f{number}", f"propose/{number}.parquet", "0", ["s"]
                    )
                gone |= set() if known else {path}
            for number, done in finished.items():
                path = workspace.work(f"train/round-{number}-abc") / "plan.json"
                path.write_bytes(b"{}")
                if done:
                    workspace.ledger.rounds.mark(number, "train", {"model": "m"})
                gone |= {path} if done else set()
            before = _files(workspace)
            free(workspace, find_garbage(workspace))
            lost = {path.relative_to(workspace.root).as_posix() for path in gone}
            assert _files(workspace) == {name: data for name, data in before.items() if name not in lost}
            assert find_garbage(workspace) == []
        workspace.ledger.close()
