"""What hostile hosts do instead of answering: they flood, drip, inject, fall silent in the midst of something.

Each is an act of a `Peer`, which says where in a conversation it happens.
"""

import asyncio

from tests.delivery.peer import Act

MEGABYTE = 1_000_000
_SECOND = 1.0


def flood(piece: bytes, megabytes: int = 100) -> Act:
    """Send so much of it, as fast as it is taken; then hang up."""
    block = piece * max(1, MEGABYTE // len(piece))

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(megabytes):
            writer.write(block)
            await writer.drain()
        raise ConnectionAbortedError

    return act


def drip(piece: bytes) -> Act:
    """Send it once a second, until the other side gives up."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(piece)
            try:
                async with asyncio.timeout(_SECOND):
                    if not await reader.read(65536):
                        raise ConnectionAbortedError
            except TimeoutError:
                continue

    return act


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give no answer, and go on."""


def say_and_hang(said: bytes) -> Act:
    """Say something, and nothing more; what comes is read."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        while await reader.read(65536):
            pass
        raise ConnectionAbortedError

    return act


def say_and_stop_reading(said: bytes) -> Act:
    """Say something, and leave what comes unread, until the test ends."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await asyncio.Event().wait()

    return act


def say_and_hang_up(said: bytes, after: int = 1) -> Act:
    """Say something, and hang up when so many octets have come."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.readexactly(after)
        raise ConnectionAbortedError

    return act
