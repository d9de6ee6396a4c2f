"""What supervisor and worker say to one another."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest

from mta.supervisor.lifeline import Lifeline, Order, grace_of, serving

Line = tuple[socket.socket, socket.socket]


@pytest.fixture
def line() -> Iterator[Line]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("seconds", [0, 0.5, 60, 86400])
def test_a_grace_is_read_as_it_was_said(seconds: float) -> None:
    assert grace_of(serving(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("said", [b"", b"serving\n", b"serving soon\n", b"hello 5\n", b"\xff 1\n"])
def test_what_makes_no_sense_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each for its own reason
        grace_of(said)


async def test_orders_are_carried_out_and_other_words_are_not(line: Line) -> None:
    ours, theirs = line
    orders: asyncio.Queue[Order | None] = asyncio.Queue()
    with Lifeline(theirs).heard(orders.put_nowait, lambda: orders.put_nowait(None)):
        ours.sendall(b"stop\nand something new\nnow\n")
        async with asyncio.timeout(30):
            assert [await orders.get(), await orders.get()] == [Order.STOP, Order.NOW]
            ours.close()
            assert await orders.get() is None
    assert orders.empty()


async def test_a_supervisor_that_is_gone_or_stands_still_does_not_stop_a_worker(line: Line) -> None:
    ours, theirs = line
    lifeline = Lifeline(theirs)
    with lifeline.heard(lambda order: None, lambda: None):
        for _ in range(100_000):
            lifeline.serving(timedelta(seconds=5))
        ours.close()
        lifeline.serving(timedelta(seconds=5))
