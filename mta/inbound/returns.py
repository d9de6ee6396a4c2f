"""What was brought back, and who takes it in: the seam between this door and whatever reads reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mta.inbound.rules import Addressee
from mta.mail.reply import Reply
from mta.smtp.client import Client


@dataclass(frozen=True, slots=True)
class ReceivedReturn:
    """A content with whom it is for. Its octets are as they came: bare line ends, NULs and all."""

    addressees: tuple[Addressee, ...]
    """At least one, each once; the tokens of return paths are proved, whether a delivery exists is not."""
    reverse_path: str
    """Without brackets, empty for the null one: whatever the host said, and never an address to write to."""
    octets: bytes
    """Its first octets, 1 MiB at most, dot-stuffing undone."""
    size: int
    """Octets of the whole content."""
    client: Client
    at: datetime

    @property
    def truncated(self) -> bool:
        """Whether there was more than `octets`."""
        return self.size > len(self.octets)


class Returns(Protocol):
    """Takes in what was brought back."""

    async def take(self, received: ReceivedReturn) -> Reply:
        """Return the reply to the final dot, 250 once all that must not be lost is on stable storage.

        Called as often as a host brings the same content again: after a 4xx, or when it did not hear the 250. Runs to
        its end even when the host has gone.

        Raises:
            StoreUnavailable: nothing came of it yet; the host is told to try again.
        """
        ...
