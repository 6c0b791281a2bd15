"""How a dataset looks when it is opened in the App: saved views, the sidebar's order, colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["COLOURS", "VIEWS", "arrange", "save_views"]

VIEWS: Mapping[str, str] = {
    "most doubtful": "where the machine is least sure, first",
    "edited most": "where people changed the machine's mask most, first",
    "disagreements": "where people do not agree, the worst first",
    "low round trip": "masks that lose more than a twentieth in a YOLO-seg file",
    "rejected": "objects that people threw out",
    "quarantine": "images that are set aside, with the reason in `quarantined`",
}
"""Name -> what it shows."""

COLOURS: Mapping[str, str] = {
    "proposals": "#4c9be8",
    "human": "#3fb950",
    "before": "#e3a008",
    "rejected": "#e5534b",
    "truth": "#b083f0",
}
"""Of each field with labels."""

_AGREED = 0.9
_FLOOR = 0.95


def save_views(dataset: Any, F: Any) -> None:  # noqa: N803  # FiftyOne's name for a field in an expression
    """Save every one of VIEWS, or save it again; `F` is `fiftyone.ViewField`."""
    views = {
        "most doubtful": dataset.match(F("uncertainty").exists()).sort_by("uncertainty", reverse=True),
        "edited most": dataset.match(F("changed") > 0).sort_by("changed", reverse=True),
        "disagreements": dataset.match(_below(F("agreement"), _AGREED)).sort_by("agreement"),
        "low round trip": dataset.match(_below(F("worst_round_trip"), _FLOOR)).sort_by("worst_round_trip"),
        "rejected": dataset.match(F("rejected.detections").length() > 0),
        "quarantine": dataset.match(F("quarantined").exists()),
    }
    for name, view in views.items():
        dataset.save_view(name, view, description=VIEWS[name], overwrite=True)


def _below(figure: Any, limit: float) -> Any:
    """Where there is a figure and it is less: to the database, nothing is less than every number."""
    return figure.exists() & (figure < limit)


def arrange(dataset: Any, fo: Any, figures: list[str]) -> None:
    """People's and models' labels first, then figures; what only programs need is folded away."""
    groups = [
        fo.SidebarGroupDocument(name="tags"),
        fo.SidebarGroupDocument(name="labels", paths=list(COLOURS)),
        fo.SidebarGroupDocument(name="figures", paths=figures),
        fo.SidebarGroupDocument(
            name="file",
            paths=["filepath", "maskloop_id", "maskloop_row", "id", "created_at", "last_modified_at"],
            expanded=False,
        ),
        fo.SidebarGroupDocument(
            name="metadata", paths=[f"metadata.{name}" for name in ("width", "height")], expanded=False
        ),
    ]
    dataset.app_config.sidebar_groups = groups
    dataset.app_config.active_fields = fo.ActiveFields(paths=["proposals", "human", "rejected"])
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="field",
        fields=[{"path": path, "fieldColor": colour} for path, colour in COLOURS.items()],
    )
    dataset.save()
