"""docs/commands.md says what the commands say."""

import click

from mta.cli.main import cli
from tests.commands_reference import PAGE, reference


def test_the_page_is_what_the_commands_help_says_now() -> None:
    assert PAGE.read_text("utf-8") == reference(), "write it again: python -m tests.commands_reference"


def test_every_command_is_on_it() -> None:
    page = reference()
    for name, command in cli.commands.items():
        assert f"## `mta {name}`" in page
        for below in command.commands if isinstance(command, click.Group) else ():
            assert f"## `mta {name} {below}`" in page
