"""Reading the store from a command, whether a server runs or not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mta.cli.app import App
from mta.clock import SystemClock
from mta.storage.reading import Reader

T = TypeVar("T")


def read(app: App, question: Callable[[Reader], Awaitable[T]]) -> T:
    """Open the store, ask, and close it.

    Raises:
        StoreUnavailable: there is none yet, or it cannot be read.
        OSError: its folder is not for us.
    """

    async def ask() -> T:
        async with Reader.open(str(app.loaded().settings.store_path), SystemClock()) as reader:
            return await question(reader)

    return asyncio.run(ask())
