"""The file of outcomes that the store could not take: what was kept is there after a crash, what was cut is not."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, TlsUse, Try
from mta.mail.reply import Reply
from mta.storage.journal import SLOT, SLOTS, STALE, FileJournal
from tests.fakes.clock import FakeClock

OK = Reply.of(250, "2.0.0", "Ok: queued as 4F")
BUSY = Reply(450, None, "busy")
TLS = TlsUse("TLSv1.3", "TLS_AES_256_GCM_SHA384", "dane", verified=True)


def tried(reply: Reply) -> Try:
    return Try("mx.example.net", "192.0.2.1", 25, "dot", reply, True, TLS, timedelta(seconds=2))


def size(path: Path) -> int:
    return path.stat().st_size


def spoil(path: Path) -> None:
    path.write_bytes(os.urandom(3 * SLOT + 17))


def flip(path: Path, behind: int) -> None:
    """Flip a bit so many octets behind where the first entry begins."""
    octets = bytearray(path.read_bytes())
    octets[octets.index(b"MTAJ") + behind] ^= 0x01
    path.write_bytes(octets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker-1.journal"


@pytest.mark.parametrize(
    "outcome",
    [
        Delivered(OK, (tried(BUSY), tried(OK)), will_notify=True),
        Deferred(BUSY, (tried(BUSY),), in_doubt=True),
        Bounced(Reply.of(550, "5.1.1", "nö such user"), ()),
    ],
)
async def test_what_was_kept_is_found_after_a_crash_until_it_is_forgotten(path: Path, outcome: Outcome) -> None:
    async with FileJournal(path, FakeClock()) as journal:
        assert await journal.keep("d1", 3, outcome)
        assert journal.find("d1", 3) == outcome
    async with FileJournal(path, FakeClock()) as journal:
        assert journal.find("d1", 3) == outcome
        assert journal.find("d1", 4) is None
        assert journal.find("d2", 3) is None
        journal.forget("d1")
        journal.forget("never kept")
        assert journal.find("d1", 3) is None
    async with FileJournal(path, FakeClock()) as journal:
        assert journal.find("d1", 3) is None


async def test_the_file_has_its_size_from_the_start_and_is_its_owners(path: Path) -> None:
    async with FileJournal(path, FakeClock()):
        found = os.stat(path)
    assert found.st_size == SLOT * SLOTS
    # no hole that a full disk would leave empty
    assert found.st_blocks * 512 >= SLOT * SLOTS
    assert found.st_mode & 0o777 == 0o600


async def test_a_later_outcome_takes_the_place_of_an_earlier_one(path: Path) -> None:
    async with FileJournal(path, FakeClock()) as journal:
        await journal.keep("d1", 1, Deferred(BUSY))
        await journal.keep("d1", 2, Delivered(OK))
    async with FileJournal(path, FakeClock()) as journal:
        assert (journal.find("d1", 1), journal.find("d1", 2)) == (None, Delivered(OK))


@pytest.mark.parametrize("spoiled", [5, 20, 60])
async def test_an_entry_that_was_cut_or_flipped_counts_as_free(path: Path, spoiled: int) -> None:
    async with FileJournal(path, FakeClock()) as journal:
        await journal.keep("d1", 1, Delivered(OK))
        await journal.keep("d2", 1, Delivered(OK))
    flip(path, spoiled)
    async with FileJournal(path, FakeClock()) as journal:
        assert [journal.find(each, 1) for each in ("d1", "d2")].count(None) == 1
        assert await journal.keep("d3", 1, Delivered(OK))


async def test_it_never_grows_and_says_when_it_is_full(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with FileJournal(path, FakeClock()) as journal:
        for number in range(SLOTS):
            assert await journal.keep(f"d{number}", 1, Delivered(OK))
        assert not await journal.keep("one more", 1, Delivered(OK))
        assert "it is full" in caplog.text
        journal.forget("d7")
        assert await journal.keep("one more", 1, Delivered(OK))
        assert size(path) == SLOT * SLOTS
    async with FileJournal(path, FakeClock()) as journal:
        assert journal.find("one more", 1) == Delivered(OK)


async def test_of_a_long_story_the_end_is_kept(path: Path) -> None:
    long = Reply(554, None, "\u00fc" * 2000)
    outcome = Bounced(long, tuple(tried(long) for _ in range(20)))
    async with FileJournal(path, FakeClock()) as journal:
        assert await journal.keep("d1", 1, outcome)
    async with FileJournal(path, FakeClock()) as journal:
        found = journal.find("d1", 1)
    assert isinstance(found, Bounced)
    assert found.reply.code == 554
    assert [each.stage for each in found.tries] == ["dot"]
    # what decides is still the last host's own word
    assert found.tries[0].reply == found.reply


async def test_without_a_place_for_it_outcomes_are_in_memory_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FileJournal(tmp_path / "missing" / "worker-1.journal", FakeClock()) as journal:
        assert not await journal.keep("d1", 1, Delivered(OK))
        journal.forget("d1")
    assert "No such file or directory" in caplog.text


async def test_what_another_worker_left_is_known_and_stays_its_own(path: Path) -> None:
    async with FileJournal(path, FakeClock()) as journal:
        await journal.keep("d1", 1, Delivered(OK))
    async with FileJournal(path.with_name("worker-2.journal"), FakeClock()) as other:
        assert other.find("d1", 1) == Delivered(OK)
        other.forget("d1")
        assert other.find("d1", 1) is None
    async with FileJournal(path, FakeClock()) as journal:
        assert journal.find("d1", 1) == Delivered(OK)


async def test_what_another_worker_kept_since_is_known_once_it_is_read_anew(path: Path) -> None:
    async with (
        FileJournal(path, FakeClock()) as journal,
        FileJournal(path.with_name("worker-2.journal"), FakeClock()) as other,
    ):
        assert await other.keep("d1", 1, Delivered(OK))
        assert await journal.keep("d2", 1, Deferred(BUSY))
        assert journal.find("d1", 1) is None
        await journal.read_others()
        assert journal.find("d1", 1) == Delivered(OK)
        assert journal.find("d2", 1) == Deferred(BUSY)


async def test_what_was_never_forgotten_is_dropped_in_the_end(path: Path) -> None:
    clock = FakeClock()
    async with FileJournal(path, clock) as journal:
        await journal.keep("d1", 1, Delivered(OK))
    clock.advance(STALE + timedelta(hours=1))
    async with FileJournal(path, clock) as journal:
        assert journal.find("d1", 1) is None


async def test_garbage_in_the_file_stops_no_start(path: Path) -> None:
    spoil(path)
    async with FileJournal(path, FakeClock()) as journal:
        assert await journal.keep("d1", 1, Delivered(OK))
        assert size(path) == SLOT * SLOTS
