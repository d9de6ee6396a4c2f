"""What the dispatcher needs of the world outside: a way to a domain, a way to hand over a letter, and a signature."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from mta.mail.address import Mailbox
from mta.mail.envelope import Recipient
from mta.mail.outcome import Bounced, Deferred, Outcome
from mta.queue.model import Content, Message


class Site(Struct, frozen=True):
    """Hosts that share an MX set: limits and connections are theirs together, whatever the recipient's domain."""

    name: str
    """For people and events: the relay's name, or the best MX host's."""
    hosts: tuple["Host", ...]
    """In the order they are to be tried (RFC 5321 §5.1)."""
    fallback: tuple["Host", ...] = ()
    """Relays of the operator for when all hosts cannot be reached, or refuse us."""


class Host(Struct, frozen=True):
    """One host of a site. Its addresses are looked up when it is tried."""

    name: str
    port: int
    implicit_tls: bool = False
    require_tls: bool = False
    user: str | None = None
    password: str | None = None
    trusted: bool = False
    """Named by the operator in a route: may have a private address."""
    verify_tls: bool = False
    """Its certificate must be good and for its name; includes `require_tls`."""
    client_cert: str | None = None
    """The file of the certificate that we show to it, in PEM form."""
    client_key: str | None = None
    """The file of its key, if that is not in the same one."""
    lmtp: bool = False
    """It speaks LMTP (RFC 2033)."""
    socket: str | None = None
    """The path of the local socket it listens on, instead of address and port."""

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {self.port})"


class Hold(Struct, frozen=True):
    """The operator wants mail for this domain kept."""

    reason: str


class Router(Protocol):
    """From a domain to where its mail goes."""

    async def route(self, domain: str, account: str = "") -> Site | Hold | Bounced | Deferred:
        """Return a site, or why there is none (RFC 5321 §5.1, RFC 7505). The account's own routes count, too."""
        ...

    def held(self, domain: str, account: str = "") -> str | None:
        """Return why mail for a domain is kept, when the operator wants that; known at once, without asking DNS."""
        ...


class Letter(Struct, frozen=True):
    """One transaction, ready to be spoken: with one recipient, but for a batch."""

    message: Message
    reverse_path: Mailbox | None
    """The return path of its deliveries, or None for the null reverse-path."""
    recipient: Recipient
    signature: bytes
    """Fields that go on top of the header."""
    content: Content
    others: tuple[Recipient, ...] = ()
    """Of a batch, whom the same transaction is for besides. A host has to prove the same for all of them."""

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """All of them."""
        return (self.recipient, *self.others)


class Transport(Protocol):
    """Hands letters to a site's hosts over connections that it keeps."""

    async def deliver(self, letter: Letter, site: Site, still_ours: Callable[[], Awaitable[bool]]) -> Outcome:
        """Make one attempt: hosts in order until one answers for the recipient. Never raises for what a host does.

        `still_ours` is asked just before the final dot; when it says no, the transaction is dropped.
        """
        ...

    async def deliver_batch(
        self, letter: Letter, site: Site, still_ours: Callable[[], Awaitable[bool]]
    ) -> tuple[Outcome | None, ...]:
        """Make one transaction for all recipients of a letter; return what it came to for each, in their order.

        None: the host would not have so many in one transaction (RFC 5321 §4.5.3.1.10). They are to be sent in the
        next one, at once; at least one other has an outcome.
        """
        ...

    async def close(self) -> None:
        """End idle connections with QUIT."""
        ...


class Unsigned(Exception):
    """There is no key to sign with, and the domain's owner did not say that there need be none."""


class Sealer(Protocol):
    """Signs what will leave."""

    async def seal(self, message: Message, header: bytes) -> bytes:
        """Return DKIM-Signature fields, each ending in CRLF; empty when the domain wants none.

        Raises:
            Unsigned: the message must be held.
        """
        ...
