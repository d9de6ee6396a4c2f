"""A TCP listener on loopback whose connections are tasks of one group and end with it.

What is spoken on a connection is left to the `serve` function of the caller.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_FAREWELL_SECONDS = 2.0


@asynccontextmanager
async def listening(serve: Serve, host: str, port: int) -> AsyncIterator[int]:
    """Listen on `host` and `port` (0: a free one), run `serve` for each connection, yield the port.

    A peer that leaves ends only its own connection; any other exception of `serve` is a mistake in it and ends the
    caller's block. Leaving the block ends all connections at once. Raises OSError when the address is taken.
    """
    tasks: set[asyncio.Task[None]] = set()
    open_for_business = True
    group = asyncio.TaskGroup()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not open_for_business:
            writer.transport.abort()
            return
        task = group.create_task(_attend(serve, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # Entered and left by hand: `async with` would wrap every exception of the caller's block in an ExceptionGroup.
    await group.__aenter__()
    try:
        server = await asyncio.start_server(connected, host, port)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
    finally:
        open_for_business = False
        for task in tasks:
            task.cancel()
        await group.__aexit__(None, None, None)


async def _attend(serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await serve(reader, writer)
    except (OSError, EOFError):
        # The peer reset, left, would not finish its TLS handshake, or let a time limit pass (TimeoutError is an
        # OSError): its affair.
        pass
    except asyncio.CancelledError:
        writer.transport.abort()
        raise
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await writer.wait_closed()
        writer.transport.abort()
