"""How an account's stream stands: good, warned or suspended, and which moves follow from its ratios or an operator.

Ratios only ever make it worse, but for a warning that lapses; a suspension ends by an operator's word, after somebody
looked into it. Counting begins anew then: an `epoch` is a span between two such words.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from mta.events import Event
from mta.reputation.rates import Evidence, Judgement, Measure, Tally


class State(StrEnum):
    """Where it stands."""

    GOOD = "good"
    WARNED = "warned"
    SUSPENDED = "suspended"


class Standing(Struct, frozen=True):
    """One stream of one account."""

    account: str
    stream: str
    """Empty for the account as a whole: what is suspended there is suspended in all streams."""
    state: State = State.GOOD
    reason: str = ""
    """With ratio and limit: clients hear it at MAIL."""
    since: datetime | None = None
    epoch: int = 0
    by: str = ""
    """Who moved it: empty for the ratios."""


class Book(Protocol):
    """Where standings and the counts behind them are kept."""

    async def standings(self) -> Sequence[Standing]:
        """Return every standing that was ever written."""
        ...

    async def slots(self, standing: Standing, since: int) -> Sequence[tuple[int, Tally]]:
        """Return the counts of a standing's epoch by slot, from a slot on. For the account as a whole (stream empty):
        of all its streams."""
        ...

    async def write(self, standing: Standing, event: Event | None) -> None:
        """Replace a standing, with the event that tells of it. Its epoch is that of all later counts.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...


def moved(standing: Standing, evidence: Sequence[Evidence], now: datetime) -> Standing | None:
    """Return where the ratios move a standing, or None when it stays.

    `evidence` has the worst first, as `judge` returns it.
    """
    if standing.state is State.SUSPENDED or not evidence:
        return None
    worst = evidence[0]
    wanted = {Judgement.GOOD: State.GOOD, Judgement.WARN: State.WARNED, Judgement.SUSPEND: State.SUSPENDED}
    state = wanted[worst.judgement]
    if state is standing.state:
        return None
    reason = "" if state is State.GOOD else told(worst)
    return Standing(standing.account, standing.stream, state, reason, now, standing.epoch)


def suspended_by(standing: Standing, who: str, reason: str, now: datetime) -> Standing:
    """Return the standing after an operator's suspension."""
    return Standing(standing.account, standing.stream, State.SUSPENDED, reason, now, standing.epoch, who)


def reinstated_by(standing: Standing, who: str, reason: str, now: datetime) -> Standing:
    """Return the standing after an operator's word that it is mended: counting begins anew."""
    return Standing(standing.account, standing.stream, State.GOOD, reason, now, standing.epoch + 1, who)


def told(evidence: Evidence) -> str:
    """Return a ratio and its limit in words."""
    days = evidence.window.total_seconds() / 86400
    window = f"{days * 24:g} hours" if days <= 2 else f"{days:g} days"
    match evidence.measure:
        case Measure.BOUNCES:
            what = f"hard bounces are {evidence.ratio:.1%} ({evidence.part} of {evidence.whole})"
            return f"{what} in the last {window}, the limit is {evidence.exceeded:.1%}"
        case Measure.COMPLAINTS:
            what = f"complaints are {evidence.ratio * 1000:.2f} in 1,000 ({evidence.part} of {evidence.whole})"
            return f"{what} in the last {window}, the limit is {evidence.exceeded * 1000:g} in 1,000"
