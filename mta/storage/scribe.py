"""Has ordinary messages written by a process of its own while nothing else is to be written.

Many clients that submit at once keep the event loop busy, and a thread that writes beside it takes the interpreter's
lock from it several times a group: a third of all its time is waiting. A process (`scribe_main`) takes no lock of ours.
But two writers of one file wait for each other, and commit apart what could be committed together. So it gets messages
that need nothing but to be written, and are not attempted at once; and only while nothing else was written for a
moment. In all other cases, and whenever it fails, the writer does it.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from mta.clock import Clock
from mta.errors import StoreInDoubt
from mta.queue.store import Accepted
from mta.storage.bulk import MOST
from mta.storage.ordinary import Acceptance, is_simple
from mta.storage.rows import to_ms
from mta.storage.scribe_main import DOUBTFUL, LENGTH, READY, WRITTEN, Group
from mta.storage.writer import Writer

_QUIET = 0.05
"""Seconds since the writer had anything else to do."""
_MOST_WAITING = 1000
_PATIENCE = 10.0
"""Seconds in which it must have ended, when it is to end."""
_REST = 60.0
"""Seconds before another process is begun after one that failed."""

_Job = tuple[Acceptance, "asyncio.Future[bool]"]

_log = logging.getLogger("mta.storage")


class Scribe(asyncio.Protocol):
    """One worker's. Used on its event loop alone."""

    def __init__(
        self,
        writer: Writer,
        path: str,
        min_free: float,
        clock: Clock,
        on_commit: Callable[[int, float], None],
        command: Sequence[str],
    ) -> None:
        """`command` begins the process, but for what it is told."""
        self._writer = writer
        self._told = (path, str(min_free))
        self._clock = clock
        self._on_commit = on_commit
        self._command = command
        self._encoder = msgspec.msgpack.Encoder()
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Job] = []
        self._at_work: list[_Job] = []
        self._began = 0.0
        self._life: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._rests_until = 0.0
        self._transport: asyncio.Transport | None = None
        self._link: asyncio.Transport | None = None
        """None: it is not ready."""
        self._is_closed = False

    def takes(self, wanted: Acceptance) -> bool:
        """Return whether a message is for `write`."""
        if self._is_closed or wanted.lease or self._writer.has_other_work(_QUIET) or not is_simple(wanted):
            return False
        if self._link is None:
            if self._loop.time() >= self._rests_until:
                self.begin()
            return False
        return len(self._waiting) < _MOST_WAITING

    def begin(self) -> None:
        """Begin the process, unless there is one. Nobody waits for it."""
        if self._life is None and not self._is_closed:
            self._life = self._loop.create_task(self._live())

    async def write(self, wanted: Acceptance) -> Accepted | None:
        """Return what was accepted once it is on stable storage; None: nothing is written, and the writer may try.

        Raises:
            StoreInDoubt: nobody knows whether it is written.
        """
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append((wanted, answer))
        if len(self._waiting) == 1 and not self._at_work:
            # what others hand in in this turn of the loop goes along
            self._loop.call_soon(self._pass_on)
        return _accepted(wanted) if await answer else None

    async def close(self) -> None:
        """Finish what is under way, and end the process."""
        self._is_closed = True
        self._end_if_done()
        if self._life is None:
            return
        await asyncio.wait([self._life], timeout=_PATIENCE)
        if self._process is not None and self._life is not None:
            _log.warning("the process that helps to write messages does not end, and is killed")
            self._process.kill()
            await asyncio.wait([self._life])

    # --- the process

    async def _live(self) -> None:
        """Begin the process, and wait for its end."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                number = theirs.fileno()
                self._process = process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(number),
                    *self._told,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(number,),
                )
            await self._loop.create_unix_connection(lambda: self, sock=ours)
            self._end_if_done()
            code = await process.wait()
        except OSError as error:
            ours.close()
            _log.warning("the process that helps to write messages cannot be begun: %s", error)
            self._rests_until = self._loop.time() + _REST
        else:
            if not self._is_closed:
                _log.warning("the process that helps to write messages ended with code %d", code)
                self._rests_until = self._loop.time() + _REST
        finally:
            self._life = self._process = None

    def _end_if_done(self) -> None:
        """Let the process go once this is closed, and it has written what it has got."""
        if self._is_closed and self._transport is not None and not self._at_work and not self._waiting:
            self._transport.close()

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is being begun; when it is ready, it says so."""
        # uvloop's are registered nowhere as what they are
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """It answers."""
        for number in range(len(data)):
            self._hear(data[number : number + 1])

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended: what it was at may be written."""
        self._link = self._transport = None
        at_work, self._at_work = self._at_work, []
        waiting, self._waiting = self._waiting, []
        for wanted, answer in at_work:
            if not answer.done():
                answer.set_exception(
                    StoreInDoubt(f"{self._told[0]}: the process that helps to write ended", _accepted(wanted))
                )
        _tell(waiting, written=False)

    # --- its work

    def _hear(self, said: bytes) -> None:
        if said == READY:
            self._link = self._transport
            return
        if said == DOUBTFUL:
            self._rests_until = self._loop.time() + _REST
            return  # it ends by itself, which leaves what it was at in doubt
        done, self._at_work = self._at_work, []
        self._pass_on()
        _tell(done, written=said == WRITTEN)
        self._end_if_done()
        if said == WRITTEN:
            self._on_commit(len(done), self._clock.monotonic() - self._began)
        return

    def _pass_on(self) -> None:
        if not self._waiting or self._at_work or self._link is None:
            return
        some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            octets = self._encoder.encode(Group(to_ms(self._clock.now()), [wanted for wanted, _ in some]))
        except (ValueError, TypeError, OverflowError):
            # a text or number that cannot be packed; the writer finds out whose it is
            _tell(some, written=False)
            self._loop.call_soon(self._pass_on)
            return
        self._at_work = some
        self._began = self._clock.monotonic()
        self._link.writelines([LENGTH.pack(len(octets)), octets])


def _tell(some: Sequence[_Job], *, written: bool) -> None:
    for _, answer in some:
        # a caller that was cancelled does not wait any more
        if not answer.done():
            answer.set_result(written)


def _accepted(wanted: Acceptance) -> Accepted:
    return Accepted(wanted.new.message.id, (), tuple(wanted.events))
