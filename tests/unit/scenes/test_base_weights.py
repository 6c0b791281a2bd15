"""The committed base weights: the file that SHA256SUMS names, small, and silent about where it was made."""

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

WEIGHTS = Path(__file__).resolve().parents[3] / "configs" / "weights"
BASE = WEIGHTS / "base-seg.pt"


def test_the_file_is_the_one_that_was_measured() -> None:
    digest, name = (WEIGHTS / "SHA256SUMS").read_text().split()
    assert name == BASE.name
    assert hashlib.sha256(BASE.read_bytes()).hexdigest() == digest


def test_the_readme_names_the_same_digest() -> None:
    assert (WEIGHTS / "SHA256SUMS").read_text()[:16] in (WEIGHTS / "README.md").read_text()


def test_it_is_small() -> None:
    assert BASE.stat().st_size < 3_000_000


@pytest.mark.parametrize(
    "trace", [rb"/home/", rb"/root/", rb"/tmp/", rb"/usr/", rb"[A-Z]:\\", rb"save_dir", rb"git"]
)
def test_it_says_nothing_of_the_machine_that_made_it(trace: bytes) -> None:
    with zipfile.ZipFile(BASE) as archive:
        pickled = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    assert not re.search(trace, pickled)
