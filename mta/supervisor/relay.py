"""The one control socket of several workers: what is asked there is carried out by one of them, or by all.

Whatever changes something is carried out by one worker, since it is written to the store that all share; the others are
told that there is news, and look again at what they hold in memory. So a command that is new here needs no line here.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from mta.control.asking import EX_TEMPFAIL, ask
from mta.control.protocol import CommandFailed, Json, Request
from mta.observe.merge import Ledger, workers_exposition
from mta.observe.scrape import wants_openmetrics
from mta.supervisor.crew import Place, State

EXPOSITION, METRICS, NEWS, STATUS, RELOAD = "exposition", "metrics", "news", "status", "reload"
CHANGE_NOTHING = frozenset({"credential"})
"""Commands after which there is no news."""
Fold = Callable[[Sequence[Json]], Mapping[str, Any]]

PIECE = 100_000
"""Letters of a scrape in one row."""

_log = logging.getLogger(__name__)


class Workers(Protocol):
    """What the relay must know of the crew."""

    @property
    def places(self) -> Sequence[Place]:
        """The workers as they are now."""
        ...

    @property
    def is_starting(self) -> bool:
        """Whether some worker has neither served nor died yet."""
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether the workers were told to end."""
        ...


class Relay:
    """Answers the control socket of a supervisor."""

    def __init__(
        self,
        workers: Workers,
        socket_of: Callable[[int], Path],
        hostname: str,
        patience: timedelta = timedelta(seconds=100),
        glance: timedelta = timedelta(seconds=2),
    ) -> None:
        """`patience` is for each row of a command, shorter than that of those who ask; `glance` for what must not be
        kept waiting by a worker that stands still: news, states and scrapes.
        """
        self._workers = workers
        self._socket_of = socket_of
        self._hostname = hostname
        self._patience = patience
        self._glance = glance
        self._ledger = Ledger()

    async def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out a command for somebody, giving rows.

        Raises:
            CommandFailed: it cannot be, or not everywhere.
        """
        if self._workers.is_starting:
            raise CommandFailed("the server is still starting; try again in a moment", EX_TEMPFAIL)
        asked = Request(request.command, request.arguments, who)
        if request.command == STATUS:
            yield await self._status(asked)
        elif request.command == RELOAD:
            yield dict(await self._reload(asked))
        elif request.command == METRICS:
            for piece in await self._metrics(str(request.arguments.get("accept", ""))):
                yield {"piece": piece}
        else:
            async with aclosing(self._one(asked)) as rows:
                async for row in rows:
                    yield row

    async def _one(self, request: Request) -> AsyncGenerator[Json, None]:
        """Have a command carried out by one worker, and tell the others."""
        chosen = await self._awake()
        try:
            async with aclosing(ask(self._socket_of(chosen.number), request, self._patience)) as rows:
                async for row in rows:
                    yield row
        finally:
            # also of a command that failed half-way, or whose client went away
            if request.command not in CHANGE_NOTHING:
                await self._tell_the_others(chosen, request.who)

    async def _awake(self) -> Place:
        """Return a worker that answers: one that stands still would keep commands waiting.

        Raises:
            CommandFailed: there is none.
        """
        for place in self._serving():
            try:
                await self._row(place, Request(STATUS, {}), self._glance)
            except CommandFailed as silent:
                _log.warning("worker %d does not answer: %s", place.number, silent)
            else:
                return place
        why = "the server is stopping" if self._workers.is_stopping else "no worker answers just now: see the log"
        raise CommandFailed(f"{why}; try again in a moment", EX_TEMPFAIL)

    async def _tell_the_others(self, teller: Place, who: str) -> None:
        others = [place for place in self._serving() if place.number != teller.number]
        for place, answer in (await self._all(others, Request(NEWS, {}, who), self._glance)).items():
            if isinstance(answer, CommandFailed):
                _log.warning("worker %d was told news and did not answer: %s", place.number, answer)

    async def _status(self, request: Request) -> Json:
        answers = await self._all(self._serving(), request, self._glance)
        told = {place.number: answer for place, answer in answers.items() if not isinstance(answer, CommandFailed)}
        rows = [_as_row(place, told.get(place.number)) for place in self._workers.places]
        first = next(iter(told.values()), {})
        return {
            "pid": os.getpid(),
            "version": version("mta"),
            "hostname": self._hostname,
            "in_hand": sum(int(row["in_hand"]) for row in told.values()),
            "clients": sum(int(row["clients"]) for row in told.values()),
            "listeners": first.get("listeners", {}),
            "workers": rows,
        }

    async def _reload(self, request: Request) -> Mapping[str, Any]:
        """Let one worker take the configuration over, then the others: what one refuses is refused by all.

        Raises:
            CommandFailed: it was not taken over by all.
        """
        first = await self._awake()
        others = [place for place in self._serving() if place.number != first.number]
        done = await self._row(first, request, self._patience)
        answers = await self._all(others, request, self._patience)
        failed = [(place, answer) for place, answer in answers.items() if isinstance(answer, CommandFailed)]
        if failed:
            place, failure = failed[0]
            raise CommandFailed(
                f"worker {place.number} did not take the configuration over, others did; run this again: {failure}",
                EX_TEMPFAIL,
            )
        return done

    async def _metrics(self, accept: str) -> list[str]:
        serving = self._serving()
        answers = await self._all(serving, Request(EXPOSITION, {}), self._glance, _joined)
        self._ledger.gone(place.pid for place in self._workers.places if place.pid is not None)
        for place, answer in answers.items():
            if place.pid is not None and not isinstance(answer, CommandFailed):
                self._ledger.heard(place.pid, str(answer["text"]).encode())
        counted = Counter(place.state.value for place in self._workers.places)
        states = {state.value: counted[state.value] for state in State}
        own = workers_exposition(states, sum(place.deaths for place in self._workers.places))
        total = self._ledger.total
        # reading several scrapes takes a while; the signals must not wait for it
        text = (await asyncio.to_thread(total, [own], as_openmetrics=wants_openmetrics(accept))).decode()
        return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]

    def _serving(self) -> list[Place]:
        return [place for place in self._workers.places if place.state is State.SERVING]

    async def _row(
        self, place: Place, request: Request, patience: timedelta, fold: Fold | None = None
    ) -> Mapping[str, Any]:
        async with aclosing(ask(self._socket_of(place.number), request, patience)) as answers:
            rows = [row async for row in answers]
        return fold(rows) if fold is not None else rows[0] if rows else {}

    async def _all(
        self, places: Sequence[Place], request: Request, patience: timedelta, fold: Fold | None = None
    ) -> "dict[Place, Mapping[str, Any] | CommandFailed]":
        """Have all of them carry out a command; return what each answered, or why it did not."""

        async def one(place: Place) -> Mapping[str, Any] | CommandFailed:
            try:
                return await self._row(place, request, patience, fold)
            except CommandFailed as failure:
                return failure

        async with asyncio.TaskGroup() as tasks:
            asked = {place: tasks.create_task(one(place)) for place in places}
        return {place: task.result() for place, task in asked.items()}


def _joined(rows: Sequence[Json]) -> Mapping[str, Any]:
    return {"text": "".join(str(row["piece"]) for row in rows)}


def _as_row(place: Place, told: Mapping[str, Any] | None) -> Mapping[str, Any]:
    row: dict[str, Any] = {"number": place.number, "state": place.state.value, "pid": place.pid, "deaths": place.deaths}
    if place.last_end:
        row["last_end"] = place.last_end
    if place.state is State.SERVING and told is None:
        row["state"] = "silent"
    return {**row, **{name: told[name] for name in ("worker", "in_hand", "clients") if told and name in told}}
