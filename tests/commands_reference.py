"""The reference of the command line, made from the commands' own help: `python -m tests.commands_reference` writes it.

A test compares docs/commands.md with what is made here, so that the page never says what the commands do not.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mta.cli.main import cli

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
_WIDTH = 100
_BEGINNING = """\
# The `mta` command

Made from the commands' own help by `python -m tests.commands_reference`; do not edit it by hand.

Commands that only read the configuration or the store work whether a server runs or not. Those that change a running
queue, its accounts or its lists ask the server through `control.sock` in `data_dir`, which only root and the server's
own user may use. With `--json` a command prints JSON Lines, whose keys stay as they are.

| exit code | means |
|---|---|
| 0 | it was done, or the answer is yes |
| 1 | a negative answer: nothing found, nothing changed, refused |
| 2 | wrong usage |
| 65 | bad data: no address, no domain, no message |
| 66 | a file to read is missing |
| 69 | no server answers |
| 70 | a mistake in mta itself |
| 73 | a file cannot be made |
| 74 | a file cannot be read or written |
| 75 | not now, try again: the store cannot be used, or the receiving end said so |
| 77 | not permitted to this user |
| 78 | the configuration, or something that it points to, cannot be used |
"""


def reference() -> str:
    """Return the page."""
    return "\n".join([_BEGINNING, *_sections("mta", cli, None)])


def _sections(name: str, command: click.Command, above: click.Context | None) -> Iterator[str]:
    context = command.make_context(name, [], parent=above, resilient_parsing=True, terminal_width=_WIDTH)
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for below, child in sorted(command.commands.items()):
            yield from _sections(below, child, context)


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(reference(), end="")
    else:
        PAGE.write_text(reference(), "utf-8")
