"""Tells submitters of mail that has become late while it waits: its site rests, something is paused, or its turn has
not come. An attempt that fails tells of it by itself (`settle`); this needs none.

It looks at what waits in the order of acceptance, from where it stopped: each delivery is seen soon after it became
late. Those that could not be told of then (held, in hand, of a later age than their acceptance says) are found by a
second look, which goes round slowly. Several workers may look; the store lets one of them tell.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from mta.errors import Damaged, StoreUnavailable
from mta.events import Observer
from mta.queue.model import Claimed, Content
from mta.queue.records import Records
from mta.queue.returned import Filed
from mta.queue.schedule import Schedule
from mta.queue.settle import delayed
from mta.queue.store import Store
from mta.queue.traffic import Traffic

LOOK_EVERY = timedelta(seconds=30)
AT_ONCE = 10
"""Notices that are made together, so that they share a commit."""
ROUND = 20
"""Stretches of what waits that the second look goes over at a time."""
STRETCH_PAUSE = timedelta(milliseconds=5)

_log = logging.getLogger("mta.queue")


class DelayNotices:
    """Makes notices of delay. One for each worker."""

    def __init__(
        self,
        store: Store,
        records: Records,
        observers: Sequence[Observer],
        traffic: Traffic,
        schedule: Callable[[], Schedule],
        now: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        """`schedule` is the one in force, `now` the time by which ages are judged; `wake` is called when a notice is
        due to be sent."""
        self._store = store
        self._records = records
        self._observers = observers
        self._traffic = traffic
        self._schedule = schedule
        self._now = now
        self._wake = wake
        self._after = ""
        self._again = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as trouble:
                _log.warning("nobody is told of late mail now: %s", trouble)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def look(self) -> None:
        """Tell of all that has become late since the last look, and of some that was late before.

        Raises:
            StoreUnavailable: not all was told; the next look goes on.
        """
        more = True
        while more:
            self._after, more = await self._stretch(self._after)
        for _ in range(ROUND):
            self._again, more = await self._stretch(self._again)
            if not more:
                self._again = ""
                break

    async def _stretch(self, after: str) -> tuple[str, bool]:
        """Look at a stretch of what waits; return where it ended, and whether there is more behind it."""
        late = await self._store.late(after, self._now() - self._schedule().delay_notice_after)
        for start in range(0, len(late.found), AT_ONCE):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._told(one)) for one in late.found[start : start + AT_ONCE]]
            if (trouble := next((task.result() for task in tasks if task.result()), None)) is not None:
                raise trouble
        if late.more:
            await asyncio.sleep(STRETCH_PAUSE.total_seconds())
        return late.last or after, late.more

    async def _told(self, filed: Filed) -> StoreUnavailable | None:
        """Tell of one; return what the store failed with, which a group of tasks would wrap."""
        try:
            await self._tell(filed)
        except StoreUnavailable as trouble:
            return trouble
        return None

    async def _tell(self, filed: Filed) -> None:
        now, delivery = self._now(), filed.delivery
        said = self._traffic.said(delivery.domain, delivery.site)
        settlement = delayed(Claimed(filed.message, delivery, now), self._schedule(), now, said)
        if settlement is None:
            return
        settled = self._records.of(settlement, await self._original(filed.message.id))
        written = await self._store.tell_late(settled)
        if written is None:
            return
        for event in written:
            for observer in self._observers:
                observer.observe(event)
        self._wake()

    async def _original(self, queue_id: str) -> Content | None:
        try:
            return await self._store.content(queue_id)
        except Damaged as why:
            _log.error("%s: %s; its notification goes out without the header", queue_id, why)
            return None
