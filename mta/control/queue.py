"""Commands about what waits: changes of selected deliveries, which tell how far they have come, and pauses."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from mta.control.protocol import CommandFailed, Json
from mta.queue.model import PauseScope, State, Stream
from mta.storage.changes import Order, Verb
from mta.storage.desk import Desk
from mta.storage.reading import Reader
from mta.storage.views import Change, Selector

EX_NO, EX_DATAERR = 1, 65

_LONGEST = 500
"""Characters of a reason that are kept."""

Rows = Callable[[Mapping[str, Any], str], AsyncGenerator[Json, None]]


class QueueCommands:
    """The commands by name."""

    def __init__(self, desk: Desk, reader: Reader, knows: Callable[[str], bool], wake: Callable[[], None]) -> None:
        """`knows`: whether there is an account of a name. `wake`: look for what has become due, at once."""
        self._desk = desk
        self._reader = reader
        self._knows = knows
        self._wake = wake

    def commands(self) -> Mapping[str, Rows]:
        """Return them. Each gives rows: of a change any number with `progress`, and at last what came of it."""
        changes = {f"queue.{verb}": self._changing(verb) for verb in Verb}
        return changes | {"queue.pause": self._pause, "queue.resume": self._resume}

    def _changing(self, verb: Verb) -> Rows:
        async def run(arguments: Mapping[str, Any], who: str) -> AsyncGenerator[Json, None]:
            order = Order(verb, selector_from(arguments), who, _reason(arguments))
            last = Change(0, 0, 0)
            steps = 0
            try:
                async with aclosing(self._desk.changing(order)) as changes:
                    async for change in changes:
                        if steps:
                            yield {"progress": last.changed + last.active + last.other}
                        last, steps = change, steps + 1
            finally:
                # also when the one who asked has gone away: what was changed is changed
                self._wake()
            yield {"changed": last.changed, "active": last.active, "other": last.other}

        return run

    async def _pause(self, arguments: Mapping[str, Any], who: str) -> AsyncGenerator[Json, None]:
        scope, value = _scope(arguments)
        reason = _reason(arguments)
        if not reason:
            raise CommandFailed("say why: mta queue stats and mta why show it", EX_DATAERR)
        if scope is PauseScope.ACCOUNT and not await self._has(value):
            raise CommandFailed(f"there is no account {value!r}; mta account list shows all", EX_NO)
        paused = await self._desk.pause(scope, value, who, reason)
        self._wake()
        yield {"scope": scope.value, "value": value, "changed": paused}

    async def _resume(self, arguments: Mapping[str, Any], who: str) -> AsyncGenerator[Json, None]:
        scope, value = _scope(arguments)
        resumed = await self._desk.resume(scope, value, who, _reason(arguments))
        self._wake()
        yield {"scope": scope.value, "value": value, "changed": resumed}

    async def _has(self, account: str) -> bool:
        """Whether there is such an account, or mail of one that is gone."""
        return self._knows(account) or bool(await self._reader.select(Selector(account=account), 1))


def selector_from(arguments: Mapping[str, Any]) -> Selector:
    """Return the selector that a request carries.

    Raises:
        CommandFailed: it is none.
    """
    state, older = arguments.get("state"), arguments.get("older_than")
    try:
        return Selector(
            id=arguments.get("id"),
            account=arguments.get("account"),
            domain=arguments.get("domain"),
            state=State(state) if state else None,
            older_than=timedelta(seconds=older) if older is not None else None,
            tag=arguments.get("tag"),
            site=arguments.get("site"),
            hold_reason=arguments.get("hold_reason"),
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise CommandFailed(f"no such selector: {error}", EX_DATAERR) from None


def _scope(arguments: Mapping[str, Any]) -> tuple[PauseScope, str]:
    try:
        scope = PauseScope(str(arguments.get("scope")))
        value = str(arguments.get("value") or "")
        if scope is PauseScope.STREAM:
            value = Stream(value).value
    except ValueError as error:
        raise CommandFailed(f"no such pause: {error}", EX_DATAERR) from None
    if bool(value) is (scope is PauseScope.ALL):
        raise CommandFailed(f"no such pause: --{scope} {value}", EX_DATAERR)
    return scope, value


def _reason(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("reason") or "")[:_LONGEST]
