"""Make the weights that come along with `nano_sam`: `python configs/weights/make_nano_sam.py train`; see README.md.

    train      from nothing, or from where it was stopped, to half-precision safetensors; then measure
    measure    what weights can do on scenes that no training saw

Scenes are generated while it learns; nothing is downloaded.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from nano_sam.figures import measure
from nano_sam.training import Course, Training
from safetensors.torch import save_file

from connectors.nano_sam.model import NanoSam
from connectors.nano_sam.network import SQUARE, NanoNetwork
from connectors.promptable.segmenter import PromptableSegmenter
from connectors.promptable.weights import restore
from connectors.segmenters.nano_sam import SHIPPED
from pipeline.scenes import DEMO, PRETRAINING

HELD_OUT = {"PRETRAINING": (PRETRAINING, 7_001), "DEMO": (DEMO, 7_002)}
"""Scenes to measure on, and the seeds of their series. The course draws from other series."""


def train(args: argparse.Namespace) -> None:
    """Train, publish, measure. Stopped after `--minutes`, it only leaves its checkpoint."""
    torch.set_num_threads(args.threads)
    checkpoint = args.work / "nano_sam.pt"
    args.work.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        training = Training.restore(checkpoint)
    else:
        training = Training(Course(args.steps, rate=args.rate, rounds=args.rounds, seed=args.seed), args.start)
    end = time.monotonic() + 60 * args.minutes
    training.run(path=checkpoint, until=lambda: time.monotonic() > end, tell=lambda line: print(line, flush=True))
    if training.step == training.course.steps:
        publish(training.averaged, args.out, {"steps": training.step, "seed": training.course.seed})
        args.weights = args.out
        show(args)


def publish(weights: dict[str, torch.Tensor], out: Path, facts: dict[str, Any]) -> None:
    """Write half-precision safetensors, and print the digest that stands in the peer."""
    halves = {
        name: value.half().contiguous() if value.dtype.is_floating_point else value
        for name, value in weights.items()
    }
    header = {"kind": "nano_sam", "version": "1", "licence": "AGPL-3.0-only", "training": json.dumps(facts)}
    save_file(halves, out, metadata=header)
    print(f"{out.name}: {out.stat().st_size} bytes, SHA-256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


def show(args: argparse.Namespace) -> None:
    """Measure and print, one line of JSON for each series of scenes."""
    torch.set_num_threads(args.threads)
    segmenter = opened(args.weights)
    for name, (spec, seed) in HELD_OUT.items():
        figures = measure(segmenter, spec, objects=args.objects, seed=seed)
        print(
            json.dumps({"scenes": name, "seed": seed, **{key: round(value, 4) for key, value in figures.items()}})
        )


def opened(weights: Path) -> PromptableSegmenter:
    """A segmenter over the weights of any course, whatever their digest."""
    model = NanoSam()
    restore(model, "nano_sam", weights)
    model.eval().requires_grad_(False)
    network = NanoNetwork(model)

    def run(pixels: Any) -> Any:
        with torch.inference_mode():
            return tuple(made.numpy() for made in network.encoder(torch.from_numpy(pixels)))

    return PromptableSegmenter(network, run, SQUARE, name="nano_sam", fingerprint=str(weights), batch=16)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="train, publish, measure")
    training.set_defaults(run=train)
    training.add_argument(
        "--work", type=Path, required=True, help="folder for the checkpoint, which is gone on with"
    )
    training.add_argument("--out", type=Path, default=SHIPPED, help="file to write")
    training.add_argument("--steps", type=int, default=Course.steps, help="length of the course")
    training.add_argument("--rate", type=float, default=Course.rate, help="highest learning rate")
    training.add_argument("--rounds", type=int, default=Course.rounds, help="most rounds of clicks on one object")
    training.add_argument("--seed", type=int, default=Course.seed, help="of the scenes and of what people say")
    training.add_argument("--start", type=Path, help="weights to begin with, instead of random ones")
    training.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    measuring = commands.add_parser("measure", help="what weights can do")
    measuring.set_defaults(run=show)
    measuring.add_argument("--weights", type=Path, default=SHIPPED)
    for command in (training, measuring):
        command.add_argument("--threads", type=int, default=torch.get_num_threads())
        command.add_argument("--objects", type=int, default=250, help="how many objects to measure on")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
