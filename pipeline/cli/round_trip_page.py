"""The sheet of `pipeline export`: masks of which a YOLO row keeps too little, before and after. One file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from pipeline.cli.diff_page import STYLE, image_of
from pipeline.cli.words import many

if TYPE_CHECKING:
    from pipeline.domain.mask import Mask
    from pipeline.formats.round_trip import Lossy
    from pipeline.report.pictures import Album
    from pipeline.store.workspace import Workspace

__all__ = ["page"]

_PICTURE_BYTES = 20_000_000


def page(opened: Workspace, version: str, lossy: Sequence[Lossy], floor: float) -> str:
    """All of `lossy` in their order; when the page holds as many pictures as it may, the rest is told in words."""
    from pipeline.report.pictures import Album

    album = Album(lambda sample_id: image_of(opened, sample_id), budget=_PICTURE_BYTES)
    names = {sample.id: sample.path.name for sample in opened.ledger.samples.all()}
    figures = "\n".join(_figure(one, names[one.sample_id], album) for one in lossy)
    title = f"Round trip of {version[:12]}"
    about = (
        f"{many(len(lossy), 'mask')} with an IoU under {floor:g} after being written as a YOLO row and read as "
        "Ultralytics does. Between parts it draws the seam that joins them: the farther apart and the smaller the "
        "parts, the more that is."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style></head>\n"
        f"<body>\n<h1>{title}</h1>\n<p>{escape(about)}</p>\n<main>\n{figures}\n</main>\n</body></html>\n"
    )


def _figure(one: Lossy, name: str, album: Album) -> str:
    from pipeline.formats.round_trip import read_back

    before, after = (_picture(one, mask, album) for mask in (one.mask, read_back(one.mask)))
    item = one.instance
    return (
        f"<figure><div><span>{before}<small>before</small></span><span>{after}<small>after</small></span></div>"
        f"<figcaption>{escape(item.label)} · IoU {one.iou:.3f}"
        f"<small>{escape(name)} · {item.state.value} · {escape(item.id)}</small></figcaption></figure>"
    )


def _picture(one: Lossy, mask: Mask, album: Album) -> str:
    from pipeline.report.pictures import AFTER, BEFORE, Outline

    outline = Outline(mask, BEFORE if mask is one.mask else AFTER)
    shot = album.close_up(one.sample_id, [outline], one.instance.box)
    if not shot.uri:
        return f"<small>{escape(shot.lacks)}</small>"
    return f'<img src="{shot.uri}" width="{shot.width}" height="{shot.height}" alt="">'
