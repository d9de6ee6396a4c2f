"""A client that says what it is told, to the octet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.writer.write(octets)
        await self.writer.drain()

    async def hear(self) -> str:
        """Return the next reply, its lines joined by a line feed; empty when the server has hung up."""
        lines = []
        while True:
            async with asyncio.timeout(20):
                line = (await self.reader.readline()).decode("ascii")
            assert line.endswith("\r\n") or not line
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def ask(self, command: str) -> str:
        """Send a command; return its reply."""
        await self.send(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return await self.hear()

    async def rest(self) -> bytes:
        """Return all that comes until the server hangs up."""
        async with asyncio.timeout(20):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def trickling(talk: Talk, octet: bytes) -> AsyncIterator[None]:
    """Send an octet again and again meanwhile, as long as anybody takes it."""

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await talk.send(octet)
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(trickle())
        yield
        task.cancel()
