"""A DNS of the tests' own."""

from dataclasses import dataclass, field

from mta.doctor.names import NoAnswer


@dataclass
class FakeNames:
    """Answers from dictionaries; names in `silent` give no answer."""

    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    at: dict[str, tuple[str, ...]] = field(default_factory=dict)
    back: dict[str, tuple[str, ...]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    async def txt(self, name: str) -> tuple[str, ...]:
        return self._of(self.texts, name)

    async def mx(self, domain: str) -> tuple[str, ...]:
        return self._of(self.hosts, domain)

    async def addresses(self, host: str) -> tuple[str, ...]:
        return self._of(self.at, host)

    async def names_of(self, address: str) -> tuple[str, ...]:
        return self._of(self.back, address)

    def _of(self, known: dict[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
        if name in self.silent:
            raise NoAnswer(f"{name}: SERVFAIL")
        return known.get(name, ())
