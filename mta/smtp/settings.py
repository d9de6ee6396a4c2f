"""What any listener is told: where to listen, and how much of anything it takes."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address


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
    max_commands_without_mail: int = 200
    """Commands that lead to no message, without one in between, after which a client hears 421."""
    idle_timeout: timedelta = timedelta(minutes=5)
    """For each whole command, and for each piece of content to come (RFC 5321 §4.5.3.2.7)."""
    min_data_rate: int | None = None
    """Octets of content a second that a client must send, on average; None: any."""
    data_rate_window: timedelta = timedelta(seconds=30)
    """The time over which that average is taken, and which a content has to begin."""
    room_patience: timedelta = timedelta(seconds=30)
    """How long a content waits for room that others hold before its client hears 452."""
    content_timeout: timedelta | None = None
    """For a whole content, however lively its pieces come; None: no limit."""
    handshake_timeout: timedelta = timedelta(seconds=30)
    """For TLS, and for a load balancer's header."""
    banner_delay: timedelta = timedelta()
    """How long a client is let wait for the greeting, to see whether it talks before it; 0: not at all."""
    proxy_protocol_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """Load balancers, whose connections all begin with a PROXY header."""
    stop_grace: timedelta = timedelta(seconds=60)
    """How long content that is being received may take once we stop."""
