"""Says when the disk is too full to take more mail: before the database itself has to fail."""

import os

from mta.clock import Clock
from mta.errors import StoreFull

_EVERY = 1.0
"""Seconds that an answer is believed."""


class FreeSpace:
    """The part of a file system, blocks and inodes, that must stay free. Used from one thread only."""

    def __init__(self, folder: str, min_free: float, clock: Clock) -> None:
        self._folder = folder
        self._min_free = min_free
        self._clock = clock
        self._looked_at: float | None = None
        self._lack: str | None = None

    def require(self) -> None:
        """Look at the disk, at most once a second.

        Raises:
            StoreFull: less than the wanted part is free.
        """
        now = self._clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= _EVERY:
            self._looked_at, self._lack = now, self._look()
        if self._lack is not None:
            raise StoreFull(self._lack)

    def _look(self) -> str | None:
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            return f"{self._folder}: free space cannot be told: {error.strerror}"
        # some file systems have no fixed number of inodes and say 0
        for what, free, total in (("space", disk.f_bavail, disk.f_blocks), ("inodes", disk.f_favail, disk.f_files)):
            if total and free / total < self._min_free:
                return (
                    f"{self._folder}: {free / total:.1%} of {what} free, {self._min_free:.1%} wanted (queue.min_free)"
                )
        return None
