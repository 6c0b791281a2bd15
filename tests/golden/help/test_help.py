"""The help page of every command, word for word. After a change: `UPDATE_GOLDEN=1 pytest tests/golden/help`."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from pipeline.cli import main

HERE = Path(__file__).parent
WIDTH = 100
COMMANDS = ["pipeline", *main.commands]


def help_page(name: str) -> str:
    parent = click.Context(main, info_name="pipeline", terminal_width=WIDTH, **main.context_settings)
    if name == "pipeline":
        return main.get_help(parent) + "\n"
    command = main.commands[name]
    return command.get_help(click.Context(command, parent=parent, info_name=name)) + "\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_page_is_the_golden_one(name: str) -> None:
    golden = HERE / f"{name}.txt"
    page = help_page(name)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(page, encoding="utf-8")
    assert page == golden.read_text(encoding="utf-8")


def test_every_golden_page_has_its_command() -> None:
    assert sorted(path.stem for path in HERE.glob("*.txt")) == sorted(COMMANDS)


@pytest.mark.parametrize("name", main.commands)
def test_captions_are_sentences_that_fit_an_ordinary_terminal(name: str) -> None:
    caption = main.commands[name].get_short_help_str(limit=1000)
    assert caption.endswith(".")
    assert len(caption) <= 60
    narrow = click.Context(main, info_name="pipeline", terminal_width=80)
    assert caption in main.get_help(narrow)


@pytest.mark.parametrize("name", main.commands)
def test_every_option_says_what_it_does(name: str) -> None:
    options = [one for one in main.commands[name].params if isinstance(one, click.Option)]
    assert [option.name for option in options if not option.help] == []
