"""The list of commands says of each what the command says of itself."""

from __future__ import annotations

import pytest

from app.cli.commands import PLACES, CommandsWhenRun


@pytest.mark.parametrize("name", PLACES)
def test_a_line_of_the_list_is_what_its_command_says(name: str) -> None:
    """A function's docstring begins with it; a group's own help is that line."""
    command = CommandsWhenRun()[name]
    assert command.name == name
    assert command.get_short_help_str(200) == PLACES[name].words.partition(". ")[0].rstrip(".") + "."


def test_a_command_that_is_not_there_is_no_command() -> None:
    """Also not one of the modules' other names."""
    commands = CommandsWhenRun()
    assert "failing" not in commands
    assert set(commands) == set(PLACES)
