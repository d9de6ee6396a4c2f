"""Several TOML texts become one: mta.toml and what mta.d adds to it, with the place of every value kept.

Pure: the texts come as arguments, files are read by `load`. Lists of tables grow; everything else may be given once.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mta.config.positions import Loc, Positions
from mta.config.schema import LIST_TABLES
from mta.config.settings import Settings
from mta.errors import Problem

_AT_LINE = re.compile(r"\(at line (\d+), column (\d+)\)$")
_TABLE_TWICE = re.compile(r"Cannot declare \((.*)\) twice")


@dataclass(frozen=True, slots=True)
class Document:
    """One file: what it says, and on which lines."""

    path: Path
    data: dict[str, object]
    positions: Positions

    @classmethod
    def parse(cls, path: Path, octets: bytes) -> "Document | Problem":
        """Return the document, or the one problem for which it cannot be read at all."""
        try:
            text = octets.decode("utf-8").replace("\r\n", "\n")
            return cls(path, tomllib.loads(text), Positions.of(text))
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            return Problem(str(path), line, "", "is not UTF-8 text", "save the file in the encoding UTF-8")
        except tomllib.TOMLDecodeError as error:
            return _syntax_problem(path, str(error), text)
        except ValueError:
            # What Python itself refuses below tomllib: the digits of one number are limited.
            return Problem(str(path), None, "", "holds a number with thousands of digits", "shorten it")
        except RecursionError:
            return Problem(str(path), None, "", "its lists and tables are nested too deep", "remove some levels")


def _syntax_problem(path: Path, message: str, text: str) -> Problem:
    found = _AT_LINE.search(message)
    line = int(found[1]) if found else text.rstrip("\n").count("\n") + 1
    reason = _AT_LINE.sub("", message).removesuffix("(at end of document)").strip()
    twice = _TABLE_TWICE.search(message)
    if twice:
        name = ".".join(re.findall(r"'([^']*)'", twice[1]))
        return Problem(str(path), line, "", f"the table [{name}] is given twice", "put its keys under one of them")
    if message.startswith("Cannot overwrite a value"):
        return Problem(str(path), line, "", "this key is given twice", "remove one of them")
    where = f" (column {found[2]})" if found else " (at the end of the file)"
    advice = 'every key looks like key = value; texts, durations and sizes stand in quotes, e.g. max_age = "4d"'
    return Problem(str(path), line, "", f"not valid TOML: {reason[:1].lower()}{reason[1:]}{where}", advice)


@dataclass(frozen=True, slots=True)
class Piece:
    """One value of a document: a top-level key, a key of a section, or one entry of a list of tables."""

    document: Document
    home: Loc  # its place in its own document
    value: object


@dataclass(frozen=True, slots=True)
class Merged:
    """The pieces of all documents; a piece's place is where it stands in the whole."""

    documents: tuple[Document, ...]
    pieces: dict[Loc, Piece]

    @property
    def data(self) -> dict[str, object]:
        """The whole as one tree; values are shared with the pieces, the tree itself is made anew."""
        tree: dict[str, object] = {}
        for loc, piece in self.pieces.items():
            match loc:
                case (str() as name,):
                    tree[name] = piece.value
                case (str() as name, str() as key):
                    section = tree.setdefault(name, {})
                    if isinstance(section, dict):
                        section[key] = piece.value
                case (str() as name, int()):
                    entries = tree.setdefault(name, [])
                    if isinstance(entries, list):
                        entries.append(piece.value)
        return tree

    def place(self, loc: Loc) -> tuple[Document, int | None]:
        """Return the file and line of a value, or of the nearest thing around it."""
        for length in range(len(loc), 0, -1):
            piece = self.pieces.get(loc[:length])
            if piece:
                return piece.document, piece.document.positions.line(piece.home + loc[length:])
        for document in self.documents:
            if loc and loc[0] in document.data:
                return document, document.positions.line(loc[:1])
        return self.documents[0], None

    def describe(self, loc: Loc) -> str:
        """Return file:line of a value for use in a sentence."""
        document, line = self.place(loc)
        return str(document.path) if line is None else f"{document.path}:{line}"

    def without(self, broken: Sequence[Loc]) -> "Merged":
        """Return the whole without the pieces that a place in `broken` stands in; lists keep their indexes' order.

        Entries after a removed one move up, with their origins.
        """
        places = set(broken)
        heads = {place[:length] for place in places for length in (1, 2)}
        kept: dict[Loc, Piece] = {}
        moved: dict[str, int] = {}
        for loc, piece in self.pieces.items():
            if loc in heads or loc[:1] in places:
                continue
            if len(loc) == 2 and isinstance(loc[0], str) and isinstance(loc[1], int):
                index = moved.get(loc[0], 0)
                moved[loc[0]] = index + 1
                loc = (loc[0], index)
            kept[loc] = piece
        return replace(self, pieces=kept)


def merge(documents: Sequence[Document]) -> tuple[Merged, tuple[Problem, ...]]:
    """Put the documents together; a key that is given twice is a problem naming both places, the first one stays."""
    merged = Merged(tuple(documents), {})
    problems: list[Problem] = []
    lengths: dict[str, int] = {}
    first: dict[str, Loc] = {}  # the first place under each top-level key
    for document in documents:
        for home, value in _pieces(document.data):
            loc, name = home, str(home[0])
            if len(home) == 2 and isinstance(home[1], int):
                loc = (name, lengths.get(name, 0))
            rival = _rival(merged.pieces, loc, first)
            if rival is None:
                merged.pieces[loc] = Piece(document, home, value)
                first.setdefault(name, loc)
                lengths[name] = lengths.get(name, 0) + 1
            else:
                problems.append(_given_twice(document, home, merged.describe(rival)))
    return merged, tuple(problems)


def _given_twice(document: Document, home: Loc, where: str) -> Problem:
    key = ".".join(str(part) for part in home if isinstance(part, str))
    line = document.positions.line(home)
    return Problem(str(document.path), line, key, f"is given twice, first at {where}", "remove one of them")


def _pieces(data: dict[str, object]) -> Iterator[tuple[Loc, object]]:
    for name, value in data.items():
        if name in LIST_TABLES and isinstance(value, list):
            for index, entry in enumerate(value):
                yield (name, index), entry
        elif isinstance(value, dict) and name in Settings.model_fields and name not in LIST_TABLES:
            # An empty [section] sets nothing, so it yields nothing.
            for key, inner in value.items():
                yield (name, key), inner
        else:
            yield (name,), value


def _rival(pieces: dict[Loc, Piece], loc: Loc, first: dict[str, Loc]) -> Loc | None:
    """Return the place that already holds what `loc` would set: itself, or its whole section in another shape."""
    if loc in pieces:
        return loc
    if len(loc) == 1:
        return first.get(str(loc[0]))
    return loc[:1] if loc[:1] in pieces else None
