"""What delivery keeps about TLS: policies of MTA-STS by domain, and counts for reports by day and domain.

The texts are delivery's own; here they are only kept, found again and forgotten.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from mta.clock import Clock
from mta.storage.rows import Params, to_ms
from mta.storage.statements import Statements
from mta.storage.writer import Writer


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted for a domain on a day."""

    day: date
    domain: str
    text: str


class TlsBook:
    """Policies and counts. Its few questions go to the writer, whose answer no other worker can have overtaken."""

    def __init__(self, writer: Writer, statements: Statements, clock: Clock) -> None:
        self._writer = writer
        self._sql = statements
        self._clock = clock

    async def policies(self) -> Sequence[str]:
        """Return every policy that still holds.

        Raises:
            StoreUnavailable: they cannot be read now.
        """
        return await self._texts("sts_policies", {"now": self._now()})

    async def policy(self, domain: str) -> str | None:
        """Return a domain's policy, if it still holds.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        found = await self._texts("sts_policy", {"domain": domain, "now": self._now()})
        return found[0] if found else None

    async def put_policy(self, domain: str, text: str, expires_at: datetime) -> None:
        """Keep a policy in place of the domain's last one, and forget those that hold no more.

        Raises:
            StoreUnavailable: nothing was written.
        """
        params: Params = {"domain": domain, "data": text, "expires_at": to_ms(expires_at), "now": self._now()}

        def unit(connection: sqlite3.Connection) -> None:
            connection.execute(self._sql["put_sts_policy"], params)
            connection.execute(self._sql["forget_sts_policies"], params)

        await self._writer.run(unit)

    async def add(self, counted: Sequence[Counted], plus: Callable[[str, str], str]) -> None:
        """Add counts to what is kept of their days and domains; `plus` adds two texts of the same day and domain.

        Raises:
            StoreUnavailable: nothing was written.
        """

        def unit(connection: sqlite3.Connection) -> None:
            for one in counted:
                place: Params = {"day": one.day.isoformat(), "domain": one.domain}
                kept = connection.execute(self._sql["tls_tally"], place).fetchone()
                data = one.text if kept is None else plus(kept["data"], one.text)
                connection.execute(self._sql["put_tls_tally"], {**place, "data": data})

        await self._writer.run(unit)

    async def before(self, day: date) -> Sequence[str]:
        """Return what was counted on earlier days.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self._texts("tls_tallies_before", {"day": day.isoformat()})

    async def remove(self, day: date, domain: str) -> None:
        """Forget what was counted for a domain on a day.

        Raises:
            StoreUnavailable: nothing was written.
        """
        params: Params = {"day": day.isoformat(), "domain": domain}
        await self._writer.run(lambda connection: connection.execute(self._sql["remove_tls_tally"], params))

    async def _texts(self, name: str, params: Params) -> list[str]:
        rows = await self._writer.run(lambda connection: connection.execute(self._sql[name], params).fetchall())
        return [str(row["data"]) for row in rows]

    def _now(self) -> int:
        return to_ms(self._clock.now())
