"""A counter that keeps what it was told."""

from mta.submission.counts import Uncounted


class Tally(Uncounted):
    """Keeps refusals in order, and how many connections are open."""

    def __init__(self) -> None:
        self.rejections: list[tuple[str, str]] = []
        self.open: dict[str, int] = {}
        self.tls: list[tuple[str, str | None]] = []

    def rejected(self, reason: str, role: str) -> None:
        """Keep it."""
        self.rejections.append((reason, role))

    def connection_opened(self, role: str) -> None:
        """One more."""
        self.open[role] = self.open.get(role, 0) + 1

    def connection_closed(self, role: str) -> None:
        """One less."""
        self.open[role] -= 1

    def tls_session(self, role: str, version: str | None) -> None:
        """Keep it."""
        self.tls.append((role, version))
