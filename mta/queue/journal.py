"""The seam between the ledger and the place where outcomes wait while the store cannot write: a host has spoken, and
must not be asked again because we forgot it.
"""

from typing import Protocol

from mta.mail.outcome import Outcome


class Journal(Protocol):
    """Keeps outcomes over a crash. Never raises for what a disk does: without it, an outcome waits in memory only."""

    def find(self, delivery_id: str, attempt: int) -> Outcome | None:
        """Return what an attempt came to; None when nothing is kept of it. `attempt` counts from 1."""
        ...

    async def keep(self, delivery_id: str, attempt: int, outcome: Outcome) -> bool:
        """Put an outcome on stable storage, apart from the store; whether that was possible."""
        ...

    def forget(self, delivery_id: str) -> None:
        """Drop what is kept of a delivery: the store has it."""
        ...


class NoJournal:
    """Keeps nothing."""

    def find(self, delivery_id: str, attempt: int) -> Outcome | None:
        """Return None."""
        return None

    async def keep(self, delivery_id: str, attempt: int, outcome: Outcome) -> bool:
        """Keep nothing."""
        return False

    def forget(self, delivery_id: str) -> None:
        """Do nothing."""
