"""A host that speaks what the strict receiver does not: BDAT, REQUIRETLS, LMTP, TLS with a certificate of one's choice,
TLS from the first octet, a local socket; and that misbehaves as it is told."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mta.demo.listener import listening

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What a host does instead of answering. It goes on then as after a good answer, unless this ends with OSError."""
Answer = bytes | Act | None


@dataclass(frozen=True, slots=True)
class Mail:
    """What it took."""

    commands: tuple[str, ...]
    """MAIL and RCPT."""
    content: bytes = field(repr=False)
    encrypted: bool
    server_name: str | None


class Peer:
    """`answers` replace the usual reply to a verb (GREETING and CHUNK are verbs, too).

    Octets: a reply, or several; none of them: hang up. None: silence for ever. Or an act.
    """

    def __init__(
        self,
        *offers: str,
        tls: ssl.SSLContext | None = None,
        after_tls: tuple[str, ...] = (),
        implicit: bool = False,
        lmtp: bool = False,
        path: Path | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        corked: bool = False,
    ) -> None:
        self.port = port
        self.corked = corked
        """Whether the replies to MAIL and RCPT wait for the next one."""
        self.answers: dict[str, Answer] = {}
        self.commands: list[str] = []
        self.connections = 0
        self.open = 0
        self.mails: list[Mail] = []
        self._offers = offers
        self._after_tls = after_tls
        self._tls = tls
        self._implicit = implicit
        self._lmtp = lmtp
        self._path = path
        self._address = address
        self._server_name: str | None = None
        self._stack = AsyncExitStack()
        if tls is not None:
            tls.sni_callback = self._note_name

    async def __aenter__(self) -> Self:
        if self._path is None:
            self.port = await self._stack.enter_async_context(listening(self._serve, self._address, self.port))
        else:
            server = await asyncio.start_unix_server(self._serve, self._path)
            await self._stack.enter_async_context(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def verbs(self) -> list[str]:
        """The commands' first words."""
        return [command.partition(" ")[0] for command in self.commands]

    def _note_name(self, socket: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self._server_name = name

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            if self._implicit and self._tls is not None:
                await writer.start_tls(self._tls)
            await _Talk(self, reader, writer).run()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


class _Talk:
    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peer = peer
        self._reader = reader
        self._writer = writer
        self._encrypted = peer._implicit
        self._envelope: list[str] = []
        self._chunks = b""
        self._refused = False
        self._withheld = b""

    async def run(self) -> None:
        await self._say("GREETING", b"220 peer ESMTP\r\n")
        while line := await self._reader.readline():
            command = line.decode("utf-8", "replace").rstrip("\r\n")
            self._peer.commands.append(command)
            verb = command.partition(" ")[0].upper()
            match verb:
                case "EHLO" | "LHLO":
                    known = (verb == "LHLO") is self._peer._lmtp
                    await self._say(verb, self._hello() if known else b"500 5.5.1 what?\r\n")
                case "STARTTLS":
                    await self._starttls()
                case "MAIL":
                    self._envelope, self._chunks, self._refused = [command], b"", False
                    await self._say("MAIL", b"250 2.1.0 ok\r\n")
                case "RCPT":
                    self._envelope.append(command)
                    self._refused = not await self._say("RCPT", b"250 2.1.5 ok\r\n")
                case "DATA":
                    if await self._say("DATA", b"354 go on\r\n"):
                        lines = []
                        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
                            lines.append(line.removeprefix(b"."))
                        await self._take(b"".join(lines))
                case "BDAT":
                    await self._chunk(command)
                case "QUIT":
                    await self._say("QUIT", b"221 bye\r\n")
                    return
                case _:
                    await self._say(verb, b"250 2.0.0 ok\r\n")

    def _hello(self) -> bytes:
        peer = self._peer
        offers = list(peer._after_tls or peer._offers) if self._encrypted else list(peer._offers)
        if peer._tls is not None and not self._encrypted:
            offers.append("STARTTLS")
        lines = ["peer", *offers]
        return "".join(f"250{' ' if one is lines[-1] else '-'}{one}\r\n" for one in lines).encode()

    async def _starttls(self) -> None:
        await self._say("STARTTLS", b"220 go\r\n")
        if self._peer._tls is not None:
            await self._writer.start_tls(self._peer._tls)
            self._encrypted = True

    async def _chunk(self, command: str) -> None:
        words = command.split()
        if "CHUNK" in self._peer.answers and not await self._say("CHUNK", b""):
            return  # before it was read
        self._chunks += await self._reader.readexactly(int(words[1]))
        if self._refused:
            await self._say("BDAT", b"503 5.5.1 no recipients\r\n")
        elif words[2:] == ["LAST"]:
            await self._take(self._chunks)
        else:
            await self._say("BDAT", b"250 2.0.0 chunk\r\n")

    async def _take(self, content: bytes) -> None:
        mail = Mail(tuple(self._envelope), content, self._encrypted, self._peer._server_name)
        if await self._say("DOT", b"250 2.0.0 taken\r\n"):
            self._peer.mails.append(mail)

    async def _say(self, verb: str, usual: bytes) -> bool:
        """Answer; return whether that was a good answer."""
        said = self._peer.answers.get(verb, usual)
        if said is None:
            while await self._reader.read(65536):
                pass  # until the other side gives up
        if callable(said):
            await said(self._reader, self._writer)
            return True
        if not said:
            raise ConnectionAbortedError
        if self._peer.corked and verb in ("MAIL", "RCPT"):
            self._withheld += said
            return said[:1] == b"2"
        self._writer.write(self._withheld + said)
        self._withheld = b""
        await self._writer.drain()
        return said[:1] in (b"2", b"3")
