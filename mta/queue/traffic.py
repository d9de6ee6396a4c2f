"""Whether an attempt may be made at a site now, and which domains a claim should pass over: places, rests and pauses in
one place. What an attempt came to is told here, and moves them.

Accounts and streams that are paused are the store's to skip; here they matter for what is in hand already.
"""

import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from msgspec.structs import replace

from mta.clock import Clock
from mta.mail.outcome import Deferred, Delivered, Outcome
from mta.mail.reply import Reply
from mta.queue.domains import Domains
from mta.queue.lanes import Lane, is_paused
from mta.queue.model import Pause, PauseScope, SiteRest, unreachable_name
from mta.queue.pace import Pace
from mta.queue.places import Places
from mta.queue.settle import speaker
from mta.queue.sites import BackOff, Rest, Rests, Said, Standing, has_answered, is_about_site

_REPLY = re.compile(r"([45][0-9]{2})(?: |$)(.*)")


class Obstacle(Enum):
    """Why a delivery that is in hand goes back to the store without an attempt."""

    FULL = auto()
    RESTING = auto()
    PAUSED = auto()


@dataclass(frozen=True, slots=True)
class Change:
    """What an attempt changed at its site."""

    site: str
    """Its name, or what stands for it in the rest of a domain that cannot be looked up."""
    rest: SiteRest | None
    """The rest that began or went on; None: it is over."""
    alarm: bool = False
    """The site refuses us for good (5yz before RCPT): somebody should look."""


class Blocked(Exception):
    """No attempt may begin. Never leaves the engine."""

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle.name)
        self.obstacle = obstacle


class Traffic:
    """The sites of one worker."""

    def __init__(self, pace: Pace, back_off: BackOff, clock: Clock, dice: random.Random) -> None:
        self._clock = clock
        self._places = Places(pace)
        self._rests = Rests(back_off, dice)
        self._domains = Domains()
        self._names = Rests(back_off, dice)
        """Domains that cannot be looked up, by their own names."""
        self._asked: Counter[str] = Counter()
        """How many wait for the way to a domain."""
        self._most_asked = 3 * pace.per_site
        self._pauses: tuple[Pause, ...] = ()
        self._answered: dict[str, float] = {}
        """When a host of a site, that attempts are under way to, last took part in a transaction."""
        self._under_way: dict[str, int] = {}

    def replace(self, back_off: BackOff) -> None:
        """Let rests be as long as this from the next one on."""
        self._rests.replace(back_off)
        self._names.replace(back_off)

    # what a claim asks

    def passing(self) -> frozenset[str]:
        """Return the domains that a claim should pass over."""
        now = self._clock.monotonic()
        paused = {pause.value for pause in self._pauses if pause.scope is PauseScope.SITE}
        asked = {domain for domain, count in self._asked.items() if count >= self._most_asked}
        closed = {*self._places.full(), *self._rests.closed(now), *paused}
        return self._domains.only_at(closed) | self._names.closed(now) | asked

    def next_end(self) -> float | None:
        """Return in how many seconds the first rest ends; None when no site rests."""
        now = self._clock.monotonic()
        ends = (rests.next_end(now) for rests in (self._rests, self._names))
        return min((end for end in ends if end is not None), default=None)

    def is_paused(self, lane: Lane) -> bool:
        """Whether a lane was paused when the pauses were last read."""
        return is_paused(lane, self._pauses)

    def free(self, lane: Lane, domains: Sequence[str]) -> int:
        """Return how many fresh deliveries of a lane that is not paused, the first ones, would soon have a place.

        Of a domain whose site is not known as many as of any new site.
        """
        left: dict[str, int] = {}
        now = self._clock.monotonic()
        for count, domain in enumerate(domains):
            if self._names.look(domain, now) is Standing.RESTING:
                return count
            for site in self._domains.sites_of(domain) or (domain,):
                if site not in left:
                    left[site] = self._places.free(site, lane) if self._obstacle(site, lane) is None else 0
                left[site] -= 1
                if left[site] < 0:
                    return count
        return len(domains)

    def said(self, domain: str, site: str | None = None) -> Said | None:
        """Return what was last heard at the site of a domain that rests: why what waits there is not attempted. `site`
        is where it was attempted before, if it was."""
        sites = [*self._domains.sites_of(domain), *([] if site is None else [site])]
        rests = (self._names.of(domain), *map(self._rests.of, sites))
        return next((rest.said for rest in rests if rest is not None), None)

    def is_full(self, site: str | None) -> bool:
        """Whether no more should be claimed for a site; None: it is not known which."""
        return site is not None and self._places.is_full(site)

    # what the store knows

    def take_pauses(self, pauses: Iterable[Pause]) -> bool:
        """Let these pauses hold from now on; whether one of those before ended."""
        before, self._pauses = self._pauses, tuple(pauses)
        return not {one.id for one in before} <= {one.id for one in self._pauses}

    def take_rests(self, rests: Iterable[SiteRest], wall: datetime) -> None:
        """Take over the rests that others noted, or we before a restart."""
        now = self._clock.monotonic()
        for noted in rests:
            left = (noted.until - wall).total_seconds()
            if left > 0:
                # bounded: the clock of who noted it may be wrong
                until = now + min(left, timedelta(hours=24).total_seconds())
                known, name = (self._rests, noted.site) if noted.domain is None else (self._names, noted.domain)
                known.resume(Rest(name, now, until, noted.failures, Said(_quoted(noted.reason))))

    # one attempt

    @contextmanager
    def lookup(self, domain: str) -> Iterator[None]:
        """Ask for the way to a domain while this is entered: names that take long to look up keep few in hand.

        Raises:
            Blocked: the delivery should go back to the store.
        """
        now = self._clock.monotonic()
        if self._names.look(domain, now) is Standing.RESTING:
            raise Blocked(Obstacle.RESTING)
        if self._asked[domain] >= self._most_asked:
            raise Blocked(Obstacle.FULL)
        probes = self._names.enter(domain, now) is Standing.PROBE
        self._asked[domain] += 1
        try:
            yield
        finally:
            if probes:
                self._names.left(domain)
            self._asked[domain] -= 1
            if not self._asked[domain]:
                del self._asked[domain]

    def looked_up(self, domain: str, trouble: Deferred | None, began: float, wall: datetime) -> Change | None:
        """Take note of whether a domain could be looked up; `began` is of the monotonic clock, `wall` is now."""
        name = unreachable_name(domain)
        if trouble is None:
            return Change(name, None) if self._names.answered(domain) else None
        now = self._clock.monotonic()
        rest = self._names.failed(domain, Said(trouble.reply), began, now)
        return None if rest is None else Change(name, _noted(replace(rest, site=name), now, wall))

    @asynccontextmanager
    async def place(self, site: str, lane: Lane, domain: str) -> AsyncIterator[None]:
        """Wait for a place at a site, and have it while this is entered.

        Raises:
            Blocked: the delivery should go back to the store.
        """
        self._domains.note(domain, site)
        self._require(site, lane)
        async with self._places.at(site, lane):
            # the site may have begun to rest while this waited
            self._require(site, lane, waits=False)
            probes = self._rests.enter(site, self._clock.monotonic()) is Standing.PROBE
            self._under_way[site] = self._under_way.get(site, 0) + 1
            try:
                yield
            finally:
                if probes:
                    self._rests.left(site)
                self._leave(site)

    def after(self, site: str, outcome: Outcome, began: float, wall: datetime) -> Change | None:
        """Take note of what an attempt came to that began at a time of the monotonic clock; `wall` is now."""
        now = self._clock.monotonic()
        if isinstance(outcome, Delivered) or has_answered(outcome):
            self._answered[site] = now
            self._places.answered(site)
            return Change(site, None) if self._rests.answered(site) else None
        if not is_about_site(outcome):
            return None
        if self._answered.get(site, began) > began:
            # it served others meanwhile: it only would not have so many at once
            self._places.troubled(site)
            return None
        rest = self._rests.failed(site, Said(outcome.reply, speaker(outcome.reply, outcome.tries)), began, now)
        if rest is None:
            return None
        self._places.troubled(site)
        refused = outcome.tries[-1].remote and outcome.reply.is_permanent
        return Change(site, _noted(rest, now, wall), alarm=refused and rest.failures == 1)

    @property
    def attempts(self) -> int:
        """How many attempts are under way."""
        return self._places.used

    def _require(self, site: str, lane: Lane, *, waits: bool = True) -> None:
        obstacle = self._obstacle(site, lane, waits=waits)
        if obstacle is not None:
            raise Blocked(obstacle)

    def _obstacle(self, site: str, lane: Lane, *, waits: bool = True) -> Obstacle | None:
        if self._is_paused(lane, site):
            return Obstacle.PAUSED
        if self._rests.look(site, self._clock.monotonic()) is Standing.RESTING:
            return Obstacle.RESTING
        if waits and not self._places.free(site, lane):
            return Obstacle.FULL
        return None

    def _is_paused(self, lane: Lane, site: str) -> bool:
        return self.is_paused(lane) or any(
            pause.scope is PauseScope.SITE and pause.value == site for pause in self._pauses
        )

    def _leave(self, site: str) -> None:
        self._under_way[site] -= 1
        if not self._under_way[site]:
            del self._under_way[site]
            self._answered.pop(site, None)


def _noted(rest: Rest, now: float, wall: datetime) -> SiteRest:
    """Return a rest as the store keeps it, whose clock is the wall's."""
    return SiteRest(rest.site, wall + timedelta(seconds=rest.until - now), rest.failures, str(rest.said.reply)[:500])


def _quoted(reason: str) -> Reply:
    """Return what was noted of a rest as the reply that it was."""
    found = _REPLY.match(reason)
    if found is None:
        return Reply.of(451, "4.4.1", reason)
    return Reply.parse(int(found[1]), [found[2]])
