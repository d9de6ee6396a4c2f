"""A queue in numbers, for people: what waits, by age, by lanes, by what a selector means. Goes by the indexes.

Made for a command's own process: some of its statements take a second when a million deliveries wait, during which
nothing is locked, but a server's own reading should not stand behind them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mta.clock import Clock
from mta.queue.lanes import Lane
from mta.queue.model import State, Stream
from mta.storage.reading import Reader
from mta.storage.rows import Params, from_ms, to_ms
from mta.storage.views import AgeRow, AuditRow, LaneRow, QueueRow, Selector, Shape

AGES = tuple(timedelta(minutes=5 * 2**doubled) for doubled in range(9))
"""5 minutes, 10, 20, and so on to 1280: what Postfix's qshape shows."""

_PAGE = 5000
_LOOKED_AT = 100
"""Deliveries that are looked at for the site that a domain's mail goes to."""
MOST_AHEAD = 10_000


class By(StrEnum):
    """What deliveries are counted by."""

    DOMAIN = "domain"
    SITE = "site"
    ACCOUNT = "account"


class Overview:
    """Asks over a reader."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def shape(self, by: By = By.DOMAIN, most: int = 20) -> Shape:
        """Count open deliveries by age for whoever has most of them.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        bounds = {f"b{column}": to_ms(self._clock.now() - age) for column, age in enumerate(AGES)}
        rows = [_age_row(row) for row in await self._reader.rows(f"ages_by_{by}", bounds | {"limit": most + 1})]
        shown = rows[:most]
        if by is By.DOMAIN:
            lanes = await self._reader.waiting_lanes()
            shown = [replace(row, sites=await self.sites_of(row.name, [one.lane for one in lanes])) for row in shown]
        return Shape(AGES, tuple(shown), is_cut=len(rows) > most)

    async def lanes(self, most: int = 20) -> list[LaneRow]:
        """Count what waits by lanes, those with most first.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return [
            LaneRow(Lane(Stream(row["stream"]), row["account"]), row["count"], from_ms(row["due_at"]))
            for row in await self._reader.rows("lane_counts", {"limit": most})
        ]

    async def count(self, selector: Selector) -> Mapping[State, int]:
        """Count what a selector means, by state. By tag or hold reason it reads all that are open, in pages.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        by_rows = (selector.id, selector.tag, selector.hold_reason) != (None,) * 3
        if by_rows or (selector.state is not None and selector.state.is_final):
            return await self._walk(selector)
        older = selector.older_than
        params: Params = {
            "account": selector.account,
            "domain": None if selector.domain is None else selector.domain.lower(),
            "stream": selector.stream,
            "site": selector.site,
            "accepted_before": None if older is None else to_ms(self._clock.now() - older),
        }
        counts = {State(row["state"]): row["count"] for row in await self._reader.rows("counts_selected", params)}
        return {state: count for state, count in counts.items() if count and selector.state in (None, state)}

    async def sites_of(self, domain: str, lanes: Sequence[Lane]) -> tuple[str, ...]:
        """Return the sites where deliveries to a domain were last attempted, of the first few that wait in some lanes.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        found: set[str] = set()
        for lane in lanes[:_LOOKED_AT]:
            params: Params = {"stream": lane.stream.value, "account": lane.account, "domain": domain}
            rows = await self._reader.rows("sites_to", params | {"limit": _LOOKED_AT})
            found |= {row["site"] for row in rows}
        return tuple(sorted(found))

    async def ahead(self, row: QueueRow) -> int:
        """Return how many deliveries of its lane are due before a queued one; `MOST_AHEAD` is that many or more.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        params: Params = {"stream": row.stream.value, "account": row.account, "due_at": to_ms(row.due_at), "id": row.id}
        (found,) = await self._reader.rows("ahead", params | {"limit": MOST_AHEAD})
        return int(found["count"])

    async def newest_event(self) -> datetime | None:
        """Return the time of the event that was committed last; None when there is none.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        rows = await self._reader.rows("newest_event", {})
        return from_ms(rows[0]["at"]) if rows else None

    async def audit(
        self, since: datetime | None = None, action: str | None = None, before: str | None = None, limit: int = 100
    ) -> list[AuditRow]:
        """Return what operators did, newest first; `action` is how its name begins, `before` an identifier.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        params: Params = {
            "since": 0 if since is None else to_ms(since),
            "action": action,
            "before": "~" if before is None else before,
            "limit": limit,
        }
        return [
            AuditRow(
                row["id"],
                from_ms(row["at"]),
                row["who"],
                row["action"],
                row["target"],
                row["reason"],
                row["detail"],
            )
            for row in await self._reader.rows("audit", params)
        ]

    async def _walk(self, selector: Selector) -> Mapping[State, int]:
        counts: Counter[State] = Counter()
        after = ""
        while rows := await self._reader.select(selector, _PAGE, after):
            counts.update(row.state for row in rows)
            after = rows[-1].id
        return dict(counts)


def _age_row(row: Any) -> AgeRow:
    younger = [row[f"n{column}"] for column in range(len(AGES))] + [row["count"]]
    by_age = tuple(count - before for count, before in zip(younger, [0, *younger], strict=False))
    return AgeRow(row["name"] or "", row["count"], from_ms(row["oldest"]), by_age)
