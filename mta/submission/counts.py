"""What the submission listener tells of itself beyond what every listener does."""

from typing import Protocol

from mta.smtp import counts

ROLE = "submission"


class Counts(counts.Counts, Protocol):
    """Who counts."""

    def auth_failed(self) -> None:
        """Credentials were wrong."""
        ...


class Uncounted(counts.Uncounted):
    """Nobody counts."""

    def auth_failed(self) -> None:
        """Credentials were wrong."""
