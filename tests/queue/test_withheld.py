"""When bounces that were withheld come to be believed, and by whose word."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from mta.errors import StoreUnavailable
from mta.events import Event, EventType
from mta.queue.breaker import RECENT, Breaker, Result
from mta.queue.withheld import Applied, Withheld
from tests.fakes.clock import FakeClock
from tests.fakes.world import Notes

SITE = "mx.example.net"


@dataclass
class FakeBook:
    """Bounces by site, each a time; and what operators said."""

    clock: FakeClock
    waiting: dict[str, list[datetime]] = field(default_factory=dict)
    said: dict[str, datetime] = field(default_factory=dict)
    failure: StoreUnavailable | None = None
    applied: list[str] = field(default_factory=list)

    async def withheld_since(self) -> Mapping[str, datetime]:
        return {site: max(times) for site, times in self.waiting.items() if times}

    async def believed(self) -> Mapping[str, datetime]:
        return dict(self.said)

    async def apply(self, site: str, until: datetime) -> Applied:
        if self.failure is not None:
            raise self.failure
        taken = [at for at in self.waiting.get(site, []) if at <= until][:1]
        for at in taken:
            self.waiting[site].remove(at)
            self.applied.append(site)
        event = Event("e", self.clock.now(), EventType.SUPPRESSION_ADDED)
        counted = frozenset({("app", "bulk")}) if taken else frozenset()
        return Applied(len(taken), (event,) * len(taken), counted)


@dataclass
class Town:
    """A worker's breaker, what follows it, and what it is told."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.book = FakeBook(self.clock)
        self.counted: list[tuple[str, str]] = []
        self.notes = Notes()
        self.restart()

    def restart(self) -> None:
        self.breaker = Breaker()
        self.withheld = Withheld(
            self.breaker,
            self.book,
            (self.notes,),
            lambda account, stream: self.counted.append((account, stream)),
            self.clock.now,
        )

    def bounces(self, count: int = 1) -> None:
        self.book.waiting.setdefault(SITE, []).extend([self.clock.now()] * count)

    def deliveries(self) -> None:
        for number in range(RECENT):
            self.breaker.note(Result(SITE, "app", f"u{number}@example.net", hard=False))


@pytest.fixture
async def town() -> Town:
    """A site whose bounces were withheld before a restart, two of them."""
    town = Town()
    town.bounces(2)
    await town.withheld.look()
    return town


async def test_what_was_open_before_a_restart_is_open_after_it_and_nothing_is_done(town: Town) -> None:
    assert town.breaker.is_open(SITE)
    await town.withheld.look()
    assert town.book.applied == []


async def test_when_the_ratio_is_usual_again_all_of_it_is_done_and_told(town: Town) -> None:
    town.deliveries()
    await town.withheld.look()
    assert town.book.applied == [SITE, SITE]
    assert town.counted == [("app", "bulk")] * 2
    assert town.notes.types == ["suppression_added"] * 2


async def test_when_the_operator_says_so_it_is_done_and_the_breaker_closes(town: Town) -> None:
    town.book.said[SITE] = town.clock.now()
    await town.withheld.look()
    assert town.book.applied == [SITE, SITE]
    assert not town.breaker.is_open(SITE)


async def test_what_was_decided_before_it_closed_and_written_after_it_is_done_too(town: Town) -> None:
    late = town.clock.now()
    town.clock.advance(1)
    town.deliveries()
    await town.withheld.look()
    town.book.waiting[SITE].append(late)
    await town.withheld.look()
    assert town.book.applied == [SITE] * 3


async def test_what_is_withheld_again_after_that_waits(town: Town) -> None:
    town.deliveries()
    await town.withheld.look()
    town.clock.advance(1)
    town.bounces()
    for _ in range(3):
        await town.withheld.look()
    assert town.book.applied == [SITE, SITE]


async def test_what_the_store_could_not_do_is_done_by_the_next_look(town: Town) -> None:
    town.deliveries()
    town.book.failure = StoreUnavailable("locked")
    with pytest.raises(StoreUnavailable):
        await town.withheld.look()
    town.book.failure = None
    await town.withheld.look()
    assert town.book.applied == [SITE, SITE]


@pytest.mark.parametrize(
    ("said_after", "applied", "opened"),
    [
        # he said so, and we ended before all of it was done
        (timedelta(seconds=1), 2, False),
        # he said so of others, long before these
        (timedelta(seconds=-1), 0, True),
    ],
)
async def test_after_a_restart_only_what_was_meant_is_done(said_after: timedelta, applied: int, opened: bool) -> None:
    town = Town()
    town.bounces(2)
    town.book.said[SITE] = town.clock.now() + said_after
    town.clock.advance(5)
    await town.withheld.look()
    assert (len(town.book.applied), town.breaker.is_open(SITE)) == (applied, opened)
