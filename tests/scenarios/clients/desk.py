"""Where clients hand in their letters: how they reach the server, and what arrived of it at the sink."""

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import trustme

from mta.demo.receiver import Received
from tests.scenarios.clients.letters import Letter
from tests.scenarios.house import House, open_house
from tests.scenarios.programs import run

CLIENT = "client.example.com"
"""What clients call themselves, where they can be told."""
_PATIENCE = 30.0


class Tls(StrEnum):
    """How the connection is encrypted."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"

    @property
    def listener(self) -> str:
        """The listener that does so."""
        return "submission" if self is Tls.STARTTLS else "submission_tls"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A letter on its way."""

    letter: Letter
    path: Path
    """The letter as a file."""
    recipient: str
    """Nobody else's, so that it is known by it at the sink."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The house, with a certificate that clients check by the server's address."""

    house: House

    @property
    def authority(self) -> Path:
        """The certificate of the authority that all trust."""
        return self.house.folder / "tls" / "authority.pem"

    def context(self) -> ssl.SSLContext:
        """Return a client's context."""
        return ssl.create_default_context(cafile=str(self.authority))

    def pack(self, letter: Letter, octets: bytes | None = None) -> Parcel:
        """Write a letter, or other octets for it, into a file that nothing else writes."""
        content = letter.octets if octets is None else octets
        mark = secrets.token_hex(6)
        path = self.house.folder / f"letter-{mark}.eml"
        path.write_bytes(content)
        return Parcel(letter, path, f"{letter.addressee}.{mark}@example.net")

    async def arrival(self, recipient: str) -> Received:
        """Return the message to a recipient, as soon as it is at the sink."""
        sink = self.house.sink
        seen = 0
        while True:
            for message in sink.messages[seen:]:
                if recipient in message.recipients:
                    return message
            seen = len(sink.messages)
            await sink.wait_for(seen + 1, _PATIENCE)

    async def flaws(self, parcels: Sequence[Parcel]) -> list[str]:
        """Wait for the letters; return what is wrong with them."""
        flaws = [parcel.letter.flaw((await self.arrival(parcel.recipient)).content) for parcel in parcels]
        return [flaw for flaw in flaws if flaw]


Client = Callable[[Desk, Tls, Sequence[Parcel]], Coroutine[Any, Any, None]]
"""Submits letters."""


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """Build a house and start its server."""
    async with open_house(folder, start=False) as house:
        authority = trustme.CA()
        certificate = authority.issue_cert("mail.example.com", "127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(folder / "tls" / "cert.pem")
        certificate.private_key_pem.write_to_path(folder / "tls" / "key.pem")
        authority.cert_pem.write_to_path(folder / "tls" / "authority.pem")
        async with house.server:
            yield Desk(house)


async def ends_well(*command: str | Path, stdin: bytes = b"") -> None:
    """Run a program that must succeed."""
    ended = await run(*command, stdin=stdin)
    assert ended.code == 0, ended.output
