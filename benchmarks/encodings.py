"""What a kept encoding is worth at a click: `python -m benchmarks.encodings [--networks mobile_sam,sam2] [--json]`.

Three comparisons. **Warm click**: ours hashes the image, reads its encoding from the store (nothing is remembered in
memory) and decodes one box; the peer encodes the image and decodes the box, without a store. **In turn**: clicks on
two images alternately, ours remembered in memory, against a predictor that remembers one image, as SAM's own do.
**Fresh process**: a new process that opens a filled store; its first click is counted whole, after packages and
networks are loaded and one other image was decoded, which warms the libraries for both sides alike.

The networks have random weights: times mean something, masks do not. Denormal numbers, which random weights make and
trained ones do not, are flushed. Masks and logits of cold, warm and fresh clicks must be equal to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._harness import Comparison, alternate, machine
from connectors.ultralytics.runtime import load
from pipeline.domain.geometry import Box, Image
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.ports import Segmenter
from pipeline.segmenting.stored import StoredSegmenter
from pipeline.store.encodings import EncodingStore, content_of
from pipeline.wiring import open_segmenter

NETWORKS = ("mobile_sam", "sam2")
TARGET_WARM = {"mobile_sam": 1 / 10}
TARGET_TURNS = 1 / 8
BUDGET_BYTES = 10**9
_SIZE = (960, 1280)
_LARGE = (3000, 4000)
_BOX = Prompt(box=Box(300, 200, 900, 700))


def picture(seed: int, size_hw: tuple[int, int] = _SIZE) -> Image:
    """Smooth noise: it looks like nothing, and costs what a photograph does."""
    coarse = np.random.default_rng(seed).integers(0, 256, (size_hw[0] // 20, size_hw[1] // 20, 3), dtype=np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC))


def network(kind: str) -> Segmenter:
    """The structure of `kind` with random weights, the same in every process."""
    load("the benchmark")
    import torch

    torch.set_flush_denormal(True)
    return open_segmenter(kind, {"untrained": True, "device": "cpu"})


def click(segmenter: Segmenter, image: Image, encoding: Encoding | None = None) -> str:
    """One box on one image; the digest of the mask and its logits."""
    known = encoding if encoding is not None else segmenter.encode([image])[0]
    [[answer]] = segmenter.decode(known, [_BOX])
    logits = b"" if answer.logits is None else np.ascontiguousarray(answer.logits).tobytes()
    return hashlib.sha256(bytes(answer.mask.bitmap()) + logits).hexdigest()


def from_disk(segmenter: Segmenter, folder: Path) -> StoredSegmenter:
    """With a memory that holds nothing, so that every click reads the disk."""
    return StoredSegmenter(segmenter, EncodingStore(folder, BUDGET_BYTES), remembered_bytes=0)


class RemembersOne:
    """As a predictor with a current image works: it encodes where the image is another one than before."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._content = ""
        self._encoding: Encoding | None = None

    def click(self, image: Image) -> str:
        content = content_of(image)
        if content != self._content:
            [self._encoding] = self._segmenter.encode([image])
            self._content = content
        return click(self._segmenter, image, self._encoding)


def in_turn(segmenter: Segmenter, folder: Path, pairs: int) -> Comparison:
    """Two clicks for each measurement, one on each image, so that every click is a switch."""
    images, stored, one = [picture(1), picture(2)], from_memory(segmenter, folder), RemembersOne(segmenter)

    def ours() -> list[str]:
        return [click(stored, image) for image in images]

    def peer() -> list[str]:
        return [one.click(image) for image in images]

    return alternate(ours, peer, pairs)


def from_memory(segmenter: Segmenter, folder: Path) -> StoredSegmenter:
    return StoredSegmenter(segmenter, EncodingStore(folder, BUDGET_BYTES))


def fresh_click(kind: str, folder: Path) -> None:
    """What the fresh process does: prints the seconds of its first click on the kept image, and the digest."""
    segmenter = network(kind)
    click(segmenter, picture(9))
    stored = from_disk(segmenter, folder)
    image = picture(1)
    start = time.perf_counter()
    digest = click(stored, image)
    print(json.dumps({"seconds": time.perf_counter() - start, "digest": digest}))


def in_a_fresh_process(kind: str, folder: Path) -> tuple[float, str]:
    command = [sys.executable, "-m", "benchmarks.encodings", "--fresh", kind, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    said = json.loads(done.stdout.splitlines()[-1])
    return float(said["seconds"]), str(said["digest"])


def measured(kind: str, pairs: int) -> dict[str, Any]:
    """All three comparisons of one network. Exits where two clicks on one image differ."""
    segmenter = network(kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored, image = from_disk(segmenter, folder), picture(1)
        cold = click(stored, image)
        digests = {"cold": cold, "warm": click(stored, image)}
        warm = alternate(lambda: click(stored, image), lambda: click(segmenter, image), pairs)
        entry_bytes = stored.store.size_bytes
        turns = in_turn(segmenter, folder, pairs)
        fresh = [in_a_fresh_process(kind, folder) for _ in range(3)]
    digests |= {f"fresh {number}": digest for number, (_, digest) in enumerate(fresh, start=1)}
    if set(digests.values()) != {cold}:
        raise SystemExit(f"{kind}: the same click gives other masks: {digests}")
    seconds = statistics.median(seconds for seconds, _ in fresh)
    rows = {"warm": figures(warm), "in_turn": figures(turns)}
    told(kind, "warm click / cold click", warm, TARGET_WARM.get(kind))
    told(kind, "two images in turn / one-image cache", turns, TARGET_TURNS)
    ratio = seconds / statistics.median(warm.peer_s)
    print(f"{kind}: first click of a fresh process {seconds:.3f} s, {ratio:.3f} of a cold click")
    print(f"{kind}: {entry_bytes / 1e6:.1f} MB for each image; {len(digests)} clicks equal to the last bit")
    return {"network": kind, **rows, "fresh": {"seconds": seconds, "ratio": ratio}, "entry_bytes": entry_bytes}


def figures(compared: Comparison) -> dict[str, Any]:
    ours, peer = statistics.median(compared.ours_s), statistics.median(compared.peer_s)
    return {
        "ours": ours,
        "peer": peer,
        "ratio": compared.ratio,
        "ci95": compared.ci95,
        "pairs": len(compared.ratios),
    }


def told(kind: str, what: str, compared: Comparison, target: float | None) -> None:
    low, high = compared.ci95
    ours, peer = statistics.median(compared.ours_s), statistics.median(compared.peer_s)
    goal = "" if target is None else f", target <= {target:g}"
    print(f"{kind}: {what} {compared.ratio:.3f} (95 % {low:.3f} to {high:.3f}); {ours:.3f} s, {peer:.3f} s{goal}")


def seconds_of(work: Callable[[], object], times: int = 5) -> float:
    """The median."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fresh", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.fresh:
        fresh_click(asked.fresh[0], Path(asked.fresh[1]))
        return
    results = [measured(kind, asked.pairs) for kind in asked.networks.split(",")]
    large = picture(0, _LARGE)
    hashing = seconds_of(lambda: content_of(large))
    print(f"hashing an image of 12 megapixels: {hashing:.3f} s")
    if asked.json:
        first = results[0]["warm"]
        facts = {
            "name": "encodings",
            **first,
            "unit": "s",
            "agreement": "equal to the last bit",
            "networks": results,
        }
        print(json.dumps({**facts, "hash_12_mp_s": hashing, "machine": machine(("torch", "ultralytics"))}))


if __name__ == "__main__":
    main()
