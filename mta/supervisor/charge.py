"""What a supervisor is begun with: everything has been checked, opened and locked for it by the `mta serve` it was."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from mta.observe.log import Level, Setting
from mta.supervisor.crew import Begin, Berth
from mta.supervisor.post import Post
from mta.supervisor.process import worker_command


@dataclass(frozen=True, slots=True)
class Charge:
    """What it is to run. Descriptors are numbers, of an open lock and of listening sockets."""

    config: str
    """The configuration file, which the workers read."""
    workers: int
    hostname: str
    data_dir: str
    log_level: Level
    log_format: Setting
    lock: int
    submission: tuple[int, ...]
    inbound: tuple[int, ...]
    http: tuple[int, ...]
    plain_asyncio: bool = False

    @property
    def listeners(self) -> tuple[int, ...]:
        """All listening sockets."""
        return (*self.submission, *self.inbound, *self.http)

    @property
    def folder(self) -> Path:
        """Where the control sockets are."""
        return Path(self.data_dir)

    def dump(self) -> str:
        """Return it as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the argument.

        Raises:
            ValueError: it is none.
        """
        try:
            read = json.loads(text)
            for name in ("submission", "inbound", "http"):
                read[name] = tuple(int(each) for each in read[name])
            return cls(**read)
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{text[:100]!r} is no supervisor's charge: only mta serve gives it") from None

    def begin(self, berth: Berth) -> Begin:
        """Return how the worker of a berth is begun."""
        post = Post(berth.number, self.workers, berth.lifeline, self.lock, self.submission, self.inbound, self.http)
        options = ("--asyncio",) if self.plain_asyncio else ()
        return Begin(worker_command(self.config, (*options, "--worker", post.dump())), post.descriptors)

    def take_over(self) -> None:
        """Keep what was handed over to this process: a worker gets it by name, no other program does.

        Raises:
            OSError: it was not handed over.
        """
        for descriptor in (self.lock, *self.listeners):
            os.set_inheritable(descriptor, False)

    def stop_listening(self) -> None:
        """Close this process's hold on the listeners; a port is free when all workers have closed it, too."""
        for descriptor in self.listeners:
            os.close(descriptor)


def arguments(charge: Charge, command: Sequence[str]) -> list[str]:
    """Return the arguments of the program that takes a charge, with Python's own command line before it."""
    return [*command, "-m", "mta.supervisor", charge.dump()]
