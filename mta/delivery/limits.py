"""The settings of this package's classes, each its own, with the defaults that are right for production."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from mta.delivery.guard import Network


class TlsPolicy(StrEnum):
    """What is demanded of every host. A route may demand more of its relay, never less."""

    OPPORTUNISTIC = "opportunistic"
    """TLS where it works, never verified, plaintext where it does not (RFC 7435)."""
    REQUIRE = "require"
    """No mail without TLS; the certificate is still not verified."""


class Families(StrEnum):
    """Which addresses of a host are connected to."""

    AUTO = "auto"
    """IPv4; IPv6 where a host has nothing else, since a source's IPv6 address often has no PTR record."""
    DUAL = "dual"
    """IPv6, then IPv4."""
    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a host is waited for, step by step (RFC 5321 §4.5.3.2)."""

    connect: timedelta = timedelta(seconds=30)
    """Until the connection stands; with implicit TLS, until the handshake is done."""
    greeting: timedelta = timedelta(minutes=5)
    command: timedelta = timedelta(minutes=5)
    """EHLO, STARTTLS with its handshake, AUTH, MAIL, RCPT, RSET."""
    data: timedelta = timedelta(minutes=2)
    block: timedelta = timedelta(minutes=3)
    """For each piece of content to leave our buffer."""
    final: timedelta = timedelta(minutes=10)
    attempt: timedelta = timedelta(minutes=30)
    """All of it, name lookups and all hosts included."""
    quit: timedelta = timedelta(seconds=5)
    """For connections to end when the daemon stops."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many connections there may be, and how long each is used."""

    max_connections: int = 500
    """In all, busy or idle."""
    messages_per_connection: int = 100
    idle: timedelta = timedelta(seconds=5)
    """An idle connection takes a place at the host, too: Postfix keeps one for two seconds, others for five."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How letters are handed over."""

    ehlo_name: str
    """Our own name (RFC 5321 §4.1.1.1)."""
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    families: Families = Families.AUTO
    allow_networks: tuple[Network, ...] = ()
    """Exceptions from what `guard` refuses."""
    ca_file: Path | None = None
    """More trust anchors."""
    max_tries: int = 20
    """Connections that one attempt may open, whatever DNS says."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    pool: PoolLimits = field(default_factory=PoolLimits)
