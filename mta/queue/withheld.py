"""What hard bounces would do that the breaker of their site does not believe: kept in the store, and done when it is
believed.

The breaker believes it when the ratio is usual again; the operator may say so before. Who was delivered to meanwhile
stays out of it. A breaker that was open before a restart is open after it. What an operator does not believe, he drops
from the store himself (`mta bounces discard`), and nothing of it comes here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from mta.errors import StoreUnavailable
from mta.events import Event, Observer
from mta.queue.breaker import Breaker

LOOK_EVERY = timedelta(seconds=2)
STEP_PAUSE = timedelta(milliseconds=20)
"""Between steps, so that mail does not wait for them."""
_EMPTY_LOOKS = 2
"""A bounce that was decided before its breaker closed may be written down after it."""

_log = logging.getLogger("mta.queue")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of some bounces that are believed now."""

    seen: int
    events: tuple[Event, ...]
    """Of the addresses that are new on a suppression list."""
    counted: frozenset[tuple[str, str]]
    """Accounts and streams whose counts grew."""


class Book(Protocol):
    """Where bounces wait."""

    async def withheld_since(self) -> Mapping[str, datetime]:
        """Return the sites of bounces that wait, with the time of the newest.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def believed(self) -> Mapping[str, datetime]:
        """Return the sites whose bounces operators believe, and when they said so last.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def apply(self, site: str, until: datetime) -> Applied:
        """Let some bounces of a site, those up to a time, do what they would have done; none are left when it has seen
        none.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...


class Withheld:
    """Follows the breaker and the operators. One for each worker."""

    def __init__(
        self,
        breaker: Breaker,
        book: Book,
        observers: Sequence[Observer],
        counted: Callable[[str, str], None],
        now: Callable[[], datetime],
    ) -> None:
        """`counted` hears whose ratios moved, account and stream; `now` is the store's clock."""
        self._breaker = breaker
        self._book = book
        self._observers = observers
        self._counted = counted
        self._now = now
        self._heard: dict[str, datetime] | None = None
        """What operators said; None: nothing was read yet."""
        self._due: dict[str, datetime] = {}
        """Sites with bounces that are believed now, and up to which time."""
        self._empty: dict[str, int] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as trouble:
                _log.warning("bounces that were withheld still wait: %s", trouble)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def look(self) -> None:
        """Do what has come to be believed since the last look.

        Raises:
            StoreUnavailable: not all of it was done; the next look goes on.
        """
        believed = await self._book.believed()
        if self._heard is None:
            await self._resume(believed)
        else:
            for site in [site for site, at in believed.items() if self._heard.get(site) != at]:
                if self._breaker.close(site):
                    _log.warning("the bounces of %s are believed from now on, as an operator said", site)
                self._begin(site)
        self._heard = dict(believed)
        for site in self._breaker.closed():
            _log.warning("%s bounces as usual again: what was withheld there is done now", site)
            self._begin(site)
        for site, until in list(self._due.items()):
            await self._apply(site, until)

    async def _resume(self, believed: Mapping[str, datetime]) -> None:
        for site, newest in (await self._book.withheld_since()).items():
            said = believed.get(site)
            if said is not None:
                # we ended before all of it was done
                self._due[site] = said
            if said is None or said < newest:
                _log.warning("bounces of %s that were withheld wait: mta bounces withheld", site)
                self._breaker.resume(site)

    def _begin(self, site: str) -> None:
        self._due[site] = self._now()
        self._empty.pop(site, None)

    async def _apply(self, site: str, until: datetime) -> None:
        total = 0
        while (applied := await self._book.apply(site, until)).seen:
            total += applied.seen
            for account, stream in applied.counted:
                self._counted(account, stream)
            for event in applied.events:
                for observer in self._observers:
                    observer.observe(event)
            await asyncio.sleep(STEP_PAUSE.total_seconds())
        if total:
            _log.warning("%d bounces of %s that were withheld are believed now", total, site)
        self._empty[site] = self._empty.get(site, 0) + 1
        if self._empty[site] >= _EMPTY_LOOKS:
            del self._due[site], self._empty[site]
