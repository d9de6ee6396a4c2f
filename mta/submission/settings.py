"""What the submission listener is told beyond what every listener is."""

from dataclasses import dataclass
from datetime import timedelta

from mta.smtp.settings import DoorSettings


@dataclass(frozen=True, slots=True)
class SubmissionSettings(DoorSettings):
    """The listener's own settings."""

    take_long_lines: bool = False
    """Take content lines over 998 octets; they are carried as they are."""
    max_hold: timedelta = timedelta(days=30)
    """How far away a release may be that MAIL asks for (RFC 4865 §3)."""
    offer_requiretls: bool = False
    """Offer REQUIRETLS (RFC 8689 §2). Only where delivery keeps the promise."""
