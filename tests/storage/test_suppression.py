"""The list as the door asks it: by heart while it is short, and never behind what this process wrote."""

from datetime import timedelta
from pathlib import Path

import pytest

from mta.events import Event
from mta.mail.address import Mailbox
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.reading import Reader
from mta.storage.sqlite import SqliteStore
from mta.storage.suppression import SuppressionList
from tests.fakes.clock import FakeClock
from tests.storage.disk import open_store

ADDRESS = Mailbox.parse("gone@example.net")


class Deaf:
    """An observer that hears of nothing."""

    def observe(self, event: Event) -> None:
        """Take no note."""


def entry(clock: FakeClock, address: Mailbox = ADDRESS) -> Suppression:
    return Suppression("app", address, Cause.MANUAL, Origin.OPERATOR, clock.now(), None, "wanted")


async def put(store: SqliteStore, clock: FakeClock, address: Mailbox = ADDRESS) -> None:
    assert await store.desk(Deaf()).add_suppression(entry(clock, address), "admin")


class Watched:
    """A reader that notes the single look-ups."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.asked: list[str] = []

    async def suppressed(self, limit: int) -> frozenset[tuple[str, str]]:
        return await self._reader.suppressed(limit)

    async def suppression(self, account: str, address: Mailbox) -> Suppression | None:
        self.asked.append(str(address))
        return await self._reader.suppression(account, address)


async def test_what_this_process_puts_on_the_list_is_found_at_once_and_what_it_takes_off_is_not(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_store(str(tmp_path / "queue.db"), clock) as store:
        assert await store.suppression_list.find("app", ADDRESS) is None
        await put(store, clock)
        assert await store.suppression_list.find("app", ADDRESS) == entry(clock)
        assert await store.suppression_list.find("other", ADDRESS) is None
        await store.desk(Deaf()).remove_suppression("app", ADDRESS, "admin", "asked")
        assert await store.suppression_list.find("app", ADDRESS) is None


async def test_what_another_process_puts_on_the_list_is_found_a_second_later(tmp_path: Path) -> None:
    clock, path = FakeClock(), str(tmp_path / "queue.db")
    async with open_store(path, clock) as store, open_store(path, clock) as other:
        assert await store.suppression_list.find("app", ADDRESS) is None
        written = entry(clock)
        await put(other, clock)
        clock.advance(timedelta(seconds=1))
        assert await store.suppression_list.find("app", ADDRESS) == written


@pytest.mark.parametrize(("length", "looked_up"), [(1, []), (2, ["other@example.net"])])
async def test_who_is_not_on_a_short_list_is_not_looked_up(tmp_path: Path, length: int, looked_up: list[str]) -> None:
    clock = FakeClock()
    async with open_store(str(tmp_path / "queue.db"), clock) as store:
        for number in range(length):
            await put(store, clock, Mailbox.parse(f"gone{number}@example.net"))
        watched = Watched(store.reader)
        door = SuppressionList(watched, clock, by_heart=1)  # type: ignore[arg-type]  # as much of a reader as it asks
        assert await door.find("app", Mailbox.parse("other@example.net")) is None
        assert watched.asked == looked_up
        assert await door.find("app", Mailbox.parse("gone0@example.net")) is not None
