"""What the submission listener is told: where to listen, and how much of anything it takes."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address


class Kind(StrEnum):
    """What a listener asks of its clients before they may log in."""

    STARTTLS = "starttls"
    """TLS by command (RFC 3207)."""
    TLS = "tls"
    """TLS from the first octet (RFC 8314 §3.3)."""
    PLAIN = "plain"
    """Nothing: for programs on the same machine."""


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
class SubmissionSettings:
    """The listener's own settings."""

    hostname: str
    """Ours, in the greeting and in Received."""
    endpoints: tuple[Endpoint, ...]
    max_message_size: int = 25_000_000
    """Octets of content, dot-stuffing undone."""
    max_recipients: int = 1000
    max_connections: int = 500
    max_errors: int = 20
    """Bad commands without a message in between, after which a client hears 421."""
    idle_timeout: timedelta = timedelta(minutes=5)
    """For each command, and for each piece of content to come (RFC 5321 §4.5.3.2.7)."""
    handshake_timeout: timedelta = timedelta(seconds=30)
    take_long_lines: bool = False
    """Take content lines over 998 octets; they are carried as they are."""
    reuse_port: bool = False
    """Several workers listen at the same endpoints."""
    stop_grace: timedelta = timedelta(seconds=60)
    """How long content that is being received may take once we stop."""
