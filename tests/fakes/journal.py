"""A journal in memory, which outlives the dispatcher that wrote it."""

from mta.mail.outcome import Outcome


class MemoryJournal:
    """Keeps outcomes."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[int, Outcome]] = {}
        self.kept = 0

    def find(self, delivery_id: str, attempt: int) -> Outcome | None:
        """Return what an attempt came to."""
        found = self.entries.get(delivery_id)
        return found[1] if found is not None and found[0] == attempt else None

    async def keep(self, delivery_id: str, attempt: int, outcome: Outcome) -> bool:
        """Keep an outcome."""
        self.entries[delivery_id] = attempt, outcome
        self.kept += 1
        return True

    def forget(self, delivery_id: str) -> None:
        """Drop it."""
        self.entries.pop(delivery_id, None)
