"""Encodings on the disk: computed once by all, least recently used goes first, damage is told and made good."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.prompts import Encoding
from pipeline.errors import DataError
from pipeline.store import encodings as module
from pipeline.store.encodings import EncodingStore, content_of, rounded

PRINT = "kind/weights/preprocessing"
ROOM = 10**9


class Told:
    """Hears events, and remembers their names and data."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, name: str, /, **data: object) -> None:
        self.events.append((name, data))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events if name.startswith("encodings.")]


def encoding(seed: int = 0, side: int = 8) -> Encoding:
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {
        "embedding": rng.standard_normal((4, side, side)).astype(np.float32),
        "exact": rng.standard_normal(3),
        "table": rng.integers(0, 255, (2, 3), dtype=np.uint8),
    }
    return Encoding(arrays, (30, 40), PRINT)


def never() -> Encoding:
    raise AssertionError("it is there already")


def same(one: Encoding, other: Encoding) -> bool:
    return (one.size_hw, one.fingerprint) == (other.size_hw, other.fingerprint) and all(
        np.array_equal(one.arrays[name], other.arrays[name]) and one.arrays[name].dtype == other.arrays[name].dtype
        for name in one.arrays.keys() | other.arrays.keys()
    )


def test_what_was_made_comes_back_as_it_was_first_given(tmp_path: Path) -> None:
    told = Told()
    store = EncodingStore(tmp_path / "kept", ROOM, emit=told)
    first = store.get_or_make("a", PRINT, encoding)
    assert same(first, rounded(encoding()))
    assert first.arrays["embedding"].dtype == np.float16
    assert first.arrays["exact"].dtype == np.float64
    again = EncodingStore(tmp_path / "kept", ROOM, emit=told).get_or_make("a", PRINT, never)
    assert same(again, first)
    assert told.names == ["encodings.made", "encodings.found"]
    assert store.has("a", PRINT)
    assert not store.has("b", PRINT)
    assert not store.has("a", "another kind")
    assert store.count == 1
    assert 0 < store.size_bytes < 2000


def test_what_half_precision_cannot_hold_stays_single() -> None:
    huge = Encoding({"wide": np.array([1e6, 1.0], dtype=np.float32)}, (1, 1), PRINT)
    assert rounded(huge).arrays["wide"].dtype == np.float32


def test_the_same_pixels_have_the_same_name_and_others_do_not() -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert content_of(picture) == content_of(np.asfortranarray(picture)) == content_of(picture.copy())
    assert content_of(picture) != content_of(picture.reshape(5, 4, 3))
    assert content_of(picture) != content_of(picture + 1)


def spoil_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def spoil_text(path: Path) -> None:
    path.write_text("not at all")


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_foreign(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"embedding": np.zeros(3, dtype=np.float32)}, path, metadata={"format": "of somebody else"})


def spoil_other_key(path: Path) -> None:
    EncodingStore(path.parent / "other", ROOM).get_or_make("b", PRINT, encoding)
    [other] = (path.parent / "other").glob("*.safetensors")
    other.replace(path)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], data: bytes = b"") -> None:
    """The entry with another header, and `data` behind its numbers."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[end:] + data)


def spoil_bit(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)


def spoil_size(path: Path) -> None:
    rewritten(path, lambda header: header["__metadata__"].pop("size_hw"))


def spoil_type(path: Path) -> None:
    """Numbers that safetensors has and numpy has not."""
    rewritten(path, lambda header: header["embedding"].update(dtype="BF16"))


def spoil_more(path: Path) -> None:
    """An array that nobody wrote."""

    def add(header: dict[str, Any]) -> None:
        end = max(one["data_offsets"][1] for name, one in header.items() if name != "__metadata__")
        header["more"] = {"dtype": "U8", "shape": [2], "data_offsets": [end, end + 2]}

    rewritten(path, add, data=b"xy")


SPOILT = [
    spoil_cut,
    spoil_text,
    spoil_empty,
    spoil_foreign,
    spoil_other_key,
    spoil_bit,
    spoil_size,
    spoil_type,
    spoil_more,
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_or_foreign_entry_is_made_anew_and_told(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    told = Told()
    store = EncodingStore(tmp_path, ROOM, emit=told)
    store.get_or_make("a", PRINT, encoding)
    [path] = tmp_path.glob("*.safetensors")
    spoil(path)
    assert same(store.get_or_make("a", PRINT, encoding), rounded(encoding()))
    assert told.names == ["encodings.made", "encodings.damaged", "encodings.made"]
    assert same(store.get_or_make("a", PRINT, never), rounded(encoding()))


@settings(max_examples=25, deadline=None)
@given(uses=st.lists(st.integers(0, 7), min_size=1, max_size=40), room=st.integers(1, 5))
def test_what_was_used_least_recently_goes_first(
    tmp_path_factory: pytest.TempPathFactory, uses: list[int], room: int
) -> None:
    store = EncodingStore(tmp_path_factory.mktemp("kept"), ROOM)
    store.get_or_make("probe", PRINT, encoding)
    each = store.size_bytes
    [probe] = store.folder.glob("*.safetensors")
    probe.unlink()
    store.budget_bytes = room * each
    order: list[int] = []
    for use in uses:
        known = store.has(str(use), PRINT)
        store.get_or_make(str(use), PRINT, never if use in order else encoding)
        assert known == (use in order)
        order = [*(one for one in order if one != use), use][-room:]
        assert store.size_bytes <= store.budget_bytes
        assert {one for one in range(8) if store.has(str(one), PRINT)} == set(order)


def test_an_entry_larger_than_the_budget_is_given_and_not_kept(tmp_path: Path) -> None:
    told = Told()
    store = EncodingStore(tmp_path, 100, emit=told)
    assert same(store.get_or_make("a", PRINT, encoding), rounded(encoding()))
    assert told.names == ["encodings.not_kept"]
    assert store.count == 0


def test_a_full_disk_costs_the_entry_and_not_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise DataError("no space left on device", path=path)

    monkeypatch.setattr(module, "atomic_write", refuse)
    told = Told()
    store = EncodingStore(tmp_path, ROOM, emit=told)
    assert same(store.get_or_make("a", PRINT, encoding), rounded(encoding()))
    assert told.names == ["encodings.not_kept"]
    assert "no space left" in str(told.events[-1][1]["reason"])


def test_a_folder_that_may_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EncodingStore(tmp_path, ROOM).get_or_make("a", PRINT, encoding)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("utime", "open", "replace", "rename"):
        monkeypatch.setattr(os, name, refuse)
    told = Told()
    store = EncodingStore(tmp_path, ROOM, emit=told)
    assert same(store.get_or_make("a", PRINT, never), rounded(encoding()))
    assert same(store.get_or_make("b", PRINT, encoding), rounded(encoding()))
    assert store.count == 1
    assert told.names == ["encodings.found", "encodings.not_kept", "encodings.not_kept"]


def test_an_old_entry_that_may_not_be_removed_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    store = EncodingStore(tmp_path, ROOM, emit=told)
    store.get_or_make("a", PRINT, encoding)
    store.budget_bytes = store.size_bytes

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert same(store.get_or_make("b", PRINT, encoding), rounded(encoding()))
    assert told.names == ["encodings.made", "encodings.made", "encodings.not_removed"]


def test_where_the_file_system_has_no_locks_entries_are_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = Told()
    store = EncodingStore(tmp_path, ROOM, emit=told)
    store.get_or_make("a", PRINT, encoding)
    assert told.names == ["encodings.not_locked", "encodings.made"]
    assert store.has("a", PRINT)


def test_what_a_killed_writer_left_takes_room_and_goes_first(tmp_path: Path) -> None:
    store = EncodingStore(tmp_path, ROOM)
    store.get_or_make("a", PRINT, encoding)
    each = store.size_bytes
    left = tmp_path / ".0000.safetensors.unfinished-0000"
    left.write_bytes(bytes(each))
    os.utime(left, (0, 0))
    assert (store.count, store.size_bytes) == (1, 2 * each)
    store.budget_bytes = 2 * each
    store.get_or_make("b", PRINT, encoding)
    assert not left.exists()
    assert (store.count, store.size_bytes) == (2, 2 * each)


def test_many_threads_make_an_entry_once(tmp_path: Path) -> None:
    store, made = EncodingStore(tmp_path, ROOM), []

    def make() -> Encoding:
        made.append(1)
        time.sleep(0.05)
        return encoding()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: store.get_or_make("a", PRINT, make), range(16)))
    assert len(made) == 1
    assert all(same(one, answers[0]) for one in answers)


PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from pipeline.domain.prompts import Encoding
from pipeline.store.encodings import EncodingStore

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])

def make():
    with open(folder / "made.txt", "a") as log:
        log.write("x")
    time.sleep(seconds)
    return Encoding({"embedding": np.ones(4, dtype=np.float32)}, (1, 1), "print")

print(EncodingStore(folder / "kept", 10**9).get_or_make("a", "print", make).arrays["embedding"].sum(), flush=True)
"""


def started(folder: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_that_ask_for_one_image_compute_it_once(tmp_path: Path) -> None:
    processes = [started(tmp_path, 1.0) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["4.0", "4.0"]
    assert (tmp_path / "made.txt").read_text() == "x"


def test_whoever_is_killed_while_making_holds_nobody_up(tmp_path: Path) -> None:
    victim = started(tmp_path, 600.0)
    deadline = time.monotonic() + 60
    while not (tmp_path / "made.txt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate(timeout=60)
    assert started(tmp_path, 0.0).communicate(timeout=60)[0].strip() == "4.0"
    assert (tmp_path / "made.txt").read_text() == "xx"
