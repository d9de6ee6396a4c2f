"""The units of work that lease deliveries and give leases back. The writer gives each a transaction and commits it.

Whose turn it is decides `mta.queue.lanes`; what was seen before is remembered by `lines`. No unit looks at more than a
bounded number of rows, whatever waits.
"""

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mta.mail.ids import first_at
from mta.queue.lanes import Lane, Turns, is_paused, shares
from mta.queue.model import Claimed, Pause, Stream
from mta.queue.store import SOON
from mta.storage.lines import START, SWEPT_EVERY, Known, Learned, Position, Reach
from mta.storage.rows import Params, claimed_from, pause_from, span_to_ms, to_ms
from mta.storage.statements import Statements

WINDOW = 10_000
"""Index entries that one transaction looks at when it passes over domains: 10 ms, during which nothing is accepted."""

_LEAST = 50
"""Of them, each lane's part, however many lanes there are."""

_OLD = 1000
"""Waiting deliveries whose age one search looks at."""

LANES = 500
"""Lanes of a stream that are listed in one transaction."""

DOMAINS = 200
"""Domains of a lane that one transaction looks up."""

_BEHIND = "\0"
"""Makes of a name the least one behind it. What we write on nobody's behalf has the empty name, before all others."""

SETTLING = timedelta(seconds=1)
"""Below this age of a due time the frontier waits: another worker's commit may put something there yet."""

_GIVEN_BACK = 500
"""Leases of a dead worker that are given back in one transaction."""

_log = logging.getLogger("mta.storage")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a claim asks for."""

    limit: int
    passing: Collection[str] = frozenset()
    """Domains that have no room."""
    in_hand: Mapping[Lane, int] = field(default_factory=dict)
    window: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a claim."""

    claimed: list[Claimed]
    learned: Learned
    going_on: bool
    """Something that is due was not looked at yet: the next claim goes on from here."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """A lease that was given back, by where it waits now."""

    lane: Lane
    domain: str


@dataclass(frozen=True, slots=True)
class Old:
    """What became of a search for deliveries whose time is over."""

    claimed: list[Claimed]
    after: str
    """The delivery behind which the next search goes on; empty: it begins anew."""


@dataclass(slots=True)
class _Look:
    """One transaction's look at one lane."""

    lane: Lane
    reach: Reach
    key: Params
    budget: int = WINDOW
    """Entries of the line that may still be looked at."""
    domains: int = DOMAINS
    """Domains that may still be looked up."""
    anew: bool = False
    """Whether it was begun anew."""


class Claims:
    """The units of one worker."""

    def __init__(self, statements: Statements, worker: int, lease: timedelta) -> None:
        self._sql = statements
        self._worker = worker
        self._lease = span_to_ms(lease)

    def claim(self, connection: sqlite3.Connection, wanted: Wanted, known: Known, now: datetime) -> Taken:
        """Lease what lost its worker, and what is due, by lanes."""
        at = to_ms(now)
        paused = self._paused(connection)
        ids = self._lapsed(connection, wanted, paused, at)
        self._take(connection, ids, at)
        reaches, after = self._list(connection, known, at)
        looks = [
            _Look(lane, reach, {"stream": lane.stream.value, "account": lane.account})
            for lane, reach in reaches.items()
            if reach.more and not is_paused(lane, paused)
        ]
        for look in looks:
            look.budget = max(_LEAST, WINDOW // len(looks))
        found, turns = self._deal(connection, looks, wanted, wanted.limit - len(ids), known, at)
        for look in looks:
            self._sweep(connection, look, at)
            _settle(look.reach, at)
        ids += found
        going_on = len(ids) < wanted.limit and any(look.reach.more and not look.reach.capped for look in looks)
        return Taken(self._read(connection, ids, at), Learned(reaches, turns, known.after, after, paused), going_on)

    def claim_old(
        self, connection: sqlite3.Connection, before: Mapping[Stream, datetime], limit: int, after: str, now: datetime
    ) -> Old:
        """Lease deliveries that were accepted, or whose time began to count, before a time, and those whose own time is
        over, paused or not: a bounded stretch of what waits, behind a delivery, and what lost its worker."""
        at = to_ms(now)
        lapsed = connection.execute(self._sql["lapsed"], {"now": at, "passing": _list(()), "limit": _OLD}).fetchall()
        over = connection.execute(self._sql["out_of_time"], {"now": at, "limit": limit}).fetchall()
        until = first_at(max(before.values())) if before else ""
        place: Params = {"after": after, "until": until, "window": _OLD}
        rows = connection.execute(self._sql["old"], place).fetchall()
        bounds = {stream.value: to_ms(since) for stream, since in before.items()}
        over += [row for row in lapsed if row["expires_at"] is not None and row["expires_at"] <= at]
        old = [row for row in (*lapsed, *rows) if row["stream"] in bounds and row["age_from"] < bounds[row["stream"]]]
        ids = list(dict.fromkeys(row["id"] for row in (*over, *old)))[:limit]
        self._take(connection, ids, at)
        # what was not taken is looked at again by the next search
        more = len(rows) == _OLD and len(ids) < limit
        return Old(self._read(connection, ids, at), rows[-1]["id"] if more else "")

    def brothers(self, connection: sqlite3.Connection, claimed: Claimed, limit: int, now: datetime) -> list[Claimed]:
        """Lease deliveries that share a return path with one of ours, and are due now or in a moment."""
        at = to_ms(now)
        place: Params = {
            "queue_id": claimed.message.id,
            "return_path": str(claimed.delivery.return_path),
            "until": to_ms(now + SOON),
            "limit": limit,
        }
        ids = [row["id"] for row in connection.execute(self._sql["brothers"], place).fetchall()]
        self._take(connection, ids, at)
        return self._read(connection, ids, at)

    def extend(self, connection: sqlite3.Connection, ids: Iterable[str], now: datetime) -> frozenset[str]:
        """Renew leases that are ours; return which."""
        params: Params = {"ids": _list(ids), "owner": self._worker, "lease_until": to_ms(now) + self._lease}
        return frozenset(row["id"] for row in connection.execute(self._sql["extend"], params).fetchall())

    def release(self, connection: sqlite3.Connection, ids: Iterable[str]) -> list[PutBack]:
        """Give back leases that are ours."""
        return self._put_back(connection, "release", {"ids": _list(ids), "owner": self._worker})

    def give_back_of(self, connection: sqlite3.Connection, worker: int) -> list[PutBack]:
        """Give back some leases of a worker that is gone; no more are left when this returns nothing."""
        return self._put_back(connection, "give_back", {"owner": worker, "limit": _GIVEN_BACK})

    def _put_back(self, connection: sqlite3.Connection, name: str, params: Params) -> list[PutBack]:
        rows = connection.execute(self._sql[name], params).fetchall()
        return [PutBack(_lane_of(row), row["domain"]) for row in rows]

    def _paused(self, connection: sqlite3.Connection) -> tuple[Pause, ...]:
        return tuple(pause_from(row) for row in connection.execute(self._sql["pauses"]).fetchall())

    def _lapsed(self, connection: sqlite3.Connection, wanted: Wanted, paused: Sequence[Pause], at: int) -> list[str]:
        params: Params = {"now": at, "passing": _list(wanted.passing), "limit": wanted.limit}
        rows = connection.execute(self._sql["lapsed"], params).fetchall()
        return [row["id"] for row in rows if not is_paused(_lane_of(row), paused)]

    def _list(self, connection: sqlite3.Connection, known: Known, at: int) -> tuple[dict[Lane, Reach], dict[str, str]]:
        """Return the lanes with something waiting, and where the next list begins if there are too many for one."""
        reaches: dict[Lane, Reach] = {}
        after: dict[str, str] = {}
        for stream in Stream:
            params: Params = {"stream": stream.value, "after": known.after.get(stream, ""), "limit": LANES}
            rows = connection.execute(self._sql["lanes"], params).fetchall()
            if len(rows) == LANES:
                after[stream] = rows[-1]["account"] + _BEHIND
            for row in rows:
                lane = Lane(stream, row["account"])
                if row["due_at"] > at:
                    # nothing is due: whatever was known of what is, is over
                    reaches[lane] = Reach(more=False, next_due=row["due_at"], swept_at=at)
                else:
                    there = known.reaches.get(lane)
                    reaches[lane] = Reach(swept_at=at) if there is None else there.copy()
                    # others may have put something behind the frontier since it was looked at
                    reaches[lane].more, reaches[lane].capped = True, False
        return reaches, after

    def _deal(
        self, connection: sqlite3.Connection, looks: Sequence[_Look], wanted: Wanted, left: int, known: Known, at: int
    ) -> tuple[list[str], Turns]:
        """Lease up to `left` deliveries of lanes with something due; return their ids, and whose turn it is next."""
        ids: list[str] = []
        turns, hand, line = known.turns, Counter(wanted.in_hand), list(looks)
        while left > 0 and line:
            due = [look.lane for look in line]
            part = shares(due, left, hand, known.weights, turns, wanted.window)
            if not part:
                # something is due, but those lanes have their part of the window in hand
                for look in line:
                    look.reach.capped = True
                break
            got: Counter[Lane] = Counter()
            for look in line:
                if share := part.get(look.lane, 0):
                    found = self._look(connection, look, share, wanted.passing, at)
                    self._take(connection, found, at)
                    ids += found
                    got[look.lane] = len(found)
            hand += got
            left -= got.total()
            turns = turns.after(got, due, known.weights)
            # who gave less than its share has nothing more, or was looked at long enough
            line = [look for look in line if got[look.lane] == part.get(look.lane, 0) and look.reach.more]
        return ids, turns

    def _look(
        self, connection: sqlite3.Connection, look: _Look, share: int, passing: Collection[str], at: int
    ) -> list[str]:
        """Return deliveries of a lane to be leased: first those that were passed over, then from the frontier on."""
        found = self._look_behind(connection, look, share, passing)
        if len(found) == share:
            return found
        reach, behind = look.reach, frozenset(found)
        window = look.budget if passing else min(look.budget, share - len(found) + 1)
        place = look.key | {"after_due": reach.frontier.due_at, "after_id": reach.frontier.id, "window": window}
        rows = connection.execute(self._sql["due"], place).fetchall() if window else []
        look.budget -= len(rows)
        for row in rows:
            if row["due_at"] > at:
                reach.more, reach.next_due = False, row["due_at"]
                break
            if len(found) == share:
                return found
            reach.frontier = Position(row["due_at"], row["id"])
            if row["domain"] in passing:
                reach.leave_behind(row["domain"])
            elif row["id"] not in behind:
                # what is due in the same millisecond as the frontier is on both sides of it
                found.append(row["id"])
        else:
            if len(rows) == window:
                return found
            reach.more, reach.next_due = False, None
        if not found and not reach.behind and not look.anew:
            # the lane has something due, and nobody here knows where: another worker gave it back
            reach.frontier, reach.more, look.anew = START, True, True
            return self._look(connection, look, share, passing, at)
        if any(domain not in passing for domain in reach.behind):
            reach.more = True
        return found

    def _look_behind(
        self, connection: sqlite3.Connection, look: _Look, share: int, passing: Collection[str]
    ) -> list[str]:
        found: list[str] = []
        reach = look.reach
        for domain in [domain for domain in reach.behind if domain not in passing]:
            if len(found) == share or look.domains == 0:
                break
            look.domains -= 1
            wanted = share - len(found)
            place = look.key | {"domain": domain, "until": reach.frontier.due_at, "limit": wanted}
            rows = connection.execute(self._sql["due_to"], place).fetchall()
            found += [row["id"] for row in rows]
            # to the end of the line, so that the others have their turn; or off it, when nothing is left
            del reach.behind[domain]
            if len(rows) == wanted:
                reach.behind[domain] = None
        return found

    def _sweep(self, connection: sqlite3.Connection, look: _Look, at: int) -> None:
        """Look for domains with something due before the frontier, a few at a time."""
        reach = look.reach
        if reach.sweep is None:
            if at - reach.swept_at < span_to_ms(SWEPT_EVERY):
                return
            reach.sweep = ""
        place = look.key | {"after": reach.sweep, "limit": DOMAINS}
        rows = connection.execute(self._sql["due_domains"], place).fetchall()
        for row in rows:
            if row["due_at"] <= reach.frontier.due_at:
                reach.leave_behind(row["domain"])
        if len(rows) < DOMAINS:
            reach.sweep, reach.swept_at = None, at
        else:
            reach.sweep = rows[-1]["domain"]

    def _take(self, connection: sqlite3.Connection, ids: Collection[str], at: int) -> None:
        if ids:
            params: Params = {"ids": _list(ids), "owner": self._worker, "lease_until": at + self._lease}
            connection.execute(self._sql["lease"], params)

    def _read(self, connection: sqlite3.Connection, ids: Sequence[str], at: int) -> list[Claimed]:
        """Return what was leased, in the order of its ids; what cannot be read is set aside."""
        if not ids:
            return []
        claimed: dict[str, Claimed] = {}
        for row in connection.execute(self._sql["claimed"], {"ids": _list(ids), "now": at}).fetchall():
            try:
                claimed[row["delivery_id"]] = claimed_from(row)
            except ValueError as error:
                # one bad row must not stop the line behind it
                reason = f"unreadable in the store: {error}"
                _log.error("delivery %s of message %s is held: %s", row["delivery_id"], row["id"], reason)
                aside: Params = {"id": row["delivery_id"], "now": at, "reason": reason}
                connection.execute(self._sql["set_aside"], aside)
        return [claimed[id] for id in ids if id in claimed]


def _settle(reach: Reach, at: int) -> None:
    """Draw the frontier back to where nothing can be put any more."""
    settled = at - span_to_ms(SETTLING)
    if reach.frontier.due_at > settled:
        reach.frontier = Position(settled, "")


def _lane_of(row: sqlite3.Row) -> Lane:
    return Lane(Stream(row["stream"]), row["account"])


def _list(values: Iterable[str]) -> str:
    return json.dumps(list(values))
