"""What the checks ask of DNS. Who answers is given to them."""

from collections.abc import Callable
from typing import Protocol


class NoAnswer(Exception):
    """DNS gave no answer, or one that says nothing: ask again later."""


class Names(Protocol):
    """DNS. What is certainly not there is empty."""

    async def txt(self, name: str) -> tuple[str, ...]:
        """Return TXT records. Raises NoAnswer."""
        ...

    async def mx(self, domain: str) -> tuple[str, ...]:
        """Return the hosts of the MX records, the preferred one first. Raises NoAnswer."""
        ...

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return addresses of both families. Raises NoAnswer."""
        ...

    async def names_of(self, address: str) -> tuple[str, ...]:
        """Return the names of an address, by its PTR records. Raises NoAnswer."""
        ...


LocalAddresses = Callable[[], tuple[str, ...]]
"""Returns the addresses of this machine that packets to the world leave from."""
