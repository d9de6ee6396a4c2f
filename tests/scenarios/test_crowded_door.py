"""Many clients that do nothing, or hardly anything: one that has mail is served as if it were alone."""

import asyncio
import os
import resource
import select
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from tests.scenarios.hostile.case import AUTH, DATA, EHLO, GREETING, HEADER, IN, MAIL, RCPT, STARTTLS, Act, Door, Step
from tests.scenarios.hostile.stage import PATIENCE, Line, Stage, open_stage
from tests.scenarios.house import SENDER, message, send

TRIES = 5
WITHIN = 1.0
"""Seconds that a whole submission may take: the best of some, since this machine may have other work."""
STATE = 64 * 1024
"""Octets of the server's memory that a connection may cost."""
LIMITS = """
max_connections = 2000
max_connections_per_ip = 2000
min_data_rate = "1B"
"""
_FILES = 2048
MAX_SAID = 64_000_000
_RECIPIENT = "b@example.net"


@dataclass(frozen=True, slots=True)
class Group:
    """Clients that go so far, and then say no more than two octets a second."""

    count: int
    door: Door
    steps: tuple[Step, ...] = ()
    murmur: bytes = b""


IDLE = (
    Group(200, Door.STARTTLS),
    Group(100, Door.STARTTLS, (EHLO,)),
    Group(100, Door.STARTTLS, (EHLO, STARTTLS, Act.HANDSHAKE, EHLO)),
    Group(100, Door.PLAIN, (*IN, MAIL, RCPT)),
)
SLOW = (
    Group(100, Door.PLAIN, (*IN, MAIL, RCPT, DATA), HEADER),
    Group(50, Door.STARTTLS, (EHLO,), b"NOOP " + b"x" * 400),
    Group(50, Door.PLAIN, (EHLO, AUTH), b"MAIL FROM:<app@example.com>" + b" " * 400),
)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the servers it starts, open enough files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        pytest.skip(f"only {hard} files may be open; raise the hard limit to {_FILES}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_500_idle_and_200_slow_clients_are_in_nobodys_way(
    tmp_path: Path, many_files: None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_stage(tmp_path / "house", LIMITS) as stage:
        alone = await _best_submission(stage)
        before = _memory(stage)
        async with _throng(stage, *IDLE, *SLOW) as throng:
            crowded = await _best_submission(stage, throng)
            count, slow = len(throng.lines), len(throng.murmurs)
            each = (_memory(stage) - before) / count
            assert await stage.clients() == count, "somebody was not let in, or not let stay"
        await stage.all_gone()
        with capsys.disabled():
            print(
                f"\n{count - slow} idle and {slow} slow clients: a submission takes {crowded * 1000:.0f} ms, alone"
                f" {alone * 1000:.0f} ms; {each / 1024:.0f} KiB of memory a client"
            )
        assert (count, slow) == (700, 200)
        assert crowded <= WITHIN
        assert each <= STATE
        assert await stage.added() == Counter({_RECIPIENT: 2 * TRIES})


async def test_a_client_that_never_reads_is_left_before_much_is_kept_for_it(tmp_path: Path) -> None:
    async with open_stage(tmp_path / "house", f'{LIMITS}idle_timeout = "1s"\n') as stage:
        deaf = await Line.open(stage.house.server.address(Door.PLAIN))
        for step in (GREETING, *IN, MAIL):
            await stage.do(deaf, step)
        before = _memory(stage)
        _forget_peak(stage)  # which the login made
        connection = deaf.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        said = await asyncio.to_thread(_shout, connection.fileno())
        assert said < MAX_SAID
        await stage.all_gone()
        assert _memory(stage, "VmHWM") - before < 8_000_000
        assert await stage.added() == Counter()
        await deaf.close()


async def test_a_command_that_comes_octet_by_octet_is_waited_for_no_longer_than_any_other(tmp_path: Path) -> None:
    async with open_stage(tmp_path / "house", 'idle_timeout = "1s"\n') as stage:
        line = await Line.open(stage.house.server.address(Door.PLAIN))
        await stage.do(line, GREETING)
        hearing = asyncio.ensure_future(line.hear())
        for octet in cycle(b"NOOP"):
            if (await asyncio.wait({hearing}, timeout=0.1))[0]:
                break
            await line.send(bytes([octet]))
        assert hearing.result() == "421 4.4.2 Error: timeout exceeded"
        assert await line.rest() == b""
        await line.close()


async def test_one_client_too_many_hears_so_and_the_next_is_let_in_when_another_has_gone(tmp_path: Path) -> None:
    async with open_stage(tmp_path / "house", "max_connections_per_ip = 3\nmax_connections = 5\n") as stage:
        address = stage.house.server.address(Door.PLAIN)
        lines = [await Line.open(address, source) for source in ("127.0.0.1",) * 3 + ("127.0.0.2",) * 2]
        for line in lines:
            await stage.do(line, GREETING)
        for source in ("127.0.0.1", "127.0.0.3"):
            turned_away = await Line.open(address, source)
            assert await turned_away.rest() == b"421 4.7.0 Error: too many connections\r\n"
            await turned_away.close()
        for line in lines:
            line.cut()
        await stage.all_gone()
        for source in ("127.0.0.1", "127.0.0.3"):
            later = await Line.open(address, source)
            await stage.do(later, GREETING)
            await later.close()


@dataclass(frozen=True, slots=True)
class Throng:
    """Clients that have come to where they stay."""

    lines: list[Line]
    murmurs: list[tuple[Line, Iterator[int]]]

    async def murmur(self) -> None:
        """Let each that murmurs say its octets, one after another, within a second."""
        for line, octets in self.murmurs:
            line.writer.write(bytes([next(octets), next(octets)]))
            await asyncio.sleep(1 / len(self.murmurs))


@asynccontextmanager
async def _throng(stage: Stage, *groups: Group) -> AsyncIterator[Throng]:
    throng = Throng([], [])
    try:
        for group in groups:
            for _ in range(group.count):
                line = await Line.open(stage.house.server.address(group.door))
                throng.lines.append(line)
                for step in (GREETING, *group.steps):
                    await stage.do(line, step)
                if group.murmur:
                    throng.murmurs.append((line, cycle(group.murmur)))
        yield throng
    finally:
        for line in throng.lines:
            line.cut()


async def _best_submission(stage: Stage, throng: Throng | None = None) -> float:
    """Submit some messages, each over a connection of its own; return the seconds that the quickest took."""
    tries = []
    for _ in range(TRIES):
        async with asyncio.TaskGroup() as tasks:
            tries.append(tasks.create_task(asyncio.to_thread(_submission, stage)))
            if throng is not None:
                tasks.create_task(throng.murmur())
    return min(each.result() for each in tries)


def _submission(stage: Stage) -> float:
    started = time.monotonic()
    with stage.house.connect() as client:
        send(client, SENDER, (_RECIPIENT,), message((_RECIPIENT,)))
    return time.monotonic() - started


def _shout(fileno: int) -> int:
    """Name recipients over a connection until it is ended; return how many octets were said.

    The replies are longer than that, and recipients that are refused end no session.
    """
    said = 0
    with socket.socket(fileno=os.dup(fileno)) as connection:
        while said < MAX_SAID and select.select([], [connection], [], PATIENCE)[1]:
            try:
                said += connection.send(b"RCPT TO:<x>\r\n" * 1000)
            except ConnectionError:
                break
    return said


def _memory(stage: Stage, which: str = "VmRSS") -> int:
    """Return the octets of memory that the server has in use."""
    status = Path(f"/proc/{stage.house.server.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(f"{which}:")]
    return int(line.split()[1]) * 1024


def _forget_peak(stage: Stage) -> None:
    """Let `VmHWM` be the peak from now on."""
    Path(f"/proc/{stage.house.server.pid}/clear_refs").write_text("5")
