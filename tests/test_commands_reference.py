"""docs/commands.md says what the commands say."""

import subprocess
import sys

import click

from mta.cli.main import cli
from tests.commands_reference import PAGE, reference


def test_the_page_is_what_the_commands_help_says_now() -> None:
    # a process of its own: a command that another test has run keeps the help option that it had there
    command = [sys.executable, "-m", "tests.commands_reference", "--print"]
    made = subprocess.run(command, check=True, capture_output=True, cwd=PAGE.parents[1], timeout=60)
    assert PAGE.read_text("utf-8") == made.stdout.decode("utf-8"), "write it again: python -m tests.commands_reference"


def test_every_command_is_on_it() -> None:
    page = reference()
    for name, command in cli.commands.items():
        assert f"## `mta {name}`" in page
        for below in command.commands if isinstance(command, click.Group) else ():
            assert f"## `mta {name} {below}`" in page
