"""What holds a delivery now, and until when: for `mta why`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.cli.queue_change import paused_thing
from mta.cli.times import stamp, until
from mta.queue.lanes import Lane, is_paused
from mta.queue.model import Pause, PauseScope, SiteRest, State
from mta.storage.moving import ARRIVING, EXPORTED
from mta.storage.overview import MOST_AHEAD, Overview
from mta.storage.reading import Reader
from mta.storage.views import QueueRow

NO_REASON = "no reason given"


@dataclass(frozen=True, slots=True)
class Holder:
    """One thing that keeps a delivery from being attempted."""

    kind: str
    """`schedule`, `release_time`, `pause`, `rest`, `suspension`, `turn`, `held`, `attempt`."""
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds more than one delivery, and where each one's mail goes."""

    pauses: Sequence[Pause] = ()
    rests: Sequence[SiteRest] = ()
    standings: Sequence[Standing] = ()
    sites: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By delivery, where others of its domain were attempted, for such as never were."""
    ahead: dict[str, int] = field(default_factory=dict)
    """By delivery, how many of its lane are due before it, for such as are due."""


async def surroundings_of(reader: Reader, overview: Overview, rows: Sequence[QueueRow], now: datetime) -> Surroundings:
    """Return what must be known to say what holds some deliveries.

    Raises:
        StoreUnavailable: it cannot be read now.
    """
    queued = [row for row in rows if row.state is State.QUEUED]
    if not queued:
        return Surroundings()
    found = Surroundings(await reader.pauses(), await reader.rests(), await reader.known_standings(queued[0].account))
    for row in queued:
        if row.site is None:
            found.sites[row.id] = await overview.sites_of(row.domain, [Lane(row.stream, row.account)])
        if row.due_at <= now:
            found.ahead[row.id] = await overview.ahead(row)
    return found


def holders(row: QueueRow, around: Surroundings, now: datetime) -> list[Holder]:
    """Return all that keeps a delivery from being attempted now, what matters most first; nothing of a final one."""
    match row.state:
        case State.ACTIVE:
            lease = f" (lease until {stamp(row.lease_until)})" if row.lease_until else ""
            text = f"it is being attempted right now by worker {row.owner}{lease}"
            return [Holder("attempt", text, row.lease_until)]
        case State.HELD:
            return [Holder("held", _why_held(row))]
        case State.QUEUED:
            return _of_queued(row, around, now)
        case _:
            return []


def _why_held(row: QueueRow) -> str:
    reason = row.hold_reason or NO_REASON
    if reason.startswith(EXPORTED):
        return f"it went to another machine ({reason}); is it to stay here after all: mta queue release --id {row.id}"
    if reason.startswith(ARRIVING):
        return f"it is not wholly here yet ({reason}); run mta queue import again with the same file"
    return reason


def _of_queued(row: QueueRow, around: Surroundings, now: datetime) -> list[Holder]:
    found = list(_pauses(row, around))
    found += [
        Holder("suspension", f"{_suspended(one)}: {one.reason}; mta reputation {shlex.quote(row.account)} tells more")
        for one in around.standings
        if one.state is StandingState.SUSPENDED and one.stream in ("", row.stream)
    ]
    sites = (row.site,) if row.site is not None else around.sites.get(row.id, ())
    found += [
        Holder(
            "rest",
            f"{rest.site if rest.domain else f'site {rest.site}'} is left alone until {stamp(rest.until)} "
            f"({until(rest.until)}) after {rest.failures} failed attempts: {rest.reason}",
            rest.until,
        )
        for rest in around.rests
        if rest.site in sites or rest.domain == row.domain
    ]
    if row.due_at > now:
        released = row.release_at is not None and row.release_at >= row.due_at
        what = "its release time" if released else "the schedule: next attempt"
        kind = "release_time" if released else "schedule"
        found.append(Holder(kind, f"{what} {until(row.due_at)} ({stamp(row.due_at)})", row.due_at))
    elif not found:
        found.append(Holder("turn", _turn(around.ahead.get(row.id, 0))))
    return found


def _pauses(row: QueueRow, around: Surroundings) -> list[Holder]:
    lane = Lane(row.stream, row.account)
    sites = (row.site,) if row.site is not None else around.sites.get(row.id, ())
    found = []
    for pause in around.pauses:
        if is_paused(lane, (pause,)) or (pause.scope is PauseScope.SITE and pause.value in sites):
            option = f"--{pause.scope}" + (f" {shlex.quote(pause.value)}" if pause.value else "")
            text = (
                f"{paused_thing(pause.scope, pause.value)} is paused since {stamp(pause.at)} by {pause.who}: "
                f"{pause.reason}; mta queue resume {option}"
            )
            found.append(Holder("pause", text))
    return found


def _turn(ahead: int) -> str:
    if not ahead:
        return "nothing but its turn: its site, or the server, has as many attempts under way as it may; does it run?"
    count = f"{MOST_AHEAD} or more" if ahead >= MOST_AHEAD else str(ahead)
    return f"its turn: {count} of the same account and stream are due before it"


def _suspended(standing: Standing) -> str:
    return f"stream {standing.stream} is suspended" if standing.stream else "its account is suspended"


def as_json(holder: Holder) -> dict[str, str | None]:
    """Return it as commands print it."""
    at = None if holder.until is None else holder.until.astimezone(UTC).isoformat()
    return {"kind": holder.kind, "text": holder.text, "until": at}
