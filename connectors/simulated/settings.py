"""What kind of person is played, and what each action costs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CostModel", "Settings"]

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class CostModel(BaseModel):
    """Seconds an action takes.

    `verdict_s` to accept or reject what is shown (Papadopoulos et al. 2016); `first_click_s` and
    `next_click_s` on one object (Bearman et al. 2016); `box_s` to draw a box (Papadopoulos et al. 2017);
    `polygon_s` to outline an object (Lin et al. 2014); `label_s` to pick another class, taken as a verdict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict_s: Seconds = 1.6
    label_s: Seconds = 1.6
    first_click_s: Seconds = 2.4
    next_click_s: Seconds = 0.9
    box_s: Seconds = 7.0
    polygon_s: Seconds = 79.2

    def clicks_s(self, clicks: int) -> float:
        """Seconds for `clicks` corrections of one object."""
        return self.first_click_s + (clicks - 1) * self.next_click_s if clicks else 0.0


class Settings(BaseModel):
    """A careful person by default.

    `target_iou`: a mask that agrees so well with the truth is accepted. `target_box_iou`: the same for
    objects whose truth is only a box. `match_iou`: below it, what is shown is another object.
    `max_clicks` per object; then the person outlines it exactly if `draw_when_stuck`, else leaves the best.
    `error_rate`: how often an object is taken for another class. `laziness`: how often a bad mask is
    accepted as it is, or a missed object is not added.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_iou: Fraction = 0.9
    target_box_iou: Fraction = 0.75
    match_iou: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.25
    max_clicks: Annotated[int, Field(ge=0)] = 6
    draw_when_stuck: bool = True
    error_rate: Fraction = 0.0
    laziness: Fraction = 0.0
    cost: CostModel = CostModel()
