"""The book of standings in the database, with the counts behind them.

What the counts mean, and who is moved by them, is decided in `mta.reputation.rates` and `mta.accounts.standing`.
"""

import sqlite3
from collections.abc import Sequence

from mta.accounts.standing import Standing, State
from mta.errors import StoreUnavailable
from mta.events import Event
from mta.queue.model import Stream
from mta.reputation.rates import Tally
from mta.storage.reading import WHOLE, Reader
from mta.storage.rows import standing_from, standing_params
from mta.storage.statements import Statements
from mta.storage.transactions import Transactions
from mta.storage.writer import Writer


class StandingBook:
    """Standings, and the counts behind them."""

    def __init__(self, writer: Writer, reader: Reader, statements: Statements, transactions: Transactions) -> None:
        self._writer = writer
        self._reader = reader
        self._sql = statements
        self._transactions = transactions

    async def standings(self) -> Sequence[Standing]:
        """Return every standing that was ever written.

        Raises:
            StoreUnavailable: they cannot be read now.
        """
        return await self._reader.standings()

    async def slots(self, standing: Standing, since: int) -> Sequence[tuple[int, Tally]]:
        """Return the counts of a standing's epoch by slot, from a slot on. For the account as a whole (stream empty):
        of all its streams, each in its own epoch.

        Raises:
            StoreUnavailable: they cannot be read now.
        """
        return await self._reader.slots(standing, since)

    async def write(self, standing: Standing, event: Event | None) -> None:
        """Replace a standing, with the event that tells of it. Its epoch is that of all later counts; a new epoch of
        the account as a whole begins one in each of its streams.

        Raises:
            StoreUnavailable: nothing was written; also when the ratios moved a standing that another worker or an
                operator has moved in the meantime: look again.
        """

        def unit(connection: sqlite3.Connection) -> None:
            params = standing_params(standing)
            row = connection.execute(self._sql["standing"], params).fetchone()
            there = Standing(standing.account, standing.stream) if row is None else standing_from(row)
            if _is_stale(standing, there, written=row is not None):
                raise StoreUnavailable(
                    f"the standing of account {standing.account} ({standing.stream or 'as a whole'}) was moved by "
                    f"somebody else meanwhile: it is {there.state.value} in epoch {there.epoch}"
                )
            connection.execute(self._sql["put_standing"], params)
            if standing.stream == WHOLE and standing.epoch > there.epoch:
                self._begin_anew(connection, standing.account)
            self._transactions.write_events(connection, [] if event is None else [event])

        await self._writer.run(unit)

    def _begin_anew(self, connection: sqlite3.Connection, account: str) -> None:
        for stream in Stream:
            connection.execute(self._sql["next_epoch"], {"account": account, "stream": stream.value})


def _is_stale(standing: Standing, there: Standing, *, written: bool) -> bool:
    """Whether a move rests on something that is not so any more.

    Two workers that see the same ratios must not suspend twice, and one that has not heard of a reinstatement not by
    the counts before it. An operator's word stands, whatever the ratios did meanwhile.
    """
    if standing.epoch < there.epoch:
        return True
    settled = there.state in (standing.state, State.SUSPENDED)
    return written and not standing.by and standing.epoch == there.epoch and settled
