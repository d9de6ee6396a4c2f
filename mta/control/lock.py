"""One server for one `data_dir`: a second would take the first one's control socket away. The kernel ends the lock with
the process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mta.errors import ConfigError, Problem


@contextmanager
def only_server(folder: Path) -> Iterator[int]:
    """Be the only server of a folder. Gives the lock's descriptor: a process that inherits it keeps the lock, too.

    Raises:
        ConfigError: another process is.
    """
    descriptor = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(_problem(folder, os.read(descriptor, 20).decode("ascii", "replace").strip())) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        yield descriptor
    finally:
        os.close(descriptor)


def _problem(folder: Path, pid: str) -> Problem:
    return Problem(
        file="",
        line=None,
        key="data_dir",
        reason=f"another mta already serves from {folder}" + (f" (process {pid})" if pid else ""),
        remedy="stop that one first, or give this one a data_dir of its own",
    )
