from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import LedgerCorrupt
from pipeline.store.blobs import BlobStore


def test_a_blob_is_named_by_its_bytes_and_kept_once(tmp_path: Path) -> None:
    heard: list[str] = []
    blobs = BlobStore(tmp_path, emit=lambda name, /, **_: heard.append(name))
    name = blobs.put(b"abc")
    assert name == hashlib.sha256(b"abc").hexdigest()
    assert blobs.read(name) == b"abc"
    heard.clear()
    assert blobs.put(b"abc") == name
    assert heard == []


@pytest.mark.parametrize("damage", [b"", b"abd", b"abcd"])
def test_a_damaged_blob_is_never_read(tmp_path: Path, damage: bytes) -> None:
    blobs = BlobStore(tmp_path)
    name, whole = blobs.put(b"abc"), blobs.put(b"other")
    blobs.path(name).write_bytes(damage)
    with pytest.raises(LedgerCorrupt, match="damaged"):
        blobs.read(name)
    assert list(blobs.verify()) == [blobs.path(name)]
    assert blobs.read(whole) == b"other"


def test_a_missing_blob_and_a_name_that_none_can_have(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    with pytest.raises(LedgerCorrupt, match="cannot be read"):
        blobs.read("0" * 64)
    for name in ("../../etc/passwd", "0" * 63, "G" * 64):
        with pytest.raises(LedgerCorrupt, match="no blob's name"):
            blobs.path(name)
