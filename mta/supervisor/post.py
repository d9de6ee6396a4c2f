"""What a worker is told when it is started: its place among the others, and the descriptors it was handed.

It travels as the value of an option that no user gives, so that `ps` shows which worker a process is.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_NAMES = ("lifeline", "lock", "submission", "inbound", "http")


@dataclass(frozen=True, slots=True)
class Post:
    """A worker's place. Descriptors are numbers: the sockets are made of them once, by `taken`."""

    number: int
    """From 1 to `of`; a worker that follows a dead one has its number."""
    of: int
    """How many workers there are."""
    lifeline: int
    """The worker's end of the line to its supervisor."""
    lock: int
    """The lock of `data_dir`: held by every worker too, so that no other server begins before the last has ended."""
    submission: tuple[int, ...] = ()
    """Listening sockets, in the order of the settings."""
    inbound: tuple[int, ...] = ()
    http: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"there is no worker {self.number} of {self.of}")

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that a worker inherits."""
        return (self.lifeline, self.lock, *self.submission, *self.inbound, *self.http)

    def dump(self) -> str:
        """Return it as the option's value: `2/4,lifeline=5,lock=6,submission=7+8,inbound=9,http=10`."""
        values = (
            (self.lifeline,),
            (self.lock,),
            self.submission,
            self.inbound,
            self.http,
        )
        parts = [f"{name}={'+'.join(map(str, value))}" for name, value in zip(_NAMES, values, strict=True)]
        return ",".join((f"{self.number}/{self.of}", *parts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the option's value.

        Raises:
            ValueError: it is none.
        """
        place, *parts = text.split(",")
        try:
            number, of = (int(each) for each in place.split("/"))
            named = dict(part.split("=") for part in parts)
            read = {name: tuple(int(each) for each in named[name].split("+") if each) for name in _NAMES}
            (lifeline,), (lock,) = read["lifeline"], read["lock"]
        except (ValueError, KeyError):
            raise ValueError(f"{text!r} is no worker's post: only the supervisor gives this option") from None
        return cls(number, of, lifeline, lock, read["submission"], read["inbound"], read["http"])

    def keep(self) -> None:
        """Keep what was handed over to this process alone: no program that it starts has it too.

        Raises:
            OSError: it was not handed over.
        """
        for descriptor in self.descriptors:
            os.set_inheritable(descriptor, False)


def taken(descriptors: Sequence[int]) -> tuple[socket.socket, ...]:
    """Return the sockets that were handed over; they are the caller's to close.

    Raises:
        OSError: one of them is no socket.
    """
    return tuple(socket.socket(fileno=descriptor) for descriptor in descriptors)


def worker_socket(data_dir: Path, number: int) -> Path:
    """Return where a worker's own control socket is. Its name is shorter than the server's: the path may be as long."""
    return data_dir / f"w{number}.sock"
