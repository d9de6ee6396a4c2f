"""What the tests of delivery share: letters, a name service made of dictionaries, transports aimed at loopback."""

import dataclasses
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

import trustme
from msgspec.structs import replace

from mta.clock import Clock, SystemClock
from mta.delivery.limits import Families, PoolLimits, Timeouts, TransportSettings
from mta.delivery.resolver import MxAnswer, MxRecord, NoSuchDomain
from mta.delivery.transport import SmtpTransport
from mta.demo.receiver import Receiver
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import BodyType, Recipient
from mta.queue.model import Content, Message, Stream
from mta.queue.seams import Host, Letter, Site
from tests.fakes.clock import START

SENDER = Mailbox("b00return", "bounces.example.com")
HEADER = b"From: shop@example.com\r\nSubject: hello\r\nMessage-ID: <1@example.com>\r\n"
SIGNATURE = b"DKIM-Signature: v=1; a=rsa-sha256\r\n"
PATIENT = timedelta(seconds=20)
"""For steps that a test does not let time out."""
SHORT = timedelta(seconds=0.2)


def message(**changes: object) -> Message:
    """Return a message with some of its fields changed."""
    plain = Message(
        id="0123456789abcdef",
        accepted_at=START,
        account="shop",
        stream=Stream.TRANSACTIONAL,
        reverse_path=ReversePath(Mailbox("shop", "example.com")),
        from_domain="example.com",
        message_id="<1@example.com>",
        size=0,
        checksum=b"",
        body_hash=hashlib.sha256(b"").digest(),
    )
    return replace(plain, **changes)


def letter(
    to: str = "a@example.net",
    body: bytes | tuple[bytes, ...] = b"Hello\r\n",
    *,
    header: bytes = HEADER,
    signature: bytes = SIGNATURE,
    recipient: Recipient | None = None,
    reverse_path: Mailbox | None = SENDER,
    **changes: object,
) -> Letter:
    """Return a letter; what is not said is plain and harmless."""
    pieces = (body,) if isinstance(body, bytes) else body
    to_whom = recipient or Recipient(Mailbox.parse(to, utf8=True))
    return Letter(message(**changes), reverse_path, to_whom, signature, Content(header, pieces))


def eight_bit_letter() -> Letter:
    """Return a letter that needs 8BITMIME."""
    return letter(body="Grüße\r\n".encode(), body_type=BodyType.EIGHT_BIT)


async def ours() -> bool:
    """The lease is still ours."""
    return True


class Zone:
    """A resolver that knows what it was told. An exception as an answer is raised."""

    def __init__(self) -> None:
        self.mx_answers: dict[str, MxAnswer | Exception] = {}
        self.address_answers: dict[str, tuple[str, ...] | Exception] = {}
        self.asked: list[str] = []

    def add_mx(self, domain: str, *records: tuple[int, str]) -> None:
        """Set a domain's MX records."""
        self.mx_answers[domain] = MxAnswer(
            tuple(sorted((MxRecord(*one) for one in records), key=lambda r: r.preference))
        )

    async def mx(self, domain: str) -> MxAnswer:
        """Answer as told; NXDOMAIN for what is not known."""
        answer = self.mx_answers.get(domain, NoSuchDomain(domain))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def addresses(self, host: str, families: Families) -> tuple[str, ...]:
        """Answer as told; every other host is 127.0.0.1."""
        self.asked.append(host)
        answer = self.address_answers.get(host, ("127.0.0.1",))
        if isinstance(answer, Exception):
            raise answer
        return answer


LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def settings(**limits: timedelta) -> TransportSettings:
    """Return settings that allow loopback, patient but for the limits named."""
    timeouts = Timeouts(
        PATIENT, PATIENT, PATIENT, PATIENT, PATIENT, PATIENT, timedelta(minutes=1), timedelta(seconds=1)
    )
    return TransportSettings(
        "mail.example.com",
        allow_networks=LOOPBACK,
        timeouts=dataclasses.replace(timeouts, **limits),
        pool=PoolLimits(idle=timedelta(minutes=1)),
    )


@asynccontextmanager
async def transport(
    given: TransportSettings | None = None, zone: Zone | None = None, clock: Clock | None = None
) -> AsyncIterator[SmtpTransport]:
    """A transport, closed in the end."""
    made = SmtpTransport(given or settings(), zone or Zone(), clock or SystemClock())
    try:
        yield made
    finally:
        await made.close()


def site(*sinks: Receiver, require_tls: bool = False) -> Site:
    """Return a site of which each receiver is a host: mx1, mx2, …"""
    hosts = (
        Host(f"mx{number}.example.net", sink.port, require_tls=require_tls) for number, sink in enumerate(sinks, 1)
    )
    return Site("mx1.example.net", tuple(hosts))


def server_context() -> ssl.SSLContext:
    """Return a context with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx1.example.net").configure_cert(context)
    return context


def broken_context() -> ssl.SSLContext:
    """Return a context with which no handshake succeeds: it has no certificate."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
