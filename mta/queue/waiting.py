"""Why a delivery is not being attempted right now, in words for whoever asks, from what the store knows.

What only the worker that has it in hand knows, the length of the line at its site, is not in the store and not told.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mta.accounts.standing import Standing
from mta.queue.lanes import Lane, is_paused
from mta.queue.model import Delivery, Message, Pause, PauseScope, SiteRest, State


class Cause(StrEnum):
    """What a delivery waits for."""

    FINAL = "final"
    """Nothing: it is over."""
    ACTIVE = "active"
    """A worker has it in hand: it is attempted, or waits for a place at its site."""
    HELD = "held"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    RELEASE = "release"
    """The time that its submitter asked for."""
    SCHEDULE = "schedule"
    BACK_OFF = "back_off"
    """Its site is left alone."""
    TURN = "turn"
    """It is due, and waits for its turn."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that stands in the way."""

    cause: Cause
    until: datetime | None
    """When it ends by itself; None: not by itself, or nobody can tell."""
    words: str


def why_waiting(
    message: Message,
    delivery: Delivery,
    pauses: Iterable[Pause],
    rests: Iterable[SiteRest],
    standing: Standing | None,
    now: datetime,
) -> list[Wait]:
    """Return all that stands in the way of a delivery, that which weighs most first. Never empty.

    `standing` is the suspension of its account or stream, if there is one.
    """
    if delivery.state.is_final:
        return [Wait(Cause.FINAL, None, f"it is {delivery.state}")]
    if delivery.state is State.HELD:
        return [Wait(Cause.HELD, None, f"held: {delivery.hold_reason or 'no reason was given'}")]
    found = [Wait(Cause.PAUSED, None, _paused(pause)) for pause in pauses if _applies(pause, message, delivery)]
    if standing is not None:
        found.append(Wait(Cause.SUSPENDED, None, f"the account is suspended: {standing.reason}"))
    if delivery.state is State.ACTIVE:
        return [*found, Wait(Cause.ACTIVE, None, "a worker has it in hand")]
    if message.release_at is not None and message.release_at > now:
        found.append(Wait(Cause.RELEASE, message.release_at, "its submitter asked for a later time"))
    elif delivery.due_at > now:
        found.append(Wait(Cause.SCHEDULE, delivery.due_at, f"the next attempt is scheduled, after {delivery.attempts}"))
    for rest in rests:
        # a name that cannot be looked up rests under its own name
        if rest.site in (delivery.site, delivery.domain) and rest.until > now:
            after = f"after {rest.failures} failures in a row, the last one: {rest.reason}"
            found.append(Wait(Cause.BACK_OFF, rest.until, f"{rest.site} is left alone {after}"))
    return found or [Wait(Cause.TURN, None, "it is due and waits for its turn, or for a place at its site")]


def _applies(pause: Pause, message: Message, delivery: Delivery) -> bool:
    if pause.scope is PauseScope.SITE:
        return pause.value == delivery.site
    return is_paused(Lane(message.stream, message.account), (pause,))


def _paused(pause: Pause) -> str:
    what = "everything" if pause.scope is PauseScope.ALL else f"{pause.scope} {pause.value}"
    return f"{what} is paused by {pause.who} since {pause.at:%Y-%m-%d %H:%M} UTC: {pause.reason or 'no reason given'}"
