"""The command line as its users have it: arguments in; exit code, output and messages out."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from mta.cli.main import cli

UNFIT_FOR_A_TERMINAL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@contextmanager
def _logging_put_back() -> Iterator[None]:
    """What a server sets up for its process is not for the tests behind this one."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The output as JSON Lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def row(self) -> dict[str, Any]:
        """The only line of JSON."""
        (row,) = self.rows
        return row

    @property
    def lines(self) -> list[str]:
        """The output, without the blanks that fill a table."""
        return [line.rstrip() for line in self.stdout.splitlines()]


@dataclass(frozen=True, slots=True)
class Command:
    """`mta -c FILE`, in this process."""

    config: Path

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Answer:
        """Run a command. That it ends with an exception of ours is an error of the test."""
        with _logging_put_back():
            result = CliRunner().invoke(cli, ["-c", str(self.config), *arguments], input=stdin, prog_name="mta")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return Answer(result.exit_code, result.stdout, result.stderr)
