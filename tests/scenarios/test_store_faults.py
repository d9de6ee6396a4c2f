"""What goes wrong with the store and its disk: nothing that was acknowledged is lost, what a host has said is never
asked again, no attempt begins whose result could not be kept, and all of it mends by itself."""

import asyncio
import os
import signal
import smtplib
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from mta.control.client import Client
from tests.scenarios.crowd import Crowd, arrivals
from tests.scenarios.failing_disk import failing_disk
from tests.scenarios.house import NO_LOGIN, PATIENCE, House, message, open_house
from tests.scenarios.programs import need_root
from tests.scenarios.sinks import Patience, Sink, Step
from tests.scenarios.web import get

MEGABYTE = 1_000_000
NO_SPACE = (452, "4.3.1")
NOT_NOW = (451, "4.3.0")
IN_FLIGHT = 5
"""Attempts that a new site gets at once."""
UNWRITTEN = "waits to be written down"


async def refusal(house: House, content: bytes | None = None) -> tuple[int, str]:
    """Submit, and return what the server says against it."""
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        await house.submit("a@example.net", content=content)
    return _said(caught.value)


def _said(refused: smtplib.SMTPResponseException) -> tuple[int, str]:
    """Return code and enhanced code."""
    text = refused.smtp_error
    return refused.smtp_code, (text.decode() if isinstance(text, bytes) else text).split()[0]


class Scene:
    """A host that has taken messages and not answered yet, and one mail that is due again before it does."""

    def __init__(self, house: House, sink: Sink, patience: Patience) -> None:
        self.house, self.sink, self.patience = house, sink, patience
        self.due = ""

    async def prepare(self) -> None:
        """Bring the messages to where their hosts have them, and have not said so."""
        self.house.sink.answer("RCPT", None, "450 4.7.1 later", times=1)
        self.due = await self.house.submit("due@example.net")
        await self.house.submit(*(f"r{number}@slow.example" for number in range(IN_FLIGHT)))
        await self.house.see("hosts have it", lambda: self.patience.waiting == IN_FLIGHT)

    async def answer(self, at_least: int = IN_FLIGHT) -> None:
        """Let the host answer while the store cannot write; return when the server has found that out."""
        self.patience.over.set()
        await self.house.see("results wait", lambda: self.house.logged(UNWRITTEN) >= at_least)

    async def nothing_begins(self) -> None:
        """Show that no attempt begins though one is due."""
        before = self.house.sink.connections
        await self.house.see("it is due since two seconds", self._is_overdue)
        assert self.house.sink.connections == before

    def _is_overdue(self) -> bool:
        # what is committed may be read while nothing can be written
        ((due_at,),) = self.house.rows("SELECT due_at FROM deliveries WHERE queue_id = ?", self.due)
        return int(due_at) < (time.time() - 2) * 1000

    async def end(self) -> None:
        """Everything arrives, and nothing twice."""
        await self.house.see("the queue is empty", lambda: not self.house.open_deliveries())
        assert self.sink.taken == {f"r{number}@slow.example": 1 for number in range(IN_FLIGHT)}
        assert len(self.house.sink.messages) == 1


async def _scene(
    stack: AsyncExitStack, folder: Path, prefix: tuple[str, ...] = (), min_free: str = "0.1%", workers: int = 1
) -> Scene:
    patience = Patience(Step.DOT)
    sink = await stack.enter_async_context(Sink(patience).listening())
    route = f'[[route]]\ndomain = "slow.example"\nrelay = "{sink.relay}"\n'
    house = await stack.enter_async_context(
        open_house(folder, prefix=prefix, more=route, min_free=min_free, retry='["500ms"]', workers=workers)
    )
    return Scene(house, sink, patience)


# another program


@contextmanager
def locked(house: House) -> Iterator[None]:
    """Hold the write lock of the store, as a careless program does."""
    with closing(sqlite3.connect(house.folder / "data" / "queue.db", isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        yield
        outside.execute("ROLLBACK")


@pytest.mark.slow
async def test_a_locked_store_means_451_until_the_lock_is_gone(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = await _scene(stack, tmp_path / "house")
        await scene.prepare()
        with locked(scene.house):
            # each waits for the lock as long as it may
            refused, ready, _ = await asyncio.gather(refusal(scene.house), get(scene.house, "/readyz"), scene.answer())
            assert (refused, ready.status) == (NOT_NOW, 503)
            await scene.nothing_begins()
        await scene.end()
        assert (await get(scene.house, "/readyz")).status == 200
        await scene.house.submit("a@example.net")
        await scene.house.sink.wait_for(2, PATIENCE)


# no space


async def test_a_disk_below_min_free_means_452(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", min_free="100%") as house:
        assert await refusal(house) == NO_SPACE
        assert house.sink.messages == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    need_root("a disk of its own has to be mounted")
    place = tmp_path / "house" / "data"
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for some octets; return the file that does it."""
    ballast = disk / "ballast"
    there = os.statvfs(disk)
    ballast.write_bytes(bytes(there.f_bavail * there.f_frsize - leave))
    return ballast


@pytest.mark.slow
async def test_a_full_disk_means_452_and_loses_nothing(disk: Path) -> None:
    large = message(("a@example.net",), body=("x" * 70 + "\n") * (MEGABYTE // 71))
    async with open_house(disk.parent) as house:
        house.sink.answer("RCPT", None, "450 4.7.1 later")
        accepted = [await house.submit("a@example.net")]
        ballast = fill(disk, leave=300_000)
        assert await refusal(house, large) == NO_SPACE  # there was room when it began to be written
        ballast.unlink()
        ballast = fill(disk, leave=0)
        accepted += await _submit_until_refused(house)
        ballast.unlink()
        house.sink.answer("RCPT", None, "250 2.1.5 Ok")
        accepted.append(await _submit_when_possible(house, large))
        await house.see("the queue is empty", lambda: not house.open_deliveries())
        assert len(house.sink.messages) == len(accepted)


@pytest.mark.slow
async def test_what_hosts_say_while_the_disk_is_full_is_not_asked_again(disk: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = await _scene(stack, disk.parent, min_free="0%")
        await scene.prepare()
        ballast = fill(disk, leave=0)
        # the log has room in its file for some pages yet
        accepted = await _submit_until_refused(scene.house)
        await scene.answer(at_least=1)
        ballast.unlink()
        await scene.house.see("the queue is empty", lambda: not scene.house.open_deliveries())
        assert set(scene.sink.taken.values()) == {1}
        assert len(scene.house.sink.messages) == 1 + len(accepted)


async def _submit_until_refused(house: House) -> list[str]:
    """Submit small messages, for which there may be room in files that are there already; return those accepted."""
    accepted = []
    for _ in range(1000):
        try:
            accepted.append(await house.submit("a@example.net"))
        except smtplib.SMTPResponseException as refused:
            return accepted if _said(refused) == NO_SPACE else pytest.fail(str(refused))
    pytest.fail("a full disk takes a thousand messages")


async def _submit_when_possible(house: House, content: bytes) -> str:
    """Submit as a client does that was told to come back."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await house.submit("a@example.net", content=content)
            except smtplib.SMTPResponseException as refused:
                if _said(refused) != NO_SPACE:
                    raise
                await asyncio.sleep(0.2)


# a disk that fails


@pytest.mark.slow
@pytest.mark.peer("gcc")
@pytest.mark.parametrize("call", ["sync", "write"])
async def test_what_the_disk_refuses_is_never_acknowledged(tmp_path: Path, call: str) -> None:
    disk = failing_disk(tmp_path)
    async with open_house(tmp_path / "house", prefix=disk.prefix, more=NO_LOGIN) as house:
        crowd = Crowd(house, clients=5, logs_in=False)
        async with crowd.pressing():
            for _ in range(2):
                before, refused = len(crowd.acknowledged), crowd.refused.total()
                await house.see("mail is taken", lambda before=before: len(crowd.acknowledged) >= before + 20)  # type: ignore[misc]  # of mypy's own
                with disk.failing(call):
                    await house.see("mail is refused", lambda seen=refused: crowd.refused.total() >= seen + 5)  # type: ignore[misc]  # see above
            before = len(crowd.acknowledged)
            await house.see("mail is taken again", lambda: len(crowd.acknowledged) >= before + 20)
            refused = crowd.refused.total()
            with disk.failing(call):
                await house.see("mail is refused again", lambda: crowd.refused.total() >= refused + 5)
                await house.server.kill()
        await house.server.start()
        assert await crowd.missing() == set()
        assert set(crowd.refused) == {451}
        # the kill may have doubled what was under way; what the disk did doubles nothing
        assert [name for name, times in arrivals(house.sink.messages).items() if len(times) > 2] == []


@pytest.mark.slow
@pytest.mark.peer("gcc")
async def test_what_hosts_said_before_a_kill_is_written_down_after_it(tmp_path: Path) -> None:
    disk = failing_disk(tmp_path)
    async with AsyncExitStack() as stack:
        scene = await _scene(stack, tmp_path / "house", disk.prefix)
        await scene.prepare()
        with disk.failing("sync write"):
            await scene.answer()
            await scene.house.see("the journal has all", lambda: _kept(scene.house) == IN_FLIGHT)
            await scene.nothing_begins()
            assert await refusal(scene.house) == NOT_NOW
            await scene.house.server.kill()
        await scene.house.server.start()
        await scene.end()
        assert scene.house.logged(f"{IN_FLIGHT} outcomes are in the journal") == 1
        assert _kept(scene.house) == 0


@pytest.mark.slow
@pytest.mark.peer("gcc")
async def test_what_hosts_said_to_a_worker_that_died_is_known_to_the_others(tmp_path: Path) -> None:
    disk = failing_disk(tmp_path)
    async with AsyncExitStack() as stack:
        scene = await _scene(stack, tmp_path / "house", disk.prefix, workers=2)
        await scene.prepare()
        with disk.failing("sync write"):
            await scene.answer()
            await scene.house.see("the journal has all", lambda: _kept(scene.house) == IN_FLIGHT)
            os.kill(await _holder(scene.house), signal.SIGKILL)
        await scene.end()


async def _holder(house: House) -> int:
    """Return the process of the worker that has most in hand."""
    client = Client(house.folder / "data" / "control.sock")
    status = await asyncio.to_thread(lambda: client.one("status"))
    return int(max(status["workers"], key=lambda row: row.get("in_hand") or 0)["pid"])


def _kept(house: House) -> int:
    """Return how many outcomes the journals have."""
    return sum(path.read_bytes().count(b"MTAJ") for path in (house.folder / "data").glob("outcomes.*.journal"))


@pytest.mark.slow
@pytest.mark.peer("gcc")
async def test_what_hosts_said_waits_in_memory_when_the_journal_cannot_be_written_either(tmp_path: Path) -> None:
    disk = failing_disk(tmp_path, on="/data/")
    async with AsyncExitStack() as stack:
        scene = await _scene(stack, tmp_path / "house", disk.prefix)
        await scene.prepare()
        with disk.failing("sync write"):
            await scene.answer()
            await scene.house.see("it says so", lambda: scene.house.logged("is in memory only") == IN_FLIGHT)
            await scene.nothing_begins()
        await scene.end()
