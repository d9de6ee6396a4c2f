"""Simultaneous equal work is done once: the first to ask does it, the others wait for its result."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Flight(Generic[V]):
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    result: tuple[V] | None = None


class SingleFlight(Generic[K, V]):
    """Work under way, by key. Remembers nothing once it is done."""

    def __init__(self) -> None:
        self._under_way: dict[K, _Flight[V]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return what `work` returns, or what the same work that is under way already will return.

        Runs in the caller's task. If that is cancelled, or its work raises, one of those who wait does it again.
        """
        while (flight := self._under_way.get(key)) is not None:
            await flight.landed.wait()
            if flight.result is not None:
                return flight.result[0]
        flight = self._under_way[key] = _Flight()
        try:
            result = await work()
            flight.result = (result,)
            return result
        finally:
            del self._under_way[key]
            flight.landed.set()
