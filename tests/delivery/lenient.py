"""A host with the ways of real ones that the strict receiver does not have."""

import asyncio
from contextlib import AsyncExitStack
from typing import Self

from mta.demo.listener import listening
from tests.delivery.world import server_context


class Lenient:
    """Wants content behind any DATA, may stop reading it or refuse it half way; knows AUTH.

    `contents` is what came between 354 and the dot, as it came.
    """

    def __init__(
        self,
        *,
        refuses: str = "",
        offers: str = "SIZE 100000000",
        reads_content: bool = True,
        interrupts: bytes = b"",
        hangs_up: bool = False,
        lets_in: bool = True,
        tls: bool = False,
    ) -> None:
        self.port = 0
        self.connections = 0
        self.commands: list[str] = []
        self.contents: list[bytes] = []
        self._refuses = f"TO:<{refuses}>"
        self._offers = offers
        self._reads_content = reads_content
        self._interrupts = interrupts
        self._hangs_up = hangs_up
        self._lets_in = lets_in
        self._tls = server_context() if tls else None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.port = await self._stack.enter_async_context(listening(self._serve, "127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._tls is not None:
            await writer.start_tls(self._tls)
        writer.write(b"220 lenient ESMTP\r\n")
        while line := await reader.readline():
            command = line.decode().rstrip("\r\n")
            self.commands.append(command)
            if command == "DATA":
                writer.write(b"354 go on\r\n")
                await self._content(reader, writer)
            else:
                writer.write(self._reply(command))
            if command == "QUIT":
                return

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._interrupts:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._interrupts)
        if self._hangs_up:
            for _ in range(20):  # turns of the loop, in which the client hears it
                await asyncio.sleep(0)
            writer.transport.abort()
            raise ConnectionAbortedError
        if not self._reads_content:
            await asyncio.Event().wait()
        content = bytearray()
        while (line := await reader.readline()) not in (b".\r\n", b""):
            content += line
        self.contents.append(bytes(content))
        writer.write(b"250 2.0.0 ok\r\n")

    def _reply(self, command: str) -> bytes:
        match command.split():
            case ["EHLO", *_]:
                return f"250-lenient\r\n250-PIPELINING\r\n250 {self._offers}\r\n".encode()
            case ["RCPT", to, *_] if to == self._refuses:
                return b"550 5.1.1 no such user\r\n"
            case ["AUTH", "LOGIN", *_]:
                return b"334 UGFzc3dvcmQ6\r\n"
            case ["AUTH", *_] | ["cA=="]:
                return b"235 2.7.0 welcome\r\n" if self._lets_in else b"535 5.7.8 no\r\n"
            case ["QUIT"]:
                return b"221 bye\r\n"
        return b"250 2.0.0 ok\r\n"
