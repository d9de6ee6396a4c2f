"""One attempt, from a leased delivery to the decision about it: route → place → sign → transport → judge.

Each step may end it: an address that is suppressed, an account that is suspended, a site without a place. Claiming is
the dispatcher's business, writing the ledger's.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from mta.accounts.standing import Standing
from mta.clock import Clock
from mta.errors import Damaged, StoreUnavailable
from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.queue.ages import Ages
from mta.queue.breaker import Breaker, Result
from mta.queue.hints import LONGEST, hinted
from mta.queue.leases import Underway
from mta.queue.ledger import Ledger
from mta.queue.model import Claimed, Content, Message, State
from mta.queue.records import Records
from mta.queue.room import Room
from mta.queue.schedule import Schedule
from mta.queue.seams import Hold, Letter, Router, Sealer, Site, Transport, Unsigned
from mta.queue.settle import Settlement, expired, held, settle, suppressed
from mta.queue.sites import has_answered
from mta.queue.store import Store
from mta.queue.traffic import Blocked, Change, Traffic
from mta.queue.verdict import Verdicts

SUSPENDED = "suspended"
"""How the hold reason of a suspended account's mail begins: a reinstatement releases what was held for it."""

StillOurs = Callable[[], Awaitable[bool]]

_log = logging.getLogger("mta.queue")


@dataclass(frozen=True, slots=True)
class World:
    """What lies outside the queue."""

    router: Router
    sealer: Sealer
    transport: Transport
    stamp: Callable[[Claimed], bytes]
    """Makes the report field of a delivery, which goes on top of its signatures; empty for notifications."""
    suspended: Callable[[str, str], Standing | None]
    """The standing by which a stream of an account may not send; None when it may."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What decides, beside the schedule: rules without I/O."""

    records: Records
    verdicts: Verdicts
    breaker: Breaker
    dice: random.Random


class Made(Struct, frozen=True):
    """What became of a leased delivery."""

    settlement: Settlement
    outcome: Outcome | None = None
    """What a host, or DNS, said; None: nobody was asked."""
    change: Change | None = None
    """What it changed at its site."""


AllOurs = Callable[[Sequence[Underway]], Awaitable[bool]]
Tell = Callable[[Underway, Made], None]


class _Thrown(random.Random):
    """Dice that lie on the table: they show the same whoever looks."""

    def __init__(self, shown: float) -> None:
        super().__init__(0)
        self._shown = shown

    def random(self) -> float:
        return self._shown


class _Party:
    """Those of a batch who go together, until what became of them is told."""

    def __init__(self, left: list[Underway], made: Tell) -> None:
        self.left = left
        self.change: Change | None = None
        """Told with the first of them."""
        self._made = made

    def tell(self, one: Underway, made: Made) -> None:
        """Tell of one."""
        self.left.remove(one)
        change, self.change = self.change, None
        self._made(one, replace(made, change=change))

    def tell_all(self, made: Callable[[Underway], Made]) -> None:
        """Tell of all who are left."""
        for one in tuple(self.left):
            self.tell(one, made(one))


class Attempts:
    """Makes attempts. One for each worker."""

    def __init__(
        self,
        store: Store,
        world: World,
        judge: Judge,
        schedule: Schedule,
        traffic: Traffic,
        ledger: Ledger,
        clock: Clock,
        room: Room,
    ) -> None:
        self._store = store
        self._world = world
        self._judge = judge
        self._schedule = schedule
        self._traffic = traffic
        self._ledger = ledger
        self._clock = clock
        self._room = room
        self._ages = Ages(store.now(), clock.monotonic())

    def reschedule(self, schedule: Schedule) -> None:
        """Use another schedule from the next failure on."""
        self._schedule = schedule

    @property
    def schedule(self) -> Schedule:
        """The schedule in force."""
        return self._schedule

    def now(self) -> datetime:
        """Return the time by which ages are judged: the store's, unless its clock has just leapt ahead."""
        was_in_doubt = self._ages.in_doubt
        wall = self._store.now()
        now = self._ages.at(wall, self._clock.monotonic())
        if self._ages.in_doubt and not was_in_doubt:
            _log.error(
                "the clock has leapt ahead by %s: nothing expires by it for an hour; check the time of this machine",
                wall - now,
            )
        return now

    async def make(self, one: Underway, still_ours: StillOurs) -> Made:
        """Make one attempt and decide what it means. The border where the unexpected becomes a deferral.

        Raises:
            Blocked: no attempt may begin at its site; nothing was decided.
            StoreUnavailable: its octets cannot be read now; nothing was decided.
        """
        claimed = one.claimed
        if (early := self._early(claimed)) is not None:
            return early
        began = self._clock.monotonic()
        site: Site | None = None
        try:
            way = await self._way(claimed)
            change = self._traffic.looked_up(
                claimed.delivery.domain, way if isinstance(way, Deferred) else None, began, self._store.now()
            )
            match way:
                case Site() as site:
                    one.site = site.name
                    # first of all, so that nobody who waits for room keeps a place from small messages
                    async with (
                        self._room.for_message(claimed.message.size),
                        self._traffic.place(site.name, one.lane, claimed.delivery.domain),
                    ):
                        # its result could not be kept before
                        await self._ledger.until_usable()
                        began = self._clock.monotonic()
                        outcome = await self._speak(claimed, site, still_ours)
                        change = self._traffic.after(site.name, outcome, began, self._store.now()) or change
                case Hold(reason):
                    return Made(held(claimed, reason), change=change)
                case Bounced() | Deferred() as outcome:
                    pass
        except Unsigned as why:
            return Made(held(claimed, str(why)))
        except Damaged as why:
            _log.error("%s: %s", claimed.message.id, why)
            return Made(held(claimed, str(why)))
        except (StoreUnavailable, Blocked):
            raise
        except Exception:
            _log.exception("the attempt of %s to %s failed", claimed.message.id, claimed.delivery.recipient.mailbox)
            outcome, change = Deferred(failures.INTERNAL_DEFERRAL), None
        duration = timedelta(seconds=self._clock.monotonic() - began)
        return Made(self._decide(claimed, outcome, site, duration), outcome, change)

    async def make_batch(self, batch: Sequence[Underway], still_ours: AllOurs, made: Tell) -> None:
        """Make one attempt for deliveries that share a return path, of whom the first chooses the way. `made` hears
        what became of each as soon as it is known; who is not told of did not fit in, and was not attempted.

        Raises:
            Blocked: no attempt may begin at the site.
            StoreUnavailable: the octets cannot be read now.
        """
        waiting: list[Underway] = []
        for one in batch:
            if (early := self._early(one.claimed)) is not None:
                made(one, early)
            else:
                waiting.append(one)
        if waiting:
            await self._attempt_batch(waiting, still_ours, made)

    async def _attempt_batch(self, waiting: list[Underway], still_ours: AllOurs, made: Tell) -> None:
        first = waiting[0]
        domain = first.claimed.delivery.domain
        party = _Party([one for one in waiting if one.claimed.delivery.domain == domain], made)
        began = self._clock.monotonic()
        try:
            way = await self._way(first.claimed)
            trouble = way if isinstance(way, Deferred) else None
            party.change = self._traffic.looked_up(domain, trouble, began, self._store.now())
            match way:
                case Site() as site:
                    party.left = await self._who_fits(waiting, site)
                    async with (
                        self._room.for_message(first.claimed.message.size),
                        self._traffic.place(site.name, first.lane, domain),
                    ):
                        await self._speak_batch(party, site, still_ours)
                case Hold(reason):
                    party.tell_all(lambda one: Made(held(one.claimed, reason)))
                case Bounced() | Deferred() as outcome:
                    party.tell_all(lambda one: Made(self._decide(one.claimed, outcome, None), outcome))
        except (Unsigned, Damaged) as why:
            if isinstance(why, Damaged):
                _log.error("%s: %s", first.claimed.message.id, why)
            reason = str(why)
            party.tell_all(lambda one: Made(held(one.claimed, reason)))
        except (StoreUnavailable, Blocked):
            raise
        except Exception:
            _log.exception("the attempt of %s to recipients at %s failed", first.claimed.message.id, domain)
            internal = Deferred(failures.INTERNAL_DEFERRAL)
            party.tell_all(lambda one: Made(self._decide(one.claimed, internal, None), internal))

    async def _who_fits(self, waiting: Sequence[Underway], site: Site) -> list[Underway]:
        """Return who may share a connection with the first: its domain, and others that the operator routes to the same
        relay. Only there what a host must prove does not depend on the domain."""
        ways: dict[str, bool] = {waiting[0].claimed.delivery.domain: True}
        is_relay = all(host.trusted for host in site.hosts)
        for one in waiting:
            domain = one.claimed.delivery.domain
            if domain not in ways:
                ways[domain] = is_relay and await self._world.router.route(domain, one.claimed.message.account) == site
        return [one for one in waiting if ways[one.claimed.delivery.domain]]

    async def _speak_batch(self, party: "_Party", site: Site, still_ours: AllOurs) -> None:
        """Make transactions until all are answered for: a host may want no more than so many in one."""
        message = party.left[0].claimed.message
        content = await self._content(party.left[0].claimed)
        signature = await self._world.sealer.seal(message, content.header)
        # the same for all, so that what is deferred together is due together again
        dice = _Thrown(self._judge.dice.random())
        while party.left:
            # its result could not be kept before
            await self._ledger.until_usable()
            now = tuple(party.left)
            for one in now:
                one.site = site.name
            letter = self._letter_of(now, signature, content)
            began = self._clock.monotonic()
            outcomes = await self._world.transport.deliver_batch(letter, site, partial(still_ours, now))
            heard = [outcome for outcome in outcomes if outcome is not None]
            if not heard:
                raise RuntimeError(f"a batch of {len(now)} had no answer")
            telling = next((each for each in heard if isinstance(each, Delivered) or has_answered(each)), heard[0])
            party.change = self._traffic.after(site.name, telling, began, self._store.now()) or party.change
            duration = timedelta(seconds=self._clock.monotonic() - began)
            for one, outcome in zip(now, outcomes, strict=True):
                if outcome is None:
                    one.past_dot = False
                    continue
                party.tell(one, Made(self._decide(one.claimed, outcome, site, duration, dice), outcome))

    def _letter_of(self, several: Sequence[Underway], signature: bytes, content: Content) -> Letter:
        first, *others = (one.claimed for one in several)
        # a report field names one delivery, and the others have no business in it
        fields = signature if others else self._world.stamp(first) + signature
        delivery = first.delivery
        return Letter(
            first.message,
            delivery.return_path,
            delivery.recipient,
            fields,
            content,
            tuple(one.delivery.recipient for one in others),
        )

    def _early(self, claimed: Claimed) -> Made | None:
        """Return what is decided without asking a host."""
        if (outcome := self._ledger.kept(claimed.delivery)) is not None:
            # a host has spoken already: asked again, it might deliver twice
            return Made(self._decide(claimed, outcome, None), outcome)
        early = self._without_attempt(claimed)
        return Made(early) if early is not None else None

    def _without_attempt(self, claimed: Claimed) -> Settlement | None:
        """Return what is decided before anybody is asked."""
        now = self.now()
        if self._schedule.expires_at(claimed.message, claimed.delivery) <= now and not self._is_misdated(claimed, now):
            return expired(claimed, self._traffic.said(claimed.delivery.domain, claimed.delivery.site))
        if claimed.suppressed is not None:
            return suppressed(claimed, claimed.suppressed)
        if (standing := self._standing_against(claimed.message)) is not None:
            return held(claimed, f"{SUSPENDED}: {standing.reason}")
        return None

    def _is_misdated(self, claimed: Claimed, now: datetime) -> bool:
        """Whether a delivery was due so late that only a clock that was wrong can have said so: it missed attempts by
        that, and gets a last one."""
        return claimed.delivery.due_at - now > 2 * max(*self._schedule.intervals, LONGEST)

    def _standing_against(self, message: Message) -> Standing | None:
        """Return the suspension that holds a message; what we have to tell about earlier mail is not held."""
        if self._judge.records.is_notification(message):
            return None
        return self._world.suspended(message.account, message.stream)

    async def _way(self, claimed: Claimed) -> Site | Hold | Bounced | Deferred:
        domain = claimed.delivery.domain
        with self._traffic.lookup(domain):
            return await self._world.router.route(domain, claimed.message.account)

    async def _speak(self, claimed: Claimed, site: Site, still_ours: StillOurs) -> Outcome:
        content = await self._content(claimed)
        signature = await self._world.sealer.seal(claimed.message, content.header)
        fields = self._world.stamp(claimed) + signature
        letter = Letter(claimed.message, claimed.delivery.return_path, claimed.delivery.recipient, fields, content)
        return await self._world.transport.deliver(letter, site, still_ours)

    async def _content(self, claimed: Claimed) -> Content:
        return claimed.content or await self._store.content(claimed.message.id)

    def _decide(
        self,
        claimed: Claimed,
        outcome: Outcome,
        site: Site | None,
        duration: timedelta = timedelta(0),
        dice: random.Random | None = None,
    ) -> Settlement:
        """Decide what an outcome means for its delivery, and for whom else."""
        now = self.now()
        outcome, classification = self._judge.verdicts.of(outcome)
        counted, hint = claimed, None
        if isinstance(outcome, Deferred):
            # the schedule counts the attempt that was just made
            counted = replace(claimed, delivery=replace(claimed.delivery, attempts=claimed.delivery.attempts + 1))
            hint = hinted(outcome, classification)
        decided = replace(
            settle(counted, outcome, self._schedule, now, dice or self._judge.dice, hint),
            claimed=claimed,
            classification=classification,
            site=site.name if site else None,
            duration=duration,
        )
        if self._judge.records.is_notification(claimed.message):
            return decided
        return self._withheld(self._judge.verdicts.judged(decided, now))

    def _withheld(self, decided: Settlement) -> Settlement:
        """Keep a hard bounce from the lists while the breaker of its site is open."""
        is_hard = decided.suppression is not None and not decided.suspicion
        if decided.site is None or not (is_hard or decided.state is State.DELIVERED):
            return decided
        breaker, claimed = self._judge.breaker, decided.claimed
        recipient = str(claimed.delivery.recipient.mailbox)
        opened = breaker.note(Result(decided.site, claimed.message.account, recipient, is_hard))
        if opened is not None:
            _log.error(
                "%s bounces %d of %d: its bounces suppress nobody and count against nobody until they are usual again",
                opened.site,
                opened.hard,
                opened.results,
            )
        if not is_hard or not breaker.is_open(decided.site):
            return decided
        return replace(decided, withheld=True, opened=opened)
