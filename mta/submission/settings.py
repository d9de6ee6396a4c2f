"""What the submission listener is told beyond what every listener is."""

from dataclasses import dataclass

from mta.smtp.settings import DoorSettings


@dataclass(frozen=True, slots=True)
class SubmissionSettings(DoorSettings):
    """The listener's own settings."""

    take_long_lines: bool = False
    """Take content lines over 998 octets; they are carried as they are."""
