"""Phrases: words looked for in text that a stranger wrote, in linear time whatever the text.

A *phrase* is matched in folded text: it begins at the beginning of a word, ` * ` stands for up to 80 letters, `<>` for
any mail address. Regular expressions that an operator may edit would promise no such time.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

MAX_FOLDED = 4000
"""Letters of a text that are looked at."""

_GAP = 80
_ADDRESS = re.compile(r"<?[^\s<>@,;:\"'()\[\]]{1,64}@[^\s<>@,;:\"'()\[\]]{1,255}>?")
_CONTINUATION = re.compile(r"(?<![\w.])[245][0-9]{2}-(?:[245]\.[0-9]{1,3}\.[0-9]{1,3} ?)?")
_SILENT = str.maketrans(dict.fromkeys("'’`´\"“”„«»‘*\u200b\xad"))


def fold(text: str) -> str:
    """Return text as phrases are matched in it.

    Lower case, without accents, quotes and asterisks, blanks run together, each mail address as `<>`, and without the
    codes that continue a reply over several lines.
    """
    text = _CONTINUATION.sub("", _ADDRESS.sub("\x00", text[:MAX_FOLDED]))
    # twice, since letters that are small capitals or styled become plain capitals first
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).casefold()
    text = "".join(letter for letter in text.translate(_SILENT) if not unicodedata.combining(letter))
    return " ".join(text.split()).replace("\x00", "<>")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words to be found in a folded text, in order, no more than a few words apart."""

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one phrase.

        Raises:
            ValueError: nothing is left to look for.
        """
        pieces = tuple(folded for piece in text.split(" * ") if (folded := fold(piece)))
        if not pieces:
            raise ValueError(f"{text!r} has no words")
        return cls(pieces)

    def is_in(self, folded: str) -> bool:
        """Whether a folded text has it."""
        first, *others = self.pieces
        start = folded.find(first)
        while start >= 0:
            if _begins_word(folded, start) and _follow(others, folded, start + len(first)):
                return True
            start = folded.find(first, start + 1)
        return False

    def begins(self, folded: str) -> bool:
        """Whether a folded text begins with it."""
        first, *others = self.pieces
        return folded.startswith(first) and _follow(others, folded, len(first))


def _begins_word(folded: str, start: int) -> bool:
    # Chinese and Japanese put nothing between words
    return start == 0 or folded[start] >= "\u2e80" or not (folded[start].isalnum() and folded[start - 1].isalnum())


def _follow(pieces: Iterable[str], folded: str, end: int) -> bool:
    for piece in pieces:
        found = folded.find(piece, end, end + _GAP + len(piece))
        if found < 0:
            return False
        end = found + len(piece)
    return True


@dataclass(frozen=True, slots=True)
class Phrases:
    """Several phrases, any of which will do."""

    phrases: tuple[Phrase, ...] = ()

    def any_in(self, folded: str) -> bool:
        """Whether a folded text has one of them."""
        return any(phrase.is_in(folded) for phrase in self.phrases)

    def any_begins(self, folded: str) -> bool:
        """Whether a folded text begins with one of them."""
        return any(phrase.begins(folded) for phrase in self.phrases)


NONE = Phrases()
