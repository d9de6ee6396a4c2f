"""Statements that write many rows in one step: a list of VALUES as long as the rows are many.

A step is what the interpreter's lock is given away for and fought for: row by row, a thread that writes spends more
time on getting it back than on writing.
"""

import re
import sqlite3
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter

from mta.storage.rows import Params

MOST = 32
"""Rows of one step; each number of them is a statement that stays prepared."""

_ROW = re.compile(r"(?<=VALUES)\s*\([^()]*\)")
PARAMETER = re.compile(r":(\w+)")
"""A statement's named parameter."""


class Bulk:
    """One such statement."""

    def __init__(self, statement: str) -> None:
        """Take a statement with one row `VALUES (:name, ...)`, and parameters nowhere else.

        Raises:
            ValueError: it is no such statement.
        """
        rows = _ROW.findall(statement)
        names = PARAMETER.findall(rows[0]) if len(rows) == 1 else []
        if len(names) < 2 or len(names) != len(PARAMETER.findall(statement)):
            raise ValueError(f"no statement of one row of parameters: {statement}")
        self._values = itemgetter(*names)
        before, _, behind = statement.partition(rows[0])
        row = PARAMETER.sub("?", rows[0])
        self._texts = [before + ",".join([row] * count) + behind for count in range(1, MOST + 1)]

    def run(self, connection: sqlite3.Connection, rows: Sequence[Params]) -> None:
        """Write rows, in their order.

        Raises:
            sqlite3.Error: not all of them were written.
        """
        for start in range(0, len(rows), MOST):
            some = rows[start : start + MOST]
            connection.execute(self._texts[len(some) - 1], tuple(chain.from_iterable(map(self._values, some))))
