"""An index from the keys of a TOML text to the lines they stand on, which tomllib does not give.

Works on text that tomllib has accepted: it follows the structure and judges nothing. What the lines are used for, and
every complaint, belongs to the loader.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

Loc = tuple[str | int, ...]
"""The way to a value: keys, and indexes (from 0) in lists and lists of tables."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
# Up to two quotes may stand directly before the closing three; they belong to the text.
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|""?(?!"))*"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|''?(?!'))*'{3,5}", re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


@dataclass(frozen=True, slots=True)
class Positions:
    """The line (from 1) of every key, table and list element of one text."""

    lines: Mapping[Loc, int]

    @classmethod
    def of(cls, text: str) -> "Positions":
        """Index a text that tomllib accepts; linear in its length."""
        scanner = _Scanner(text)
        scanner.document()
        return cls(scanner.lines)

    def line(self, loc: Loc) -> int | None:
        """Return the line of the value, else of the nearest thing around it, else None."""
        while loc:
            if loc in self.lines:
                return self.lines[loc]
            loc = loc[:-1]
        return None


class _Scanner:
    """One pass over the text; `lines` grows on the way."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Loc, int] = {}
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._lengths: dict[Loc, int] = {}  # of the lists made by [[headers]]

    def document(self) -> None:
        table: Loc = ()
        self._skip()
        while self._at < len(self._text):
            if self._next("[["):
                table = self._header(repeated=True)
            elif self._next("["):
                table = self._header(repeated=False)
            else:
                self._pair(table)
            self._skip()

    def _header(self, *, repeated: bool) -> Loc:
        line = self._line()
        keys = self._keys()
        self._take("]]" if repeated else "]")
        *outer, last = keys
        loc: Loc = ()
        for key in outer:
            loc = (*loc, key)
            self.lines.setdefault(loc, line)
            if loc in self._lengths:
                loc = (*loc, self._lengths[loc] - 1)
        loc = (*loc, last)
        if not repeated:
            self.lines[loc] = line
            return loc
        self.lines.setdefault(loc, line)
        index = self._lengths.get(loc, 0)
        self._lengths[loc] = index + 1
        self.lines[(*loc, index)] = line
        return (*loc, index)

    def _pair(self, table: Loc) -> None:
        line = self._line()
        loc = table
        for key in self._keys():
            loc = (*loc, key)
            self.lines.setdefault(loc, line)
        self._take("=")
        self._value(loc)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._next("."):
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip()
        bare = _BARE.match(self._text, self._at)
        quoted = _BASIC.match(self._text, self._at) or _LITERAL.match(self._text, self._at)
        found = bare or quoted
        if not found:
            raise ValueError(f"no key at line {self._line()}")
        self._at = found.end()
        self._skip()
        return found[0] if bare else str(tomllib.loads(f"key = {found[0]}")["key"])

    def _value(self, loc: Loc) -> None:
        self._skip()
        if self._next("["):
            self._array(loc)
        elif self._next("{"):
            self._inline_table(loc)
        else:
            for pattern in (_LONG_BASIC, _LONG_LITERAL, _BASIC, _LITERAL, _PLAIN):
                found = pattern.match(self._text, self._at)
                if found:
                    self._at = found.end()
                    return
            raise ValueError(f"no value at line {self._line()}")

    def _array(self, loc: Loc) -> None:
        index = 0
        self._skip()
        while not self._next("]"):
            self.lines[(*loc, index)] = self._line()
            self._value((*loc, index))
            index += 1
            self._skip()
            self._next(",")
            self._skip()

    def _inline_table(self, loc: Loc) -> None:
        self._skip()
        while not self._next("}"):
            self._pair(loc)
            self._skip()
            self._next(",")
            self._skip()

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _next(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _take(self, token: str) -> None:
        if not self._next(token):
            raise ValueError(f"no {token} at line {self._line()}")

    def _line(self) -> int:
        return bisect_right(self._newlines, self._at - 1) + 1
