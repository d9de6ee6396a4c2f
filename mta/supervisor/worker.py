"""What a worker does for its supervisor and the other workers, beside the commands of any server."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from mta.control.asking import ask
from mta.control.protocol import CommandFailed, Json, Request
from mta.control.server import Commands
from mta.supervisor.relay import EXPOSITION, METRICS, NEWS, PIECE

PATIENCE = timedelta(seconds=4)
"""For the sum of all scrapes: less than the HTTP listener's own."""


class Scrape(Protocol):
    """What this worker itself answers a scrape."""

    def content_type(self, accept: str) -> str:
        """Return the type of what `expose` returns for an Accept field's value."""
        ...

    async def expose(self, accept: str) -> bytes:
        """Return all metrics."""
        ...


class Fellow(Protocol):
    """What a worker does when it hears that another one changed something."""

    async def hear_news(self) -> None:
        """Look again at whatever is held in memory of what all workers share."""
        ...


class WorkerCommands:
    """The commands of a worker that has a supervisor."""

    def __init__(self, commands: Commands, fellow: Fellow, scrape: Scrape) -> None:
        self._commands = commands
        self._fellow = fellow
        self._scrape = scrape

    async def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out a command for somebody, giving rows.

        Raises:
            CommandFailed: it cannot be; or its name is unknown.
        """
        if request.command == NEWS:
            await self._fellow.hear_news()
        elif request.command == EXPOSITION:
            text = (await self._scrape.expose("text/plain")).decode()
            for start in range(0, len(text), PIECE):
                yield {"piece": text[start : start + PIECE]}
        else:
            async for row in self._commands.run(request, who):
                yield row


class SharedScrape:
    """Answers a scrape of any worker with the sum over all."""

    def __init__(self, own: Scrape, control: Path, patience: timedelta = PATIENCE) -> None:
        """`control` is the supervisor's socket."""
        self._own = own
        self._control = control
        self._patience = patience

    def content_type(self, accept: str) -> str:
        """Return the type of what `expose` returns for an Accept field's value."""
        return self._own.content_type(accept)

    async def expose(self, accept: str) -> bytes:
        """Return the metrics of all workers. A part of them would look as if counters had stepped back.

        Raises:
            TimeoutError: the supervisor does not tell.
        """
        request = Request(METRICS, {"accept": accept[:1000]})
        try:
            async with aclosing(ask(self._control, request, self._patience)) as rows:
                return "".join([str(row["piece"]) async for row in rows]).encode()
        except CommandFailed as trouble:
            raise TimeoutError(f"the workers' metrics could not be added up: {trouble}") from None
