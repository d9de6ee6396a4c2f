"""Statements are found by name, explained, and none of them is made of parts at run time."""

import ast
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mta.storage.connect import connect, prepare
from mta.storage.statements import Statements

STORAGE = Path(__file__).parents[2] / "mta" / "storage"


def test_a_statement_has_a_name_a_sentence_and_a_text() -> None:
    file = (
        "-- What this file is.\n\n-- name: one\n-- Say one.\nSELECT 1\n\n-- name: two\n-- Say\n-- two.\nSELECT\n  2\n"
    )
    assert Statements.parse([file]).texts == {"one": "SELECT 1", "two": "SELECT\n  2"}


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("-- name: one\nSELECT 1\n", "'one' needs a sentence"),
        ("-- name: one\n-- Say one.\n", "'one' needs a sentence and a text"),
        ("-- name: One!\n-- Say one.\nSELECT 1\n", "names no statement"),
        ("-- name: one\n-- Say.\nSELECT 1\n-- name: one\n-- Say.\nSELECT 1\n", "two statements 'one'"),
    ],
)
def test_a_file_with_a_mistake_is_refused(file: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Statements.parse([file])


def test_every_statement_can_be_carried_out_on_the_schema(tmp_path: Path) -> None:
    path = str(tmp_path / "queue.db")
    prepare(path, 0)
    with closing(connect(path)) as connection:
        for name, text in Statements.load().texts.items():
            parameters = dict.fromkeys(re.findall(r":([a-z_0-9]+)", text))
            try:
                connection.execute("EXPLAIN " + text, parameters)
            except sqlite3.Error as error:
                pytest.fail(f"{name}: {error}")


def test_no_statement_is_built_from_strings() -> None:
    # parameters only: Exim put SMTP data into SQLite by string, twice
    words = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b")
    built = [
        f"{file.name}:{node.lineno}"
        for file in STORAGE.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.JoinedStr)
        and any(isinstance(part, ast.Constant) and words.search(str(part.value)) for part in node.values)
    ]
    assert built == []
