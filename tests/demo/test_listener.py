"""Connections are tasks of the listener: they end with it, and a mistake in one does not pass unseen."""

import asyncio

import pytest

from mta.demo.listener import listening


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(await reader.readexactly(1))
        await writer.drain()


async def test_leaving_the_block_ends_all_connections_and_frees_the_port() -> None:
    async with listening(_echo, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_peer_that_leaves_ends_nothing_but_its_connection() -> None:
    async with listening(_echo, "127.0.0.1", 0) as port:
        _, leaving = await asyncio.open_connection("127.0.0.1", port)
        leaving.close()
        await leaving.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"b")
        assert await asyncio.wait_for(reader.readexactly(1), 5) == b"b"
        writer.close()


async def test_an_exception_of_the_callers_block_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError):
        async with listening(_echo, "127.0.0.1", 0):
            raise LookupError


async def test_a_mistake_in_what_is_served_ends_the_block_with_it() -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise LookupError("a bug")

    async def block() -> None:
        async with listening(broken, "127.0.0.1", 0) as port, asyncio.timeout(30):
            await asyncio.open_connection("127.0.0.1", port)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await block()
    assert raised.group_contains(LookupError, match="a bug")
