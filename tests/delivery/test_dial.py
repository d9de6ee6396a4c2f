"""Connecting: addresses in turn, a silent one not waited for."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from mta.delivery.dial import Patience, dial, dial_socket, interleaved
from mta.demo.receiver import Receiver
from tests.delivery.peer import Peer

PATIENCE = Patience(timedelta(seconds=30), timedelta(milliseconds=20))


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("192.0.2.1", "192.0.2.2"), ("192.0.2.1", "192.0.2.2")),
        (("::1", "::2", "192.0.2.1", "192.0.2.2", "192.0.2.3"), ("::1", "192.0.2.1", "::2", "192.0.2.2", "192.0.2.3")),
        (("192.0.2.1", "::1", "::2"), ("192.0.2.1", "::1", "::2")),
    ],
)
def test_families_take_turns(addresses: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert interleaved(addresses) == expected


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.2 where no connection comes about, since its queue is full, and of 127.0.0.1 besides."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.2", 0))
        full.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()[1]


async def test_the_next_address_is_tried_while_the_first_is_silent(silent_port: int) -> None:
    async with Receiver(port=silent_port):
        dialled = await dial(("127.0.0.2", "127.0.0.1"), silent_port, PATIENCE)
    assert dialled.reached is not None
    dialled.reached.socket.close()
    assert dialled.reached.address == "127.0.0.1"
    assert dialled.missed == ()


async def test_small_writes_are_not_held_back() -> None:
    async with Receiver() as sink:
        dialled = await dial(("127.0.0.1",), sink.port, PATIENCE)
        assert dialled.reached is not None
        with dialled.reached.socket as reached:
            assert reached.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_silent_address_meets_the_limit(silent_port: int) -> None:
    dialled = await dial(("127.0.0.2",), silent_port, Patience(timedelta(milliseconds=50)))
    assert dialled.reached is None
    (missed,) = dialled.missed
    assert isinstance(missed.error, TimeoutError)


async def test_all_that_refuse_are_told_of() -> None:
    async with Receiver() as gone:
        pass
    dialled = await dial(("127.0.0.2", "127.0.0.3"), gone.port, PATIENCE)
    assert dialled.reached is None
    assert [missed.address for missed in dialled.missed] == ["127.0.0.2", "127.0.0.3"]
    assert all(isinstance(missed.error, ConnectionRefusedError) for missed in dialled.missed)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_who_is_cancelled_leaves_nothing_open(silent_port: int) -> None:
    before = _open_files()
    task = asyncio.create_task(dial(("127.0.0.2",) * 3, silent_port, PATIENCE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _open_files() == before


async def test_a_local_socket_is_reached(tmp_path: Path) -> None:
    async with Peer(path=tmp_path / "lmtp"):
        dialled = await dial_socket(str(tmp_path / "lmtp"), PATIENCE)
        assert dialled.reached is not None
        dialled.reached.socket.close()
    gone = await dial_socket(str(tmp_path / "nobody"), PATIENCE)
    assert gone.reached is None
    assert isinstance(gone.missed[0].error, FileNotFoundError)
