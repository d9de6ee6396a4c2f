"""What the inbound listener is told beyond what every listener is, and its own defaults."""

from dataclasses import dataclass
from datetime import timedelta

from mta.smtp.settings import DoorSettings

HEAD = 1024 * 1024
"""Octets of a content that are handed on: what reports say stands at their beginning."""


@dataclass(frozen=True, slots=True)
class InboundSettings(DoorSettings):
    """The listener's own settings. Anybody may connect, so that limits are tighter than at submission."""

    max_message_size: int = 35_000_000
    """A bounce may carry back the whole of the largest message we take, in base64; only its head is ever kept."""
    max_recipients: int = 50
    max_connections: int = 100
    """With as many contents under way, their heads take 100 MiB."""
    max_connections_per_address: int | None = 20
    content_timeout: timedelta | None = timedelta(minutes=30)
