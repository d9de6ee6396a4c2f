"""How results are printed: tables for people, JSON Lines for programs. Foreign text reaches no terminal raw."""

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mta.mail.reply import clean

_ENDLESS = 100_000
"""Columns of what is no terminal: a row is a line there, however long."""


class Output:
    """Prints the results of one command."""

    def __init__(self, stream: IO[str], *, json: bool) -> None:
        self._stream = stream
        self._json = json

    @property
    def is_json(self) -> bool:
        """Whether a program reads."""
        return self._json

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str = "nothing") -> None:
        """Print a list: all keys as JSON Lines, or some of them as columns of a table."""
        if self._json:
            for row in rows:
                self.record(row)
            return
        if not rows:
            self.line(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.replace("_", " ").upper(), overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(row.get(column))) for column in columns))
        width = None if self._stream.isatty() else _ENDLESS
        Console(file=self._stream, width=width, highlight=False).print(table)

    def record(self, row: Mapping[str, Any]) -> None:
        """Print one object: as a line of JSON, or as lines of `key: value`."""
        if self._json:
            # ASCII only, so that no letter of a stranger reaches a terminal as it is
            self._stream.write(json.dumps(row, default=str) + "\n")
            return
        width = max((len(key) for key in row), default=0)
        for key, value in row.items():
            self.line(f"{key.replace('_', ' '):<{width}}  {_cell(value)}")

    def line(self, text: str = "") -> None:
        """Print a line for people; nothing when a program reads."""
        if not self._json:
            self._stream.write(clean(text) + "\n")

    def flush(self) -> None:
        """Let the reader have what was printed, for a command that goes on."""
        self._stream.flush()


def _cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_cell, value)) or "-"
        case _:
            return clean(str(value))
