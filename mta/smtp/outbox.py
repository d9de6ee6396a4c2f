"""What is said to all clients in one turn of the loop, sent together behind it.

Whatever is sent to a client that waits wakes it, and it answers while the next one's reply is still being made: the
two sides then wake each other for every line. Sent together, a turn's replies wake their clients once, and their next
commands come together as well.
"""

import asyncio
from collections.abc import Callable


class Outbox:
    """One for all the connections of a door."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def post(self, send: Callable[[], None]) -> None:
        """Call this when all that is ready to run now has run. It must not raise."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(send)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for send in waiting:
            send()
