"""The line between supervisor and worker: a pair of sockets, a word a line, and an end of file when either is gone.

A worker says `serving SECONDS` when it takes mail, and again when the time that its stop may take has changed. The
supervisor says `stop`, then perhaps `now`. Signals would not do for that: a service manager that sends SIGTERM to all
processes at once, or Ctrl-C, would be taken for a second one, which means not to wait.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import StrEnum

_LONGEST = 1000
"""Octets of words that are read at once."""


class Order(StrEnum):
    """What a supervisor says."""

    STOP = "stop"
    """End in order."""
    NOW = "now"
    """Do not wait for what is under way."""


def serving(grace: timedelta) -> bytes:
    """Return what a worker says when it takes mail: how long its stop may take."""
    return f"serving {grace.total_seconds():.3f}\n".encode()


def grace_of(line: bytes) -> timedelta:
    """Read what a worker says.

    Raises:
        ValueError: it says nothing that makes sense.
    """
    word, _, seconds = line.decode("ascii").strip().partition(" ")
    if word != "serving":
        raise ValueError(f"a worker said {line!r}")
    return timedelta(seconds=float(seconds))


class Lifeline:
    """A worker's end."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def serving(self, grace: timedelta) -> None:
        """Say that this worker takes mail, and how long its stop may take."""
        # of a supervisor that is gone tells the end of file; one that stands still so long hears it another time
        with suppress(OSError):
            self._line.send(serving(grace))

    @contextmanager
    def heard(self, order: Callable[[Order], None], gone: Callable[[], None]) -> Iterator[None]:
        """Carry out orders while this is entered; `gone` is called once, when there is no supervisor any more."""
        loop = asyncio.get_running_loop()
        self._line.setblocking(False)

        def read() -> None:
            try:
                octets = self._line.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if not octets:
                loop.remove_reader(self._line)
                gone()
            for word in octets.decode("ascii", "replace").split():
                if word in tuple(Order):
                    order(Order(word))

        loop.add_reader(self._line, read)
        try:
            yield
        finally:
            loop.remove_reader(self._line)
