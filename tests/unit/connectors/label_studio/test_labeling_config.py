"""Labelling configurations: made of any class names, read from anybody, and judged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.label_studio.labeling_config import config_problems, instructions, labeling_config, read_config
from pipeline.errors import BadFormat

CLASSES = ("car", '"/><Script', "Ü & <b>", "a'b")


def test_what_is_made_is_read_again() -> None:
    tags = read_config(labeling_config(CLASSES))
    assert (tags.image, tags.value) == ("image", "image")
    assert (tags.brush, tags.keypoint, tags.rectangle, tags.polygon) == (
        "brush",
        "keypoint",
        "rectangle",
        "polygon",
    )
    assert tags.labels == CLASSES
    assert tags.smart == {"keypoint", "rectangle"}
    assert config_problems(labeling_config(CLASSES), CLASSES) == []


def test_only_ten_labels_have_keys() -> None:
    xml = labeling_config([f"class {number}" for number in range(60)])
    assert [f'hotkey="{key}"' in xml for key in "1234567890"] == [True] * 10
    assert xml.count("hotkey=") == 10


def test_a_foreign_configuration_is_read() -> None:
    xml = """<View>
      <Header value="Look"/><Text name="text" value="$words"/>
      <Image name="photo" value="$url"/><Image name="other" value="$second"/>
      <BrushLabels name="wrong" toName="other"><Label value="x"/></BrushLabels>
      <BrushLabels name="first" toName="photo,other"><Label value="cat"/></BrushLabels>
      <BrushLabels name="second" toName="photo"><Label value="dog"/></BrushLabels>
      <KeyPointLabels name="points" toName="photo" smart="false"><Label value="cat"/></KeyPointLabels>
      <Choices name="c" toName="photo"><Choice value="fine"/></Choices>
    </View>"""
    tags = read_config(xml)
    assert (tags.image, tags.value, tags.brush, tags.labels) == ("photo", "url", "first", ("cat",))
    assert tags.keypoint == "points"
    assert tags.smart == {"brush"}, "every control is smart unless it says no"
    problems = config_problems(xml, ["cat", "dog"])
    assert any('<KeyPointLabels> has smart="false"' in one for one in problems)
    assert any('there is no <RectangleLabels smart="true">' in one for one in problems)
    assert any("the brush labels lack 'dog'" in one for one in problems)
    assert any("2 <Image>, of which only 'photo' is read" in one for one in problems)


def test_an_alias_is_what_answers_hold() -> None:
    labels = '<Label value="Pussycat" alias="cat"/><Label value="dog" alias=""/>'
    xml = f'<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i">{labels}</BrushLabels></View>'
    assert read_config(xml).labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('rotateControl="false"', 'rotateControl="true"', "turned picture"),
        ("<BrushLabels ", '<BrushLabels choice="multiple" ', "one class"),
    ],
)
def test_what_people_should_not_be_able_to_do_is_a_problem(before: str, after: str, problem: str) -> None:
    xml = labeling_config(CLASSES).replace(before, after)
    [found] = config_problems(xml, CLASSES)
    assert problem in found
    assert "remove it" in found


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1)
    )
)
def test_classes_of_any_name_come_back(classes: list[str]) -> None:
    tags = read_config(labeling_config(classes))
    assert set(tags.labels_of.values()) == {tuple(classes)}


def test_a_label_that_is_no_class_is_a_problem() -> None:
    problems = config_problems(labeling_config(["cat", "cow"]), ["cat"])
    assert len(problems) == 4
    assert all("'cow'" in one and "remove them" in one for one in problems)


def test_masks_need_somewhere_to_go() -> None:
    xml = '<View><Image name="image" value="$image"/></View>'
    assert any("masks have nowhere to go" in one for one in config_problems(xml, []))


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><View><Image name="image" value="$image"/>&c;</View>'
)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("", "no XML"),
        ("<View>", "no XML"),
        (BOMB, "no XML"),
        ("<View/>", "no <Image"),
        ('<View><Image value="$image"/></View>', "no <Image"),
        ("<View>" + " " * 1_000_001 + "</View>", "too long"),
    ],
)
def test_what_is_none_is_refused(xml: str, reason: str) -> None:
    with pytest.raises(BadFormat, match=reason):
        read_config(xml)
    assert reason in config_problems(xml, ["cat"])[0]


def test_instructions_show_class_names_and_run_none_of_them() -> None:
    text = instructions(["<script>alert(1)</script>"])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    for gesture in ("Auto-Annotation", "Alt", "Ctrl", "bottom bar", "rectangle", "Skip"):
        assert gesture in text
