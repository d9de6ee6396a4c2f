"""A process that writes ordinary messages for a worker (`scribe`), beside which its event loop waits for no lock.

It gets groups of them over a pair of sockets. Each is one statement and one commit, and is answered by one octet. It
knows nothing of the rest of the worker, heeds no signal, and ends when the worker does or lets go of it.
"""

import signal
import socket
import sqlite3
import struct
import sys
from contextlib import closing

import msgspec
from msgspec import Struct

from mta.clock import SystemClock
from mta.storage.at_once import AtOnce
from mta.storage.connect import connect, folder_of, is_fatal, when_free
from mta.storage.ordinary import Acceptance, ordinary
from mta.storage.rows import delivery_params
from mta.storage.space import FreeSpace
from mta.storage.statements import Statements

READY = b"r"
WRITTEN = b"w"
REFUSED = b"n"
"""Nothing is written: the worker tries by itself, and hears why."""
DOUBTFUL = b"?"
"""Nobody knows; the process ends."""

LENGTH = struct.Struct(">I")
"""Stands before each group."""

_PATIENCE = 1.0
"""Seconds that a group waits for other processes; then the worker's own patience begins."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Group(Struct, frozen=True):
    """What is to be written together. Nothing of it is leased."""

    at: int
    """The worker's clock, in milliseconds since 1970."""
    wanted: list[Acceptance]


def main() -> None:
    """Serve one worker: a socket's number, the database file, and the part of the disk that must stay free."""
    # those of a terminal or a service's stop are meant for the worker too, which ends this when it is done
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    number, path, min_free = sys.argv[1:]
    try:
        with socket.socket(fileno=int(number)) as link:
            serve(link, path, float(min_free))
    except sqlite3.Error as error:
        sys.exit(f"{path}: {error}")
    except ConnectionError:
        pass  # the worker has gone, and needs no answer any more


def serve(link: socket.socket, path: str, min_free: float) -> None:
    """Write what comes until nothing more comes.

    Raises:
        sqlite3.Error: the file cannot be opened.
        ConnectionError: the worker is gone.
    """
    at_once, space = AtOnce(Statements.load()), FreeSpace(folder_of(path), min_free, SystemClock())
    decoder = msgspec.msgpack.Decoder(Group)
    with closing(at_once.ready(connect(path))) as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        link.sendall(READY)
        while (octets := _group(link)) is not None:
            answer = _write(connection, at_once, space, decoder, octets)
            link.sendall(answer)
            if answer == DOUBTFUL:
                return


def _write(
    connection: sqlite3.Connection,
    at_once: AtOnce,
    space: FreeSpace,
    decoder: "msgspec.msgpack.Decoder[Group]",
    octets: bytes,
) -> bytes:
    try:
        space.require()
        group = decoder.decode(octets)
        rows = [
            ordinary(one.new, one.events, delivery_params(one.new.message, one.new.deliveries[0], group.at))
            for one in group.wanted
        ]
        when_free(connection, *at_once.step(rows), patience=_PATIENCE)
    except Exception as error:
        return DOUBTFUL if isinstance(error, sqlite3.Error) and is_fatal(error) else REFUSED
    return WRITTEN


def _group(link: socket.socket) -> bytes | None:
    """Return the next group; None when there are no more."""
    head = _exactly(link, LENGTH.size)
    return None if head is None else _exactly(link, LENGTH.unpack(head)[0])


def _exactly(link: socket.socket, size: int) -> bytes | None:
    octets = bytearray(size)
    with memoryview(octets) as room:
        done = 0
        while done < size:
            came = link.recv_into(room[done:])
            if not came:
                return None
            done += came
    return bytes(octets)


if __name__ == "__main__":
    main()
