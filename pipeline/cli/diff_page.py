"""The page of `pipeline diff`: the most changed objects before and after. One file, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from pipeline.cli.words import many

if TYPE_CHECKING:
    from pipeline.domain.geometry import Box, Image
    from pipeline.domain.records import Instance
    from pipeline.report.pictures import Album
    from pipeline.services.difference import Change, Difference
    from pipeline.store.workspace import Workspace

__all__ = ["STYLE", "image_of", "page"]

_PICTURE_BYTES = 20_000_000
STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #fff; --ink: #1c2128; --soft: #5f6772; --line: #e4e5e0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --card: #1b1f24; --ink: #e7e9ec; --soft: #9aa3ae; --line: #2d333b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 32px 20px 56px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; }
h1 code { font-size: .85em; }
p { margin: 0 0 24px; color: var(--soft); max-width: 60em; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr)); gap: 16px; }
figure { margin: 0; padding: 12px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
figure div { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
figure span { display: block; }
img { display: block; width: 100%; height: auto; border-radius: 6px; background: var(--line); }
small { color: var(--soft); font-size: 13px; line-height: 1.4; }
figcaption { margin-top: 8px; font-size: 15px; line-height: 1.35; }
figcaption small { display: block; }
"""


def page(
    opened: Workspace, versions: tuple[str, str], classes: Sequence[str], found: Difference, pictures: int
) -> str:
    """The most changed objects first, at most `pictures` of them; an image that cannot be read says why."""
    from pipeline.report.pictures import Album

    album = Album(lambda sample_id: image_of(opened, sample_id), budget=_PICTURE_BYTES)
    names = {sample.id: sample.path.name for sample in opened.ledger.samples.all()}
    shown = found.changes[:pictures]
    figures = "\n".join(_figure(change, names[change.sample_id], classes, album) for change in shown)
    title = f"<code>{versions[0][:12]}</code> → <code>{versions[1][:12]}</code>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{versions[0][:12]} → {versions[1][:12]}</title>\n<style>{STYLE}</style></head>\n"
        f"<body>\n<h1>{title}</h1>\n<p>{escape(' '.join(_summary(found, len(shown))))}</p>\n"
        f"<main>\n{figures}\n</main>\n</body></html>\n"
    )


def image_of(opened: Workspace, sample_id: str) -> Image:
    """The canonical frame. Raises ImageUnreadable if the file is gone, or is another one now."""
    from pipeline.formats.image import read_frame

    sample = opened.ledger.samples.get(sample_id)
    copy = sample.path.is_relative_to(opened.blobs.root)
    return read_frame(sample.path, sha256=None if copy else sample.id)


def _summary(found: Difference, shown: int) -> Iterator[str]:
    images, objects = found.images, found.instances
    yield f"{many(images.before, 'image')} before, {images.after:,} after."
    yield f"Objects: {objects.added:,} added, {objects.removed:,} removed, {objects.changed:,} changed."
    if found.mean_iou is not None:
        yield f"Masks that changed overlap with what they were by {found.mean_iou:.3f} (mean IoU)."
    if shown < len(found.changes):
        yield f"The {shown} most changed are shown."


def _figure(change: Change, name: str, classes: Sequence[str], album: Album) -> str:
    before, after = (_picture(change, item, classes, album) for item in (change.before, change.after))
    labels = [item.label for item in (change.before, change.after) if item is not None]
    states = [item.state.value for item in (change.before, change.after) if item is not None]
    how = change.kind if change.iou is None else f"IoU {change.iou:.3f}"
    told = f"{escape(' → '.join(dict.fromkeys(labels)))} · {how}"
    about = f"{escape(name)} · {escape(' → '.join(dict.fromkeys(states)))} · {escape(change.sample_id[:12])}"
    return (
        f"<figure><div><span>{before}<small>before</small></span><span>{after}<small>after</small></span></div>"
        f"<figcaption>{told}<small>{about}</small></figcaption></figure>"
    )


def _picture(change: Change, item: Instance | None, classes: Sequence[str], album: Album) -> str:
    """The square around both masks, with one of them drawn."""
    from pipeline.report.pictures import Outline, colour_of

    outlines = []
    if item is not None and item.mask is not None:
        number = list(classes).index(item.label) if item.label in classes else len(classes)
        outlines.append(Outline(item.mask, colour_of(number)))
    shot = album.close_up(change.sample_id, outlines, _around(change))
    if not shot.uri:
        return f"<small>{escape(shot.lacks)}</small>"
    return f'<img src="{shot.uri}" width="{shot.width}" height="{shot.height}" alt="">'


def _around(change: Change) -> Box:
    from pipeline.domain.geometry import Box

    boxes = [item.box for item in (change.before, change.after) if item is not None]
    corners = list(zip(*boxes, strict=True))
    return Box(min(corners[0]), min(corners[1]), max(corners[2]), max(corners[3]))
