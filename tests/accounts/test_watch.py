"""The watch over a store in memory: what moves standings, how often it looks, and what trouble and others do to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from mta.accounts.standing import Standing, State
from mta.accounts.watch import WHOLE, Policy, StandingWatch
from mta.errors import StoreUnavailable
from mta.events import Event, EventType
from mta.reputation.rates import Limit, Limits
from tests.fakes.book import WatchedBook
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.memory_store import Memory, MemoryStore
from tests.fakes.world import Notes

DELIVERED, BOUNCED, COMPLAINED = EventType.DELIVERED, EventType.BOUNCED, EventType.COMPLAINED
LIMITS = Limits(
    windows=(timedelta(days=1), timedelta(days=7)),
    bounces=Limit(warn=0.05, suspend=0.10),
    complaints=Limit(warn=0.001, suspend=0.002),
    min_volume=500,
    warn_min_volume=100,
)
REASON = "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%"


@dataclass
class Tower:
    """One worker's watch; two of one memory and one clock are two workers."""

    clock: FakeClock = field(default_factory=FakeClock)
    memory: Memory = field(default_factory=Memory)
    by_stream: bool = True

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock, memory=self.memory)
        self.book, self.notes = WatchedBook(self.store.book), Notes()
        self.ids = Letters(self.clock, worker=self.store.worker).ids
        policy = Policy(LIMITS, self.by_stream)
        self.watch = StandingWatch(self.book, policy, self.notes, self.clock.now, self.ids.next)

    def happen(
        self,
        kind: EventType,
        count: int = 1,
        *,
        stream: str = "transactional",
        hardness: str | None = None,
        **detail: str | bool,
    ) -> None:
        """Write events as the store does, and tell the watch of them."""
        for _ in range(count):
            event = Event(self.ids.next(), self.clock.now(), kind, "app", stream, hardness=hardness, detail=detail)
            self.store.write_events([event])
            self.watch.observe(event)

    def ruin(self, stream: str = "transactional") -> None:
        """Let every tenth delivery of a thousand bounce hard."""
        self.happen(DELIVERED, 900, stream=stream)
        self.happen(BOUNCED, 100, stream=stream, hardness="hard")

    async def look(self) -> None:
        """What the watch does after events have gathered, and now and then without any."""
        await self.watch.look()
        await self.watch.judge_dirty()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Let it do so by itself."""
        task = asyncio.create_task(self.watch.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def state(self, stream: str = "transactional") -> State:
        """How a stream stands, as this worker knows it."""
        return self.watch.standing("app", stream).state


@pytest.fixture
def tower() -> Tower:
    return Tower()


async def until(condition: object) -> None:
    """Let the loop run until a condition, a function without arguments, is true."""
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  what is waited for is in another object, and has no event
            await asyncio.sleep(0.001)


# what moves a standing


async def test_900_deliveries_and_100_hard_bounces_suspend_with_ratio_and_limit(tower: Tower) -> None:
    tower.ruin()
    await tower.look()
    standing = tower.watch.suspended("app", "transactional")
    assert standing == Standing("app", "transactional", State.SUSPENDED, REASON, tower.clock.now())
    assert tower.memory.standings["app", "transactional"] == standing
    (event,) = tower.notes.events
    assert (event.type, event.account, event.stream) == (EventType.SUSPENDED, "app", "transactional")
    assert event.detail == {
        "reason": REASON,
        "who": "mta",
        "measure": "bounce_rate",
        "window_hours": 24.0,
        "part": 100,
        "whole": 1000,
        "ratio": 0.1,
        "limit": 0.1,
    }
    assert tower.store.events[-1] == event


async def test_one_bounce_less_is_a_warning_which_is_told_once(tower: Tower) -> None:
    tower.happen(DELIVERED, 901)
    tower.happen(BOUNCED, 99, hardness="hard")
    await tower.look()
    tower.happen(DELIVERED)
    await tower.look()
    assert tower.notes.types == ["warned"]
    assert tower.notes.events[0].detail["limit"] == 0.05
    assert tower.watch.suspended("app", "transactional") is None


@pytest.mark.parametrize(("complaints", "state"), [(2, State.WARNED), (3, State.SUSPENDED)])
async def test_complaints_suspend_above_two_in_a_thousand(tower: Tower, complaints: int, state: State) -> None:
    tower.happen(DELIVERED, 1000)
    tower.happen(COMPLAINED, complaints)
    await tower.look()
    assert tower.state() is state


async def test_late_bounces_count_like_those_at_once(tower: Tower) -> None:
    tower.happen(DELIVERED, 1000)
    tower.happen(BOUNCED, 100, hardness="hard", late="report")
    await tower.look()
    assert tower.watch.standing("app", "transactional").reason == REASON


async def test_soft_bounces_and_our_own_notifications_are_held_against_nobody(tower: Tower) -> None:
    tower.happen(DELIVERED, 500)
    tower.happen(BOUNCED, 500, hardness="soft")
    tower.happen(BOUNCED, 500, hardness="hard", notification=True)
    await tower.look()
    assert tower.state() is State.GOOD
    assert tower.notes.events == []


async def test_a_warning_that_lapses_gives_no_event(tower: Tower) -> None:
    tower.happen(DELIVERED, 900)
    tower.happen(BOUNCED, 60, hardness="hard")
    await tower.look()
    tower.happen(DELIVERED, 1000)
    await tower.look()
    assert tower.memory.standings["app", "transactional"].state is State.GOOD
    assert tower.notes.types == ["warned"]
    tower.happen(BOUNCED, 60, hardness="hard")
    await tower.look()
    assert tower.notes.types == ["warned", "warned"]


async def test_a_suspension_stays_however_good_the_ratios_become(tower: Tower) -> None:
    tower.ruin()
    await tower.look()
    tower.happen(DELIVERED, 10_000)
    await tower.look()
    assert tower.state() is State.SUSPENDED
    assert tower.notes.types == ["suspended"]


async def test_what_left_every_window_is_forgotten(tower: Tower) -> None:
    tower.happen(BOUNCED, 500, hardness="hard")
    tower.clock.advance(timedelta(days=7))
    tower.happen(DELIVERED, 500)
    await tower.look()
    assert tower.state() is State.GOOD


# streams and accounts


async def test_a_bad_stream_is_suspended_before_the_whole_account(tower: Tower) -> None:
    tower.ruin("bulk")
    tower.happen(DELIVERED, 100)
    await tower.look()
    assert (tower.state("bulk"), tower.state(), tower.state(WHOLE)) == (State.SUSPENDED, State.GOOD, State.GOOD)
    assert tower.watch.suspended("app", "transactional") is None
    assert tower.watch.suspended("other", "bulk") is None


async def test_with_the_account_as_scope_its_streams_are_counted_together_and_suspended_together() -> None:
    tower = Tower(by_stream=False)
    tower.happen(DELIVERED, 450, stream="bulk")
    tower.happen(BOUNCED, 100, stream="bulk", hardness="hard")
    tower.happen(DELIVERED, 450)
    await tower.look()
    assert tower.memory.standings["app", WHOLE].reason == REASON
    assert tower.watch.suspended("app", "bulk") == tower.watch.suspended("app", "transactional") is not None
    assert [event.stream for event in tower.notes.events] == [None]


async def test_other_rules_hold_from_the_next_event_on(tower: Tower) -> None:
    tower.ruin()
    tower.watch.replace(Policy(Limits(LIMITS.windows, Limit(0.2, 0.3), LIMITS.complaints, 500, 100)))
    await tower.look()
    assert tower.state() is State.GOOD
    tower.watch.replace(Policy(LIMITS))
    await tower.look()
    assert tower.state() is State.GOOD
    tower.happen(DELIVERED)
    tower.happen(BOUNCED, hardness="hard")
    await tower.look()
    assert tower.state() is State.SUSPENDED


async def test_the_evidence_of_a_standing_can_be_shown(tower: Tower) -> None:
    tower.ruin()
    worst = (await tower.watch.evidence(tower.watch.standing("app", "transactional")))[0]
    assert (worst.part, worst.whole) == (100, 1000)


# how often it looks


async def test_a_burst_of_events_is_one_look(tower: Tower) -> None:
    async with tower.running():
        await asyncio.sleep(0)
        tower.happen(DELIVERED, 900)
        await asyncio.sleep(0.01)
        tower.happen(BOUNCED, 100, hardness="hard")
        await until(lambda: tower.notes.types == ["suspended"])
    assert len(tower.book.judged) == 1


@pytest.mark.parametrize("kind", [EventType.ACCEPTED, EventType.DEFERRED, EventType.SUPPRESSED, EventType.HELD])
async def test_what_moves_no_ratio_causes_no_look(tower: Tower, kind: EventType) -> None:
    tower.happen(kind)
    await tower.look()
    assert tower.book.judged == []


async def test_events_without_an_account_or_a_stream_are_nobodys(tower: Tower) -> None:
    tower.watch.observe(Event("e", tower.clock.now(), DELIVERED))
    tower.watch.observe(Event("e", tower.clock.now(), DELIVERED, "app"))
    await tower.look()
    assert tower.book.judged == []


async def test_what_happens_while_the_counts_are_read_is_looked_at_again(tower: Tower) -> None:
    tower.happen(DELIVERED, 900)
    tower.book.reading = asyncio.Event()
    looking = asyncio.create_task(tower.watch.judge_dirty())
    await until(lambda: tower.book.waiting == 1)
    tower.happen(BOUNCED, 100, hardness="hard")
    tower.book.reading.set()
    await looking
    assert tower.state() is State.GOOD
    await tower.watch.judge_dirty()
    assert tower.state() is State.SUSPENDED


# trouble


async def test_what_could_not_be_judged_for_trouble_of_the_store_is_judged_later(tower: Tower) -> None:
    tower.ruin()
    tower.ruin("bulk")
    tower.store.failure = StoreUnavailable("disk on fire")
    with pytest.raises(StoreUnavailable):
        await tower.watch.judge_dirty()
    tower.store.failure = None
    await tower.look()
    assert (tower.state(), tower.state("bulk")) == (State.SUSPENDED, State.SUSPENDED)


async def test_a_move_that_could_not_be_written_is_neither_told_nor_forgotten(tower: Tower) -> None:
    tower.ruin()
    tower.book.refuses_writes = True
    with pytest.raises(StoreUnavailable):
        await tower.look()
    assert tower.state() is State.GOOD
    assert tower.notes.events == []
    tower.book.refuses_writes = False
    await tower.look()
    assert tower.notes.types == ["suspended"]


async def test_the_watch_outlives_trouble_of_the_store(tower: Tower, caplog: pytest.LogCaptureFixture) -> None:
    tower.store.failure = StoreUnavailable("disk on fire")
    async with tower.running() as task:
        tower.watch.observe(Event("e", tower.clock.now(), DELIVERED, "app", "bulk"))
        await until(lambda: "the ratios cannot be judged now: disk on fire" in caplog.text)
        await asyncio.sleep(0)
        assert not task.done()


# an operator's word, and other workers


async def test_an_operator_suspends_and_reinstates_and_is_named(tower: Tower) -> None:
    suspended = await tower.watch.suspend("app", WHOLE, "alice", "stolen password")
    assert tower.watch.suspended("app", "bulk") == suspended
    assert (suspended.reason, suspended.by) == ("stolen password", "alice")
    await tower.watch.reinstate("app", WHOLE, "bob", "password changed")
    assert tower.watch.suspended("app", "bulk") is None
    assert [(event.type, event.stream, event.detail) for event in tower.notes.events] == [
        (EventType.SUSPENDED, None, {"reason": "stolen password", "who": "alice"}),
        (EventType.REINSTATED, None, {"reason": "password changed", "who": "bob"}),
    ]


@pytest.mark.parametrize("scope", ["transactional", WHOLE])
async def test_after_a_reinstatement_counting_begins_anew(scope: str) -> None:
    tower = Tower(by_stream=scope != WHOLE)
    tower.ruin()
    await tower.look()
    await tower.watch.reinstate("app", scope, "alice", "the list is cleaned")
    tower.happen(BOUNCED, 10, hardness="hard")
    tower.happen(DELIVERED, 300)
    await tower.look()
    assert tower.state(scope) is State.GOOD
    tower.ruin()
    await tower.look()
    assert tower.state(scope) is State.WARNED
    tower.happen(BOUNCED, 100, hardness="hard")
    await tower.look()
    assert tower.state(scope) is State.SUSPENDED


async def test_a_stream_does_not_answer_for_what_came_before_the_accounts_reinstatement(tower: Tower) -> None:
    tower.happen(DELIVERED, 900)
    tower.happen(BOUNCED, 99, hardness="hard")
    await tower.watch.suspend("app", WHOLE, "alice", "let me see")
    await tower.watch.reinstate("app", WHOLE, "alice", "explained")
    tower.happen(BOUNCED, hardness="hard")
    await tower.look()
    assert tower.state() is State.GOOD


async def test_another_workers_suspension_is_seen_at_the_next_look(tower: Tower) -> None:
    other = Tower(tower.clock, tower.memory)
    tower.ruin()
    await tower.look()
    assert other.watch.suspended("app", "transactional") is None
    await other.look()
    assert other.watch.suspended("app", "transactional") == tower.watch.suspended("app", "transactional")
    assert other.notes.events == []


async def test_two_workers_that_see_the_same_ratios_suspend_once(tower: Tower) -> None:
    other = Tower(tower.clock, tower.memory)
    tower.ruin()
    other.happen(DELIVERED)
    other.happen(BOUNCED, hardness="hard")
    await other.watch.judge_dirty()
    with pytest.raises(StoreUnavailable):
        await tower.watch.judge_dirty()
    await tower.look()
    assert (tower.notes.types, other.notes.types) == ([], ["suspended"])
    assert tower.state() is State.SUSPENDED


async def test_an_operators_word_rests_on_what_is_written_not_on_the_last_look(tower: Tower) -> None:
    other = Tower(tower.clock, tower.memory)
    for _ in range(2):
        await other.watch.reinstate("app", "bulk", "alice", "again")
    suspended = await tower.watch.suspend("app", "bulk", "bob", "enough")
    assert suspended.epoch == 2
    assert (await other.watch.reinstate("app", "bulk", "alice", "no")).epoch == 3


async def test_an_operators_suspension_during_a_look_is_not_lost(tower: Tower) -> None:
    tower.happen(DELIVERED, 900)
    tower.happen(BOUNCED, 60, hardness="hard")
    tower.book.reading = asyncio.Event()
    looking = asyncio.create_task(tower.look())
    await until(lambda: tower.book.waiting == 1)
    suspending = asyncio.create_task(tower.watch.suspend("app", "transactional", "alice", "stolen password"))
    await asyncio.sleep(0)
    tower.book.reading.set()
    await asyncio.gather(looking, suspending)
    assert tower.state() is State.SUSPENDED
    assert tower.memory.standings["app", "transactional"].by == "alice"


async def test_an_unknown_account_stands_well(tower: Tower) -> None:
    assert tower.watch.standing("nobody", "bulk") == Standing("nobody", "bulk")
    assert tower.watch.suspended("nobody", "bulk") is None
