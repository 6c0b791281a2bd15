"""A project's labelling configuration: made from the classes, and read again from any project's XML.

People see four kinds of tools with the same labels: a brush, whose regions hold the masks; smart key points and smart
rectangles, which ask the backend and never stay in an annotation; and polygons, for those who would rather draw.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from defusedxml import ElementTree as SafeXml
from defusedxml.common import DefusedXmlException

from pipeline.errors import BadFormat

__all__ = ["Tags", "config_problems", "instructions", "labeling_config", "read_config"]

_MAX_CHARACTERS = 1_000_000
_KEYS = "1234567890"
_COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#008080",
    "#9a6324",
    "#808000",
    "#000075",
    "#e6007e",
)
_TOOLS = {
    "BrushLabels": "brush",
    "KeyPointLabels": "keypoint",
    "RectangleLabels": "rectangle",
    "PolygonLabels": "polygon",
}
"""A control's tag -> the word for it here."""
_CAPTIONS = {
    "keypoint": "Smart key point: click",
    "rectangle": "Smart rectangle: drag",
    "brush": "Brush",
    "polygon": "Polygon",
}
"""The tools in the order in which people see them."""
_ASK = ("keypoint", "rectangle")
"""The tools that ask the backend."""
_STEPS = """\
Switch on <b>Auto-Annotation</b> at the bottom of the page (once; it is remembered).
Choose the smart key point in the tool bar, then a label, and click on the object: a mask appears.
It is not right yet? Choose the label again and click on what is missing; <b>Alt</b> + click on what is too much. \
Every click is taken together with those before.
Accept with the check mark in the <b>bottom bar</b>. The one inside the picture leaves your clicks behind.
To correct a mask that is there already: <b>Ctrl</b> + click inside it on what belongs to it, \
<b>Ctrl + Alt</b> + click on what does not. A click just outside of it is understood as its missing part, where the \
answer covers it; else it begins a new object.
A smart rectangle always begins a new object, unless you draw it around one that is there: then that one is made anew.
Delete what is no object, draw with brush and eraser where clicks do not help, and <b>submit</b>. \
<b>Skip</b> a picture that you cannot judge.""".splitlines()
"""What people are told, one gesture a line."""


@dataclass(frozen=True)
class Tags:
    """The names of a configuration's tags; None for a control that it has not.

    `image` is the image tag's name and `value` the key of a task's data that holds its address. `labels` are those of
    the brush, or of the polygons where there is no brush; `labels_of` has those of each control by its word.
    """

    image: str
    value: str
    brush: str | None = None
    keypoint: str | None = None
    rectangle: str | None = None
    polygon: str | None = None
    labels: tuple[str, ...] = ()
    labels_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    smart: frozenset[str] = frozenset()


def labeling_config(classes: Sequence[str]) -> str:
    """The configuration of a project with these classes, as XML.

    The first ten labels of the smart key points have the keys 1 to 0. Built as a tree: a class may be called anything.
    """
    view = ET.Element("View")
    smart, drawn = {"smart": "true", "smartonly": "true"}, {"smart": "false"}
    groups = ET.SubElement(
        view, "View", style="display: flex; flex-wrap: wrap; gap: 0 2.5em; margin-bottom: 0.5em"
    )
    for word, caption in _CAPTIONS.items():
        group = ET.SubElement(groups, "View")
        ET.SubElement(group, "Header", value=caption, size="6")
        tag = next(tag for tag, of in _TOOLS.items() if of == word)
        control = ET.SubElement(
            group, tag, {"name": word, "toName": "image", **(smart if word in _ASK else drawn)}
        )
        for number, name in enumerate(classes):
            label = ET.SubElement(control, "Label", value=name, background=_COLOURS[number % len(_COLOURS)])
            if word == "keypoint" and number < len(_KEYS):
                label.set("hotkey", _KEYS[number])
    image = {"zoom": "true", "zoomControl": "true", "rotateControl": "false", "defaultZoom": "auto"}
    ET.SubElement(view, "Image", {"name": "image", "value": "$image", **image})
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def read_config(xml: str) -> Tags:
    """The tags of a configuration that somebody else may have made: of several controls of one kind, the first that
    belongs to the first image.

    Raises BadFormat for anything that is no such XML, or has no image.
    """
    root = _parsed(xml)
    image = next((one for one in root.iter() if one.tag == "Image"), None)
    if image is None or not image.get("name") or not image.get("value"):
        raise BadFormat('the labelling configuration has no <Image name="image" value="$image"/>')
    name = str(image.get("name"))
    names: dict[str, str] = {}
    labels: dict[str, tuple[str, ...]] = {}
    smart: set[str] = set()
    for control in root.iter():
        word = _TOOLS.get(str(control.tag))
        if word is None or word in names or name not in (control.get("toName") or "").split(","):
            continue
        names[word] = control.get("name") or ""
        # What an answer holds is the alias, where there is one.
        labels[word] = tuple(one.get("alias") or one.get("value") or "" for one in control.iter("Label"))
        if (control.get("smart") or "true").lower() != "false":
            smart.add(word)
    return Tags(
        image=name,
        value=str(image.get("value")).removeprefix("$"),
        **names,
        labels=labels.get("brush", labels.get("polygon", ())),
        labels_of=labels,
        smart=frozenset(smart),
    )


def config_problems(xml: str, classes: Sequence[str]) -> list[str]:
    """What would keep clicks from working in a project, each with what to change; empty if nothing would."""
    try:
        tags = read_config(xml)
    except BadFormat as exc:
        return [exc.reason]
    problems = _habits(_parsed(xml), tags)
    if tags.brush is None and tags.polygon is None:
        problems.append("there is no <BrushLabels> and no <PolygonLabels>: masks have nowhere to go")
    for word, tag in (("keypoint", "KeyPointLabels"), ("rectangle", "RectangleLabels")):
        if word not in tags.labels_of:
            problems.append(f'there is no <{tag} smart="true">: add it, or people cannot ask by {word}')
        elif word not in tags.smart:
            problems.append(f'<{tag}> has smart="false": set it to "true", or a {word} asks nobody')
    for word, labels in tags.labels_of.items():
        missing = [name for name in classes if name not in labels]
        strange = [name for name in labels if name not in classes]
        if missing:
            problems.append(f"the {word} labels lack {', '.join(map(repr, missing))}: add them")
        if strange:
            problems.append(
                f"the {word} labels have {', '.join(map(repr, strange))}, which the project's classes have not: "
                "remove them, or name them under project.classes"
            )
    return problems


def _habits(root: ET.Element, tags: Tags) -> list[str]:
    """What a configuration lets people do, and nobody could read."""
    problems = []
    images = [one for one in root.iter() if one.tag == "Image"]
    if len(images) > 1:
        problems.append(f"there are {len(images)} <Image>, of which only {tags.image!r} is read: keep that one")
    if (images[0].get("rotateControl") or "").lower() == "true":
        problems.append('<Image> has rotateControl="true": remove it, masks on a turned picture cannot be read')
    return problems + [
        f'<{control.tag}> has choice="multiple": remove it, an object is of one class'
        for control in root.iter()
        if str(control.tag) in _TOOLS and control.get("choice") == "multiple"
    ]


def instructions(classes: Sequence[str]) -> str:
    """What people are told before they begin, as HTML."""
    names = ", ".join(f"<b>{html.escape(name)}</b>" for name in classes)
    # Label Studio's pages show lists without numbers and space unless they are told.
    items = "".join(f'<li style="margin: 0.5em 0">{step}</li>' for step in _STEPS)
    steps = f'<ol style="list-style: decimal; padding-left: 1.5em">{items}</ol>'
    return f"<h3>Outline every object: {names}</h3>{steps}"


def _parsed(xml: str) -> ET.Element:
    if len(xml) > _MAX_CHARACTERS:
        raise BadFormat(f"a labelling configuration of {len(xml)} characters is too long")
    try:
        root: ET.Element = SafeXml.fromstring(xml, forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException, ValueError) as exc:
        raise BadFormat(f"the labelling configuration is no XML: {type(exc).__name__}") from exc
    return root
