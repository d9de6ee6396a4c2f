"""The receivers whose names everybody knows, told by their MX hosts: limits, metrics and shaping rules speak of them.

The names are data (`providers.toml`); whoever reads the file hands over its text.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Providers:
    """Known suffixes of MX hosts. Without any, nobody is known."""

    by_suffix: Mapping[str, str] = field(default_factory=dict)
    """From a suffix, in lower case, to a name."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the data file: a table for each provider, with its `suffixes`.

        Raises:
            ValueError: it is none, or a suffix stands under two names.
        """
        found: dict[str, str] = {}
        for name, table in tomllib.loads(text).items():
            suffixes = table.get("suffixes") if isinstance(table, dict) else None
            if not isinstance(suffixes, list) or not all(isinstance(one, str) and one for one in suffixes):
                raise ValueError(f"[{name}] needs suffixes, a list of host names")
            for suffix in suffixes:
                if suffix in found or suffix != suffix.lower().strip("."):
                    raise ValueError(f"[{name}]: {suffix!r} stands here twice, or is no name in lower case")
                found[suffix] = name
        return cls(found)

    @property
    def names(self) -> frozenset[str]:
        """All names: a closed set, fit for the labels of metrics."""
        return frozenset(self.by_suffix.values())

    def of(self, host: str) -> str | None:
        """Return whose host this is, in lower case; the longest suffix decides."""
        name = host
        while name:
            if (found := self.by_suffix.get(name)) is not None:
                return found
            name = name.partition(".")[2]
        return None

    def of_all(self, hosts: Iterable[str]) -> str | None:
        """Return whose hosts these all are; None when they are not one provider's."""
        found = {self.of(host) for host in hosts}
        return found.pop() if len(found) == 1 else None
