"""Watches the ratios: folds what just happened into judgements, and moves standings at once.

Told of every event, it looks at an account's stream again as soon as something of weight happened to it. It also knows
who is suspended, for the door and the dispatcher, and looks now and then at what other workers and operators wrote.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mta.accounts.standing import Book, Standing, State, moved, reinstated_by, suspended_by
from mta.errors import StoreUnavailable
from mta.events import Event, EventType, Observer
from mta.reputation.rates import Evidence, Limits, fold, judge, slot_of, tally_of

LOOK_EVERY = timedelta(seconds=2)
"""Between looks at what others wrote."""
GATHER = timedelta(milliseconds=50)
"""How long events gather before their ratios are looked at: a burst of bounces is one look."""
WHOLE = ""
"""The stream of a standing that is the account's as a whole."""

_TYPES = {State.WARNED: EventType.WARNED, State.SUSPENDED: EventType.SUSPENDED, State.GOOD: EventType.REINSTATED}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's rules, and whether they are applied to streams or to accounts as a whole."""

    limits: Limits
    by_stream: bool = True


class StandingWatch:
    """Moves standings, and knows them."""

    def __init__(
        self,
        book: Book,
        policy: Policy,
        observer: Observer,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        """`observer` hears of the moves; it must not be this watch, which is told by whoever tells it the rest."""
        self._book = book
        self._policy = policy
        self._observer = observer
        self._now = now
        self._new_id = new_id
        self._known: dict[tuple[str, str], Standing] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._happened = asyncio.Event()
        self._turn = asyncio.Lock()
        """What is read is moved before anybody else moves it: an operator's word is not lost to a look under way."""

    def observe(self, event: Event) -> None:
        """Note whose ratios an event moved."""
        if event.account is not None and event.stream is not None and tally_of(event) is not None:
            self.counted(event.account, event.stream)

    def counted(self, account: str, stream: str) -> None:
        """Note that ratios were moved by what happened before."""
        self._dirty.add((account, stream if self._policy.by_stream else WHOLE))
        self._happened.set()

    def suspended(self, account: str, stream: str) -> Standing | None:
        """Return the standing by which a stream of an account may not send; None when it may."""
        for key in ((account, WHOLE), (account, stream)):
            standing = self._known.get(key)
            if standing is not None and standing.state is State.SUSPENDED:
                return standing
        return None

    def standing(self, account: str, stream: str) -> Standing:
        """Return how a stream of an account stands; with an empty stream, the account as a whole."""
        return self._known.get((account, stream), Standing(account, stream))

    def replace(self, policy: Policy) -> None:
        """Judge by other rules from the next event on."""
        self._policy = policy

    async def evidence(self, standing: Standing) -> list[Evidence]:
        """Return the ratios of a standing, the worst first.

        Raises:
            StoreUnavailable: the counts cannot be read now.
        """
        limits, now = self._policy.limits, self._now()
        slots = await self._book.slots(standing, slot_of(now - max(limits.windows)))
        return judge(fold(slots, limits.windows, now), limits)

    async def suspend(self, account: str, stream: str, who: str, reason: str) -> Standing:
        """Suspend on an operator's word.

        Raises:
            StoreUnavailable: nothing was written.
        """
        async with self._turn:
            await self._look()
            return await self._move(suspended_by(self.standing(account, stream), who, reason, self._now()), None)

    async def reinstate(self, account: str, stream: str, who: str, reason: str) -> Standing:
        """Let an account or a stream send again; its ratios begin anew.

        Raises:
            StoreUnavailable: nothing was written.
        """
        async with self._turn:
            # an epoch of another worker's reinstatement, not seen yet, would be refused
            await self._look()
            return await self._move(reinstated_by(self.standing(account, stream), who, reason, self._now()), None)

    async def look(self) -> None:
        """Read what is written, once; to be called before anybody asks.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        async with self._turn:
            await self._look()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY.total_seconds()):
                    await self._happened.wait()
                await asyncio.sleep(GATHER.total_seconds())
            except TimeoutError:
                pass
            try:
                await self.look()
                await self.judge_dirty()
            except StoreUnavailable as trouble:
                # what is dirty stays so
                _log.error("the ratios cannot be judged now: %s", trouble)
                await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def judge_dirty(self) -> None:
        """Judge everybody whose ratios moved since the last time.

        Raises:
            StoreUnavailable: those that are left stay dirty.
        """
        self._happened.clear()
        for key in list(self._dirty):
            async with self._turn:
                await self._judge(*key)

    async def _look(self) -> None:
        self._known = {(each.account, each.stream): each for each in await self._book.standings()}

    async def _judge(self, account: str, stream: str) -> None:
        # before the counts are read: what happens while they are marks it again
        self._dirty.discard((account, stream))
        try:
            standing = self.standing(account, stream)
            evidence = await self.evidence(standing)
            after = moved(standing, evidence, self._now())
            if after is not None:
                await self._move(after, evidence[0])
        except StoreUnavailable:
            self._dirty.add((account, stream))
            raise

    async def _move(self, standing: Standing, worst: Evidence | None) -> Standing:
        event = self._event(standing, worst)
        await self._book.write(standing, event)
        self._known[standing.account, standing.stream] = standing
        if event is not None:
            self._observer.observe(event)
        if standing.state is State.SUSPENDED:
            what = standing.stream or "as a whole"
            _log.warning("account %s (%s) is suspended: %s", standing.account, what, standing.reason)
        return standing

    def _event(self, standing: Standing, worst: Evidence | None) -> Event | None:
        """Return what tells of a move; a warning that lapses is not worth a word."""
        if standing.state is State.GOOD and not standing.by:
            return None
        return Event(
            id=self._new_id(),
            at=self._now(),
            type=_TYPES[standing.state],
            account=standing.account,
            stream=standing.stream or None,
            detail={"reason": standing.reason, "who": standing.by or "mta", **_told(worst)},
        )


def _told(worst: Evidence | None) -> Mapping[str, str | int | float]:
    if worst is None:
        return {}
    return {
        "measure": worst.measure.value,
        "window_hours": worst.window.total_seconds() / 3600,
        "part": worst.part,
        "whole": worst.whole,
        "ratio": round(worst.ratio, 5),
        "limit": worst.exceeded,
    }
