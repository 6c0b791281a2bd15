"""A refinement asked of a segmenter: the first question, and one more click."""

from __future__ import annotations

from pipeline.domain.clicks import Click
from pipeline.domain.prompts import Encoding, Prompt
from pipeline.domain.refinement import Refinement
from pipeline.ports import Segmenter

__all__ = ["begun", "refined"]


def begun(segmenter: Segmenter, encoding: Encoding, prompt: Prompt) -> Refinement:
    """From a first question. Raises what the segmenter raises."""
    [[answer, *_]] = segmenter.decode(encoding, [prompt])
    return Refinement.of_answer(prompt, answer)


def refined(
    segmenter: Segmenter, encoding: Encoding, before: Refinement, click: Click, *, progressive: bool | None = None
) -> Refinement:
    """The mask after one more click; `progressive` as in `Refinement.answered`.

    Raises what the segmenter raises, such as DataError for a click outside the image.
    """
    [[answer, *_]] = segmenter.decode(encoding, [before.question(click)])
    return before.answered(click, answer, progressive=progressive)
