"""The daily round of reports about TLS: what was counted goes to the store, and what is of an earlier day to whoever
asks for it (RFC 8460 §3).

Who writes the mail is `tls_report_mail`; its way into the queue is the caller's, who hands over `submit`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Protocol

from mta.clock import Clock
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.sts_cache import TxtLookup
from mta.delivery.tls_report import DomainDay, Tallies, TallyStore, parse_txt
from mta.delivery.tls_report_mail import ReportMail, Submitter, report_mail
from mta.errors import StoreUnavailable
from mta.mail.address import Mailbox

FLUSH_EVERY = timedelta(minutes=1)
LOOK_EVERY = timedelta(minutes=10)
SPREAD = timedelta(hours=4)
"""After midnight (UTC), so that not all reporters come at once (RFC 8460 §4.1)."""
KEPT = timedelta(days=2)
"""A report for which no address could be found out, or which could not be queued, is given up after this time."""

_log = logging.getLogger("mta.delivery")


class Submit(Protocol):
    """Queues a report: signed by `From`'s domain, from the null reverse-path, with TLS optional."""

    def __call__(self, mail: ReportMail, to: tuple[Mailbox, ...]) -> Awaitable[None]:
        """Return when it is on stable storage. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What the reports are made with."""

    submitter: Submitter
    submit: Submit
    txt: TxtLookup
    new_id: Callable[[], str]
    """Makes report ids, of letters, digits, `-`, `.` and `_`."""


class TlsReports:
    """Keeps tallies, and reports them."""

    def __init__(self, tallies: Tallies, store: TallyStore, desk: Desk, clock: Clock, dice: random.Random) -> None:
        self._tallies = tallies
        self._store = store
        self._desk = desk
        self._clock = clock
        self._delay = SPREAD * dice.random()

    async def tend_tallies(self) -> None:
        """Hand over what was counted, for ever. For each worker."""
        try:
            while True:
                await asyncio.sleep(FLUSH_EVERY.total_seconds())
                await self.flush()
        finally:
            await asyncio.shield(self.flush())

    async def tend_reports(self) -> None:
        """Make the reports of each day that has passed, for ever. For one worker of all: another would report again."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            await self.report()

    async def flush(self) -> None:
        """Hand over what was counted; what cannot be stored now is counted on."""
        days = self._tallies.drain()
        if not days:
            return
        try:
            await self._store.add(days)
        except StoreUnavailable:
            self._tallies.take_back(days)

    async def report(self) -> None:
        """Make the reports that are due, and forget what nobody asks for."""
        now = self._clock.now().astimezone(UTC)
        if now < datetime.combine(now.date(), time(), UTC) + self._delay:
            return
        try:
            for day in await self._store.before(now.date()):
                await self._one(day, now)
        except StoreUnavailable as trouble:
            _log.warning("reports about TLS wait for the store: %s", trouble)

    async def _one(self, day: DomainDay, now: datetime) -> None:
        try:
            targets = parse_txt(await self._desk.txt(f"_smtp._tls.{day.domain}"))
        except NoSuchDomain:
            targets = None
        except DnsTrouble:
            if now.date() - day.day <= KEPT:
                return
            targets = None
        if targets is not None and targets.mailboxes:
            desk = self._desk
            mail = report_mail(day, desk.submitter, targets.mailboxes, desk.new_id(), now)
            await desk.submit(mail, targets.mailboxes)
        # a crash before this line reports again, under another id: better twice than never
        await self._store.remove(day.day, day.domain)
