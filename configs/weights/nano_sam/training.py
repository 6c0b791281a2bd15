"""The whole course: batches of scenes, some rounds of prompts and answers each, weights that follow slowly."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from connectors.nano_sam.encoder import Features
from connectors.nano_sam.model import NanoSam
from connectors.nano_sam.network import SQUARE
from connectors.nano_sam.prompting import Prompts
from connectors.promptable.weights import restore
from nano_sam.examples import FRAMES, PIECES, Example, Mixture, example
from nano_sam.lessons import lesson, spoken
from nano_sam.people import Said, click, first_said, packed

_WARM_UP = 150
_LOWEST_RATE = 0.02
_SAVE_EVERY_S = 150.0
_SURE = 20.0
_MEMORY = 0.998
"""How much of the averaged weights stays at each step."""


@dataclass(frozen=True)
class Course:
    """`objects` of each of `images` pieces are asked about; whole frames come `frames_share` of the steps, the last
    ones, half as many at once. A conversation has up to `rounds` rounds. `rate` is AdamW's highest."""

    steps: int = 4_500
    images: int = 6
    objects: int = 4
    rate: float = 1e-3
    decay: float = 0.03
    frames_share: float = 0.22
    seed: int = 1
    rounds: int = 3

    def mixture(self, step: int) -> tuple[Mixture, int]:
        """What is drawn at a step, and how many of it."""
        if step < self.steps * (1 - self.frames_share):
            return PIECES, self.images
        return FRAMES, max(1, self.images // 2)

    def rate_at(self, step: int) -> float:
        """A short rise, then a cosine."""
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * min(1.0, (step + 1) / _WARM_UP) * (_LOWEST_RATE + (1 - _LOWEST_RATE) * falling)


class Training:
    """A course at some step; `save` and `restore` go on exactly where it was, with the same number of threads.

    It begins with random weights, or with those of the file `start`.
    """

    def __init__(self, course: Course, start: Path | None = None) -> None:
        torch.manual_seed(course.seed)
        self.course = course
        self.step = 0
        self.model = NanoSam()
        if start is not None:
            restore(self.model, "nano_sam", start)
            self.model.float()
        self.model = self.model.to(memory_format=torch.channels_last)
        self.averaged = {name: value.clone() for name, value in self.model.state_dict().items()}
        weights = [one for one in self.model.parameters() if one.ndim > 1]
        others = [one for one in self.model.parameters() if one.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": course.decay}, {"params": others, "weight_decay": 0.0}],
            lr=course.rate,
        )

    def save(self, path: Path) -> None:
        """Write all of it; a file is whole or not there."""
        state = {
            "course": asdict(self.course),
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    @classmethod
    def restore(cls, path: Path) -> "Training":
        """The training that `save` wrote."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        training = cls(Course(**state["course"]))
        training.step, training.averaged = state["step"], state["averaged"]
        training.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        return training

    def run(self, *, path: Path, until: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Go on to the end of the course, or until `until`; saved now and then, and at the end."""
        saved, told = time.monotonic(), []
        with ThreadPoolExecutor(1) as artist:  # draws the next batch meanwhile
            drawing = artist.submit(_drawn, self.course, self.step)
            while self.step < self.course.steps and not until():
                examples, drawing = drawing.result(), artist.submit(_drawn, self.course, self.step + 1)
                told.append(self._take_step(examples))
                if self.step % 50 == 0:
                    loss, first, last = np.mean(told[-50:], axis=0)
                    tell(
                        f"step {self.step}/{self.course.steps} loss {loss:.3f} IoU first {first:.3f} last {last:.3f}"
                    )
                if time.monotonic() - saved > _SAVE_EVERY_S:
                    self.save(path)
                    saved = time.monotonic()
        self.save(path)

    def _take_step(self, examples: list[Example]) -> tuple[float, float, float]:
        """Learn from one batch: its loss, and the mean IoU of the first and of the last answers."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.course.rate_at(self.step)
        rng = np.random.default_rng([self.course.seed, 1, self.step])
        loss, ious = _conversation(self.model, examples, self.course.rounds, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        return float(loss.detach()), ious[0], ious[-1]

    def _average(self) -> None:
        """The averaged weights follow the trained ones, quicker in the beginning."""
        share = 1 - min(_MEMORY, self.step / (self.step + 19))
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                self.averaged[name].lerp_(value, share)
            else:
                self.averaged[name].copy_(value)


def _drawn(course: Course, step: int) -> list[Example]:
    mixture, images = course.mixture(step)
    return [
        example(mixture, course.objects, np.random.default_rng([course.seed, 0, step, index]))
        for index in range(images)
    ]


def _conversation(
    model: NanoSam, examples: list[Example], most: int, rng: np.random.Generator
) -> tuple[Tensor, list[float]]:
    """One to `most` rounds of prompts and answers, one half as often: their mean loss, and each round's mean IoU."""
    target, lows = _targets(examples)
    masks = [mask for one in examples for mask in one.masks]
    said = [first_said(mask, low, rng) for mask, low in zip(masks, lows, strict=True)]
    free = SQUARE.side - masks[0].shape[0]
    origin = float(rng.integers(free + 1)), float(rng.integers(free + 1))
    features = _features(model, examples)
    losses, ious = [], []
    rounds = 1 + int(rng.integers(1, 2 * most)) // 2
    for number in range(1, rounds + 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, predicted = model.decode(features, _prompts(said, lows[0].shape[0], origin), origin)
        logits, predicted = logits.float(), predicted.float()
        loss, true = lesson(logits, predicted, target)
        losses.append(loss)
        ious.append(float(true[:, 0].mean()))
        if number < rounds:
            _go_on(said, lows, logits.detach(), predicted.detach(), rng)
    return torch.stack(losses).mean(), ious


def _targets(examples: list[Example]) -> tuple[Tensor, list[NDArray[np.bool_]]]:
    """The objects at half the resolution: as shares `(b, h/2, w/2)`, and as bitmaps."""
    masks = np.stack([mask for one in examples for mask in one.masks])
    target = fn.avg_pool2d(torch.from_numpy(masks).float()[:, None], 2)[:, 0]
    return target, list((target > 0.5).numpy())


def _features(model: NanoSam, examples: list[Example]) -> Features:
    """One row for each object."""
    pixels = torch.from_numpy(np.stack([one.pixels for one in examples]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.encode(pixels.contiguous(memory_format=torch.channels_last))
    return Features(*(values.repeat_interleave(len(examples[0].masks), dim=0) for values in features))


def _prompts(said: list[Said], low_side: int, origin: tuple[float, float]) -> Prompts:
    """In the frame's pixels, from those of the piece that lies at `origin`."""
    points, labels, boxes, priors = (torch.from_numpy(array) for array in packed(said, low_side))
    corner = torch.tensor(origin)
    return Prompts(points + corner, labels, boxes + corner.repeat(2), priors)


def _go_on(
    said: list[Said], lows: list[NDArray[np.bool_]], logits: Tensor, ious: Tensor, rng: np.random.Generator
) -> None:
    """Each person sees a mask and clicks on what is wrong with it; the mask becomes the prior."""
    candidate = torch.tensor([one.is_one_point and rng.random() < 0.6 for one in said])
    for one, low, answer in zip(said, lows, spoken(logits, ious, candidate).numpy(), strict=True):
        one.prior = answer.clip(-_SURE, _SURE)
        click(one, answer > 0, low, rng)
