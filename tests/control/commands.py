"""Commands for tests of the socket: each does what its name says."""

import asyncio
from collections.abc import AsyncIterator

from mta.control.protocol import CommandFailed, Json, Request
from mta.errors import ConfigError, Problem, StoreUnavailable


class ScriptedCommands:
    """Answers `rows`, `stream`, `echo`, `big`, and the failures; remembers what ran."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []
        self.go_on = asyncio.Event()
        """`stream` waits for it before its second row."""
        self.began = asyncio.Event()
        self.was_cancelled = False

    async def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out one of them."""
        self.ran.append((request.command, who))
        self.began.set()
        match request.command:
            case "echo":
                yield dict(request.arguments)
            case "stream":
                yield {"number": 1}
                await self.go_on.wait()
                yield {"number": 2}
            case "big":
                while True:
                    yield {"text": "x" * 65536}
            case "forever":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.was_cancelled = True
                    raise
            case "none":
                pass
            case "config":
                raise ConfigError(Problem("mta.toml", 3, "hostname", "is missing"))
            case "store":
                raise StoreUnavailable("the disk is gone")
            case "bug":
                raise KeyError("secret detail")
            case _:
                raise CommandFailed(f"unknown command {request.command!r}", 2)
