"""Loads the SQL statements that stand, named and explained, in `sql/*.sql`. What they mean is left to their callers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Self

_NAME = re.compile(r"-- name: ([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Statements:
    """Statements by name."""

    texts: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return a statement's text.

        Raises:
            KeyError: no file has it.
        """
        return self.texts[name]

    @classmethod
    def load(cls) -> Self:
        """Read every file of the package's `sql` folder."""
        folder = resources.files("mta.storage") / "sql"
        return cls.parse(file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql"))

    @classmethod
    def parse(cls, files: Iterable[str]) -> Self:
        """Read files of statements: `-- name: x`, a sentence in comment lines, the text. What stands before is prose.

        Raises:
            ValueError: a statement has no sentence, no text, or another's name.
        """
        texts: dict[str, str] = {}
        for file in files:
            for section in re.split(r"(?m)^(?=-- name: )", file)[1:]:
                title, *lines = section.splitlines()
                match = _NAME.fullmatch(title)
                if match is None:
                    raise ValueError(f"{title!r} names no statement")
                comment = [line for line in lines if line.startswith("--")]
                text = "\n".join(line for line in lines if line and not line.startswith("--"))
                if not comment or not text:
                    raise ValueError(f"statement {match[1]!r} needs a sentence and a text")
                if match[1] in texts:
                    raise ValueError(f"there are two statements {match[1]!r}")
                texts[match[1]] = text
        return cls(texts)
