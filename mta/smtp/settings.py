"""What any listener is told: where to listen, and how much of anything it takes."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address


class Kind(StrEnum):
    """How a listener's clients come to TLS."""

    STARTTLS = "starttls"
    """By command (RFC 3207)."""
    TLS = "tls"
    """From the first octet (RFC 8314 §3.3)."""
    PLAIN = "plain"
    """Not at all: for programs on the same machine."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen at. Port 0 means any free one."""

    kind: Kind
    host: str
    port: int

    def __post_init__(self) -> None:
        if self.kind is Kind.PLAIN and not ip_address(self.host).is_loopback:
            raise ValueError(f"{self.host} is not a loopback address: logging in without TLS is for this machine alone")


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What every listener has of its own."""

    hostname: str
    """Ours, in the greeting and in Received."""
    endpoints: tuple[Endpoint, ...]
    max_message_size: int = 25_000_000
    """Octets of content, dot-stuffing undone."""
    max_recipients: int = 1000
    max_connections: int = 500
    max_connections_per_address: int | None = None
    """Of one client address, or one IPv6 network of 64 bits; None: as many as in all."""
    max_errors: int = 20
    """Bad commands without a message in between, after which a client hears 421."""
    idle_timeout: timedelta = timedelta(minutes=5)
    """For each command, and for each piece of content to come (RFC 5321 §4.5.3.2.7)."""
    content_timeout: timedelta | None = None
    """For a whole content, however lively its pieces come; None: no limit."""
    handshake_timeout: timedelta = timedelta(seconds=30)
    reuse_port: bool = False
    """Several workers listen at the same endpoints."""
    stop_grace: timedelta = timedelta(seconds=60)
    """How long content that is being received may take once we stop."""
