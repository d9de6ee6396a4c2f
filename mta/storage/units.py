"""Units of work: what is handed to the writer, which gives it a transaction and commits it."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")

I = TypeVar("I")  # noqa: E741  what is handed in

Unit = Callable[[sqlite3.Connection], T]

Together = Callable[[sqlite3.Connection, Sequence[I]], Sequence[T | Exception]]
"""A unit for many things of one kind: returns for each what came of it, or the exception for who handed it in."""


class OneStep(Struct, frozen=True):
    """A statement that is a whole transaction, and what came of each thing once it is carried out."""

    statement: str
    values: Sequence[object]
    answers: Sequence[object]


InOne = Callable[[sqlite3.Connection, Sequence[I]], OneStep | None]
"""Says how things of one kind are carried out in one step, and writes nothing; None: that takes more than one."""
