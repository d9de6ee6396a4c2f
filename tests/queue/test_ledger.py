"""A store that cannot write: nothing new begins, nothing that a host said is lost, and it goes on by itself."""

import asyncio
from datetime import timedelta

from mta.errors import StoreFull, StoreUnavailable
from mta.mail.outcome import Bounced, Deferred
from mta.mail.reply import Reply
from mta.queue.model import State
from mta.queue.pace import Pace
from tests.fakes.house import House
from tests.fakes.journal import MemoryJournal
from tests.fakes.world import said

SOON = Pace(per_site=4, first_places=4, trouble_pause=timedelta(milliseconds=5))
FULL = StoreFull("database or disk is full")
UNKNOWN = Reply.of(550, "5.1.1", "no such user")
GREYLISTED = Reply.of(450, "4.7.1", "greylisted")


async def test_while_results_cannot_be_kept_no_attempt_begins_and_then_it_goes_on_by_itself() -> None:
    journal = MemoryJournal()
    house = House(pace=SOON, journal=journal)
    house.transport.turns = asyncio.Semaphore(0)
    async with house.running():
        ids = await house.submit(*(f"u{number}@example.net" for number in range(30)))
        await house.until(lambda: len(house.transport.begun) == 4)
        house.store.read_only = FULL
        house.transport.turns.release()
        await house.until(lambda: house.store.refusals >= 3)
        # those that were under way end; places are free, and nobody takes one
        begun = len(house.transport.begun)
        for _ in range(begun):
            house.transport.turns.release()
        await house.until(lambda: journal.kept == begun)
        refusals = house.store.refusals
        await house.until(lambda: house.store.refusals > refusals + 8)
        assert len(house.transport.begun) == begun <= 5
        house.store.read_only = None
        for _ in range(30):
            house.transport.turns.release()
        await house.states(ids, *[State.DELIVERED] * 30)
        await house.until(lambda: journal.entries == {})
    assert len(house.transport.letters) == 30


async def test_what_can_be_read_proves_nothing() -> None:
    house = House(pace=SOON)
    house.transport.turns = asyncio.Semaphore(0)
    async with house.running():
        await house.submit("a@example.net")
        await house.until(lambda: len(house.transport.begun) == 1)
        house.store.read_only = FULL
        house.transport.turns.release()
        await house.until(lambda: house.store.refusals >= 2)
        claims = house.store.claims
        await house.submit("b@example.org")
        refusals = house.store.refusals
        await house.until(lambda: house.store.refusals > refusals + 5)
        assert (house.store.claims, len(house.transport.begun)) == (claims, 1)
        house.store.read_only = None
        house.transport.turns.release()
        await house.until(lambda: len(house.transport.letters) == 2)


async def test_an_outcome_that_the_journal_has_is_written_down_after_a_crash_and_the_host_not_asked_again() -> None:
    journal = MemoryJournal()
    first = House(pace=SOON, journal=journal)
    first.transport.answer("b@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    first.transport.answer("c@example.net", Deferred(GREYLISTED, said(GREYLISTED)))
    first.transport.gate = asyncio.Event()
    async with first.running():
        ids = await first.submit("a@example.net", "b@example.net", "c@example.net")
        await first.until(lambda: first.transport.waiting == 3)
        first.store.read_only = FULL
        first.transport.gate.set()
        await first.until(lambda: journal.kept == 3)
    # the process is gone, and with it its leases in time
    second = House(clock=first.clock, pace=SOON, journal=journal, memory=first.memory)
    second.clock.advance(timedelta(seconds=61))
    async with second.running():
        await second.states(ids, State.DELIVERED, State.BOUNCED, State.QUEUED)
        await second.until(lambda: journal.entries == {})
    assert [name for name in second.transport.begun if name != "app@example.com"] == []
    assert second.memory.rows[ids[2]].delivery.attempts == 1


async def test_what_the_journal_says_of_an_earlier_attempt_is_not_believed() -> None:
    journal = MemoryJournal()
    house = House(journal=journal)
    house.transport.answer("a@example.net", Deferred(GREYLISTED, said(GREYLISTED)))
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.notes.types == ["deferred"])
        journal.entries[ids[0]] = 1, Bounced(UNKNOWN, said(UNKNOWN))
        await house.pass_time(timedelta(minutes=6))
        await house.states(ids, State.DELIVERED)


async def test_a_notification_that_needs_its_message_waits_for_the_store_and_is_not_lost() -> None:
    journal = MemoryJournal()
    house = House(pace=SOON, journal=journal)
    house.transport.answer("a@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        house.store.failure = StoreUnavailable("it is locked")
        house.transport.gate.set()
        await house.until(lambda: journal.kept == 1)
        house.store.failure = None
        await house.states(ids, State.BOUNCED)
        await house.until(lambda: "app@example.com" in house.transport.begun)
    assert house.transport.begun.count("a@example.net") == 1


async def test_one_result_that_is_never_taken_does_not_stop_everything() -> None:
    house = House(pace=SOON)
    house.transport.gate = asyncio.Event()
    async with house.running():
        (house.store.bad,) = await house.submit("bad@example.net")
        ids = await house.submit("a@example.net", "b@example.org")
        await house.until(lambda: house.transport.waiting == 3)
        house.transport.gate.set()
        await house.states(ids, State.DELIVERED, State.DELIVERED)
        # also when it is alone: after a while it is the result that is believed to be wrong
        house.store.refusals = 0
        await house.until(lambda: house.store.refusals > 100)
        later = await house.submit("c@example.org")
        await house.states(later, State.DELIVERED)


async def test_a_result_is_written_at_once() -> None:
    house = House()
    house.transport.gate_after_dot = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        assert house.store.settling == []
        house.transport.gate_after_dot.set()
        for _ in range(20):
            # no timer in between: turns of the loop are enough
            await asyncio.sleep(0)
        assert house.store.settling == ids
        assert house.notes.types == ["delivered"]
