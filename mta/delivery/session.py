"""One connection to one address of a host: opening it, and one mail transaction after another (RFC 5321 §3).

What a host does becomes a `Verdict`; what follows from it, and which host is next, is left to others. aiosmtplib is
used here and in `wire` only.
"""

import os
import ssl
from asyncio import timeout
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from mta.delivery.content import Shape, blocks
from mta.delivery.esmtp import Offers, mail_command, rcpt_command
from mta.delivery.limits import Timeouts, TlsPolicy
from mta.delivery.replies import told
from mta.delivery.verdict import CLOSING, Refused, Stage, Verdict
from mta.delivery.wire import Client, Garbled, Injected, Wire
from mta.mail import failures
from mta.mail.outcome import TlsUse
from mta.mail.reply import Reply
from mta.queue.seams import Host, Letter

StillOurs = Callable[[], Awaitable[bool]]

_NO_MECHANISM = Reply.of(451, "4.7.0", "The relay offers neither AUTH PLAIN nor AUTH LOGIN")


def opportunistic_context() -> ssl.SSLContext:
    """Return a TLS context that verifies nothing: it keeps out who only listens, and the alternative is plaintext."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Terms:
    """What all sessions of a transport share."""

    ehlo_name: str
    tls: TlsPolicy
    context: ssl.SSLContext
    timeouts: Timeouts


class Session:
    """A connection. Used by one task at a time."""

    def __init__(self, host: Host, address: str, terms: Terms, *, plaintext: bool = False) -> None:
        """Open nothing yet. With `plaintext`, STARTTLS is passed over, for it failed there a moment ago."""
        self.host = host
        self.address = address
        self.tls: TlsUse | None = None
        self.used = 0
        """Transactions begun."""
        self.dot_sent = False
        """Whether the current transaction is past its final dot."""
        self.stage = Stage.CONNECT
        self._terms = terms
        self._plaintext = plaintext
        self._offers = Offers()
        self._unfinished = False
        context = terms.context if host.implicit_tls else None
        self._client = Client(address, host.port, host.name, terms.ehlo_name, context, terms.timeouts)

    @property
    def tls_required(self) -> bool:
        """Whether there is no mail without TLS."""
        return self.host.require_tls or self._terms.tls is TlsPolicy.REQUIRE

    @property
    def will_notify(self) -> bool:
        """Whether the host takes the DSN parameters, and with them the duty to notify."""
        return self._offers.dsn

    @property
    def fit(self) -> bool:
        """Whether another transaction may begin: connected, and nothing was said out of turn."""
        return self._client.wire is not None and self._client.wire.is_quiet

    async def open(self) -> None:
        """Connect, greet, secure, authenticate.

        Raises:
            Refused: something of that failed; the connection is gone.
        """
        try:
            await self._connect()
            await self._hello()
            await self._secure()
            if self.host.user is not None:
                await self._authenticate(self.host.user, self.host.password or "")
            if (said := self._wire.out_of_turn) is not None:
                # else it would be taken for the answer to MAIL
                raise _refused(Stage.EHLO, SMTPResponseException(said.code, said.message), timedelta(0))
        except BaseException:
            self.drop()
            raise

    async def transact(self, letter: Letter, still_ours: StillOurs) -> Verdict:
        """Make one mail transaction. Afterwards the session may or may not be `fit`.

        `still_ours` is asked just before the final dot; when it says no, the connection is dropped.
        """
        self.used += 1
        self.dot_sent = False
        self.stage = Stage.MAIL
        shape = Shape.of(letter)
        if objection := self._offers.objection(shape):
            return Verdict(Stage.MAIL, objection)
        commands = (mail_command(letter, shape, self._offers), rcpt_command(letter.recipient, self._offers), b"DATA")
        try:
            refusal = await (self._pipelined(commands) if self._offers.pipelining else self._stepwise(commands))
            return refusal or await self._content(letter, still_ours)
        except Refused as refused:
            self.drop()
            return refused.verdict
        except BaseException:
            self.drop()
            raise

    def farewell(self) -> None:
        """Say QUIT and close without waiting for the answer."""
        wire = self._client.wire
        if wire is not None and wire.is_quiet:
            wire.send(b"QUIT")
        self._client.close()

    async def leave(self, limit: timedelta) -> None:
        """Say QUIT, wait for the answer for a while, close (RFC 5321 §4.1.1.10)."""
        wire = self._client.wire
        try:
            if wire is not None and wire.is_quiet:
                async with timeout(limit.total_seconds()):
                    await wire.execute_command(b"QUIT")
        except (OSError, SMTPException, Garbled):
            pass  # nothing of ours depends on it
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        if self._client.wire is not None:
            self._client.wire.abort()
        self._client.close()

    # opening

    async def _connect(self) -> None:
        try:
            await self._client.connect()
        except (TimeoutError, SMTPException, Garbled, OSError) as error:
            raise _refused(self._client.stage, error, self._client.limit) from error
        finally:
            self.stage = self._client.stage
        if self.host.implicit_tls:
            self.tls = self._tls_use()

    async def _hello(self) -> None:
        client, limit = self._client, self._terms.timeouts.command
        try:
            async with self._step(Stage.EHLO, limit):
                await client.ehlo(timeout=None)
        except Refused as refused:
            # a host from before 1995, or a filter in front of one (RFC 5321 §3.2)
            if not (refused.verdict.remote and refused.verdict.reply.is_permanent and client.is_connected):
                raise
            async with self._step(Stage.EHLO, limit):
                await client.helo(timeout=None)
        self._offers = Offers.parse(client.esmtp_extensions, client.server_auth_methods)

    async def _secure(self) -> None:
        if self.tls is not None:
            return
        if not self._offers.starttls:
            if self.tls_required:
                raise Refused(Verdict(Stage.STARTTLS, told(failures.TLS_NOT_OFFERED, self.host.name)))
            return
        if self._plaintext and not self.tls_required:
            return
        async with self._step(Stage.STARTTLS, self._terms.timeouts.command):
            await self._client.starttls(
                server_hostname=self.host.name, tls_context=self._terms.context, validate_certs=False, timeout=None
            )
        self.tls = self._tls_use()
        # what was offered in the clear is forgotten (RFC 3207 §4.2)
        await self._hello()

    async def _authenticate(self, user: str, password: str) -> None:
        async with self._step(Stage.AUTH, self._terms.timeouts.command):
            if "plain" in self._offers.auth:
                await self._client.auth_plain(user, password, timeout=None)
            elif "login" in self._offers.auth:
                await self._client.auth_login(user, password, timeout=None)
            else:
                raise Refused(Verdict(Stage.AUTH, told(_NO_MECHANISM, self.host.name)))

    def _tls_use(self) -> TlsUse | None:
        session = self._client.get_transport_info("ssl_object") if self._client.is_connected else None
        if not isinstance(session, ssl.SSLObject):
            return None
        cipher = session.cipher()
        policy = TlsPolicy.REQUIRE if self.tls_required else TlsPolicy.OPPORTUNISTIC
        return TlsUse(session.version() or "", cipher[0] if cipher else "", policy)

    # one transaction; each step returns None to go on, or the verdict that ends it

    async def _pipelined(self, commands: tuple[bytes, bytes, bytes]) -> Verdict | None:
        """MAIL, RCPT and DATA in one flight (RFC 2920 §3.1). The first refusal counts, all replies are read."""
        first = (b"RSET",) if self._unfinished else ()
        async with self._step(Stage.MAIL, self._terms.timeouts.command):
            self._wire.send(*first, *commands)
        if first:
            await self._heard_reset()
        refusal: Verdict | None = None
        for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA):
            try:
                reply = await self._reply(stage)
            except Refused:
                if refusal is None:
                    raise
                self.drop()
                return refusal
            refusal = refusal or _refusal(stage, reply)
            if reply.code == CLOSING:
                self.drop()
                return refusal
        if refusal is not None:
            await self._undo(refusal, reply)
        return refusal

    async def _undo(self, refusal: Verdict, to_data: Reply) -> None:
        """After a refusal, make the session fit for the next transaction, or drop it."""
        self._unfinished = True
        if not refusal.remote:
            self.drop()  # replies and commands may no longer match
        elif to_data.code // 100 == 3:
            # it wants content for nobody: an empty message, whatever it says to it (RFC 2920 §3.1)
            try:
                async with self._step(Stage.DATA, self._terms.timeouts.command):
                    self._wire.send_dot()
                await self._reply(Stage.DATA)
                self._unfinished = False
            except Refused:
                self.drop()

    async def _stepwise(self, commands: tuple[bytes, bytes, bytes]) -> Verdict | None:
        if self._unfinished:
            async with self._step(Stage.MAIL, self._terms.timeouts.command):
                self._wire.send(b"RSET")
            await self._heard_reset()
        for stage, command in zip((Stage.MAIL, Stage.RCPT, Stage.DATA), commands, strict=True):
            async with self._step(stage, self._terms.timeouts.command):
                self._wire.send(command)
            reply = await self._reply(stage)
            refusal = _refusal(stage, reply)
            if refusal is not None:
                self._unfinished = True
                if reply.code == CLOSING or not refusal.remote:
                    self.drop()
                return refusal
        return None

    async def _heard_reset(self) -> None:
        reply = await self._reply(Stage.MAIL)
        if not reply.code // 100 == 2:
            # it says so before MAIL: to the caller this connection is as good as lost
            raise Refused(Verdict(Stage.MAIL, told(failures.PROTOCOL_ERROR, f"RSET was refused: {reply}")))
        self._unfinished = False

    async def _content(self, letter: Letter, still_ours: StillOurs) -> Verdict:
        """Send the content, piece by piece, and the dot. From here on nothing but the reply to the dot is success."""
        try:
            for block in blocks(letter):
                async with self._step(Stage.DATA, self._terms.timeouts.block):
                    await self._wire.send_block(block)
                if (early := self._interruption()) is not None:
                    return early
        except Refused:
            # a host that does not want the rest says so and closes: its word explains more than the loss
            if (early := self._interruption()) is not None:
                return early
            raise
        if not await still_ours():
            self.drop()
            return Verdict(Stage.DOT, failures.LEASE_LOST)
        if (early := self._interruption()) is not None:
            return early
        async with self._step(Stage.DOT, self._terms.timeouts.final):
            self._wire.send_dot()
            self.dot_sent = True
        try:
            reply = await self._reply(Stage.DOT)
        except Refused as refused:
            raise Refused(replace(refused.verdict, in_doubt=True)) from refused
        self._unfinished = False
        return self._answer_to_dot(reply)

    def _answer_to_dot(self, reply: Reply) -> Verdict:
        if reply.code // 100 == 3:
            self.drop()
            return Verdict(Stage.DOT, told(failures.PROTOCOL_ERROR, f"the dot was answered {reply}"), in_doubt=True)
        if reply.code == CLOSING:
            self.drop()
        return Verdict(Stage.DOT, reply, remote=True)

    def _interruption(self) -> Verdict | None:
        said = self._wire.out_of_turn
        if said is None:
            return None
        self.drop()
        return _refusal(Stage.DATA, _reply(said)) or Verdict(Stage.DATA, told(failures.PROTOCOL_ERROR, str(said.code)))

    # the wire

    @property
    def _wire(self) -> Wire:
        assert self._client.wire is not None  # noqa: S101  `open` came before
        return self._client.wire

    async def _reply(self, stage: Stage) -> Reply:
        limits = self._terms.timeouts
        limit = {Stage.DATA: limits.data, Stage.DOT: limits.final}.get(stage, limits.command)
        async with self._step(stage, limit):
            return _reply(await self._wire.read_response())

    @asynccontextmanager
    async def _step(self, stage: Stage, limit: timedelta) -> AsyncIterator[None]:
        """Translate what goes wrong inside into `Refused`."""
        self.stage = stage
        try:
            async with timeout(limit.total_seconds()):
                yield
        except (TimeoutError, SMTPException, Garbled, OSError) as error:
            raise _refused(stage, error, limit) from error


def _reply(said: SMTPResponse) -> Reply:
    return Reply.parse(said.code, said.message.split("\n"))


def _refusal(stage: Stage, reply: Reply) -> Verdict | None:
    """Return None for the reply that lets a transaction go on."""
    if reply.code // 100 == (3 if stage is Stage.DATA else 2):
        return None
    if reply.is_positive:
        return Verdict(stage, told(failures.PROTOCOL_ERROR, f"{stage.upper()} was answered {reply}"))
    return Verdict(stage, reply, remote=True)


def _refused(stage: Stage, error: Exception, limit: timedelta) -> Refused:
    """Say in our words what went wrong at a stage; keep the host's own words where there are some."""
    plaintext_may_work = stage is Stage.STARTTLS and not isinstance(error, Injected)
    remote = False
    match error:
        case SMTPResponseException(code=code, message=message) if 400 <= code <= 599:
            reply, remote = Reply.parse(code, message.split("\n")), True
        case SMTPResponseException(code=code, message=message):
            reply = told(failures.PROTOCOL_ERROR, f"{stage.upper()} was answered {code} {message}")
        case TimeoutError():
            known = failures.NO_CONNECTION if stage is Stage.CONNECT else failures.HOST_TIMEOUT
            reply = told(known, f"waited {limit.total_seconds():g} s ({stage})")
        case Garbled():
            reply = told(failures.PROTOCOL_ERROR, str(error))
        case ssl.SSLError():
            reply = told(failures.TLS_FAILED, error.reason or str(error))
        case _ if stage is Stage.CONNECT:
            reply = told(failures.NO_CONNECTION, _why(error))
        case _ if stage is Stage.STARTTLS:
            reply = told(failures.TLS_FAILED, _why(error) or "connection lost")
        case _:
            reply = told(failures.CONNECTION_LOST, _why(error))
    return Refused(Verdict(stage, reply, remote, plaintext_may_work=plaintext_may_work))


def _why(error: BaseException) -> str:
    """Return the system's words for what went wrong, such as "Connection refused"."""
    cause = error.__cause__ if isinstance(error, SMTPException) and error.__cause__ else error
    return os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
