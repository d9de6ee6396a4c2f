"""One connection as questions, answers and time limits: what a conversation is made of.

Which questions are asked is left to `session` and `transaction`.
"""

from asyncio import timeout
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from aiosmtplib import SMTPException

from mta.delivery import mishap
from mta.delivery.limits import Timeouts
from mta.delivery.verdict import Stage
from mta.delivery.wire import Client, Garbled, Wire
from mta.mail.reply import Reply


class Talk:
    """What is being said."""

    def __init__(self, client: Client, limits: Timeouts) -> None:
        self.client = client
        self.limits = limits
        self.stage = Stage.CONNECT
        self.dot_sent = False
        """Whether the current transaction is past its final dot, or its last chunk."""
        self.unfinished = False
        """Whether the next transaction has to begin with RSET."""

    @property
    def wire(self) -> Wire:
        """The octets. There are none before the connection stands."""
        assert self.client.wire is not None  # noqa: S101  `open` came before
        return self.client.wire

    @property
    def fit(self) -> bool:
        """Whether another transaction may begin: connected, and nothing was said out of turn."""
        return self.client.wire is not None and self.client.wire.is_quiet

    async def reply(self, stage: Stage) -> Reply:
        """Return the next reply. Raises Refused."""
        self.stage = stage
        # the replies to one flight mostly come together: for those that are here, no clock is set
        said = self.wire.reply_at_hand()
        if said is None:
            limit = {Stage.DATA: self.limits.data, Stage.DOT: self.limits.final}.get(stage, self.limits.command)
            try:
                said = await self.wire.next_reply(limit.total_seconds())
            except (TimeoutError, SMTPException, Garbled, OSError) as error:
                raise mishap.refused(stage, error, limit) from error
        return mishap.heard(said)

    def say(self, stage: Stage, limit: timedelta, write: Callable[..., None], *octets: bytes) -> None:
        """As `step`, for what the wire writes without waiting; `limit` is that of what the host does with it."""
        self.stage = stage
        try:
            write(*octets)
        except (SMTPException, Garbled, OSError) as error:
            raise mishap.refused(stage, error, limit) from error

    @asynccontextmanager
    async def step(self, stage: Stage, limit: timedelta) -> AsyncIterator[None]:
        """Translate what goes wrong inside into `Refused`."""
        self.stage = stage
        try:
            async with timeout(limit.total_seconds()):
                yield
        except (TimeoutError, SMTPException, Garbled, OSError) as error:
            raise mishap.refused(stage, error, limit) from error

    def drop(self) -> None:
        """Close at once."""
        if self.client.wire is not None:
            self.client.wire.abort()
        self.client.close()
