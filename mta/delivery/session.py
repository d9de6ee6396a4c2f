"""One connection to one address of a host: opening it, and one mail transaction after another (RFC 5321 §3).

What a host does becomes a `Verdict`; what follows from it, and which host is next, is left to others, and so is the
transaction itself. aiosmtplib is used here, in `talk`, `mishap` and `wire` only.
"""

import logging
import ssl
from asyncio import timeout
from dataclasses import dataclass, replace
from datetime import timedelta

from aiosmtplib import SMTPException, SMTPResponseException

from mta.clock import Clock
from mta.delivery import mishap
from mta.delivery.batch import Batch
from mta.delivery.contexts import Contexts
from mta.delivery.dial import Reached
from mta.delivery.esmtp import Offers
from mta.delivery.in_step import InStep
from mta.delivery.limits import Timeouts
from mta.delivery.proof import Judgement, judge
from mta.delivery.replies import told
from mta.delivery.talk import Talk
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_policy import Demand, Level
from mta.delivery.transaction import StillOurs, Transaction
from mta.delivery.verdict import CLOSING, Decision, Refused, Stage, Verdict, decide
from mta.delivery.wire import Client, Garbled, ImplicitTls
from mta.mail import failures
from mta.mail.outcome import TlsUse
from mta.mail.reply import Reply
from mta.queue.seams import Host, Letter

_log = logging.getLogger("mta.delivery")

_NO_MECHANISM = Reply.of(451, "4.7.0", "The relay offers neither AUTH PLAIN nor AUTH LOGIN")
_HURRY = 1.0
"""Seconds after its last reply in which a connection is surely not being closed for idleness."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all sessions of a transport share."""

    ehlo_name: str
    contexts: Contexts
    timeouts: Timeouts
    clock: Clock
    in_step: InStep


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one connection is opened for."""

    demand: Demand
    testing: bool = False
    """A policy in testing mode is taken seriously: the certificate is verified for it."""
    after: Verdict | None = None
    """What happened to TLS there before, a moment or some minutes ago, so that less is tried now."""


class Session:
    """A connection. Used by one task at a time."""

    def __init__(self, host: Host, reached: Reached, wanted: Wanted, terms: Terms) -> None:
        """Say nothing yet. The connection that was reached is this object's from here on."""
        self.host = host
        self.address = reached.address
        self.demand = wanted.demand
        """What it was opened for; once it is open, what it has proved."""
        self.used = 0
        """Transactions begun."""
        self.counted: set[str] = set()
        """The domains in whose reports it stands."""
        self.wanted = wanted
        self._terms = terms
        self._offers = Offers()
        self._starttls_offered = False
        self._tls: ssl.SSLObject | None = None
        self._judgement = Judgement()
        self._use: TlsUse | None = None
        self._greeted = False
        self._last = 0.0
        self._hurried = ""
        """The message that went out in one flight last."""
        self._talk = Talk(Client(reached.socket, terms.ehlo_name, terms.timeouts), terms.timeouts)

    @property
    def stage(self) -> Stage:
        """How far it got."""
        return self._talk.stage

    @property
    def dot_sent(self) -> bool:
        """Whether the current transaction is past its final dot."""
        return self._talk.dot_sent

    @property
    def is_encrypted(self) -> bool:
        """Whether there is TLS."""
        return self._tls is not None

    @property
    def tls_version(self) -> str:
        """As `ssl` names it; empty when there is no TLS."""
        return "" if self._tls is None else self._tls.version() or ""

    @property
    def will_notify(self) -> bool:
        """Whether the host takes the DSN parameters, and with them the duty to notify."""
        return self._offers.dsn

    @property
    def fit(self) -> bool:
        """Whether another transaction may begin: connected, and nothing was said out of turn."""
        return self._talk.fit

    def use(self, word: str) -> TlsUse | None:
        """Return the TLS that there is, under the policy that decided; None before the host said what it offers."""
        known = self._use
        # nothing of it changes from one transaction to the next
        if known is None or known.policy != word:
            known = self._use = self._used(word)
        return known

    def _used(self, word: str) -> TlsUse | None:
        if self._tls is None and not self._greeted:
            return None
        limit = self._offers.size
        words = {f"SIZE={limit}" if word == "SIZE" and limit else word for word in self._offers.keywords}
        offered = " ".join(sorted({*words, "STARTTLS"} if self._starttls_offered else words))
        if self._tls is None:
            after = self.wanted.after
            return TlsUse("", "", word, proof="" if after is None else after.reply.text, offered=offered)
        cipher = self._tls.cipher()
        verified, why = self._judgement.verified, self._judgement.why
        return TlsUse(self.tls_version, cipher[0] if cipher else "", word, verified, why, offered)

    async def open(self) -> None:
        """Hear the greeting, greet, secure, authenticate.

        Raises:
            Refused: something of that failed; the connection is gone.
        """
        try:
            await self._connect()
            await self._hello()
            await self._secure()
            if self.host.user is not None:
                await self._authenticate(self.host.user, self.host.password or "")
            if (said := self._talk.wire.out_of_turn) is not None:
                # else it would be taken for the answer to MAIL
                raise mishap.refused(Stage.EHLO, SMTPResponseException(said.code, said.message), timedelta(0))
        except BaseException:
            self.drop()
            raise
        self._last = self._terms.clock.monotonic()

    async def transact(self, letter: Letter, still_ours: StillOurs, *, requiretls: bool = False) -> Verdict:
        """Make one mail transaction. Afterwards the session may or may not be `fit`.

        `still_ours` is asked just before the last octets; when it says no, the connection is dropped.
        """
        self.used += 1
        transaction = Transaction(self._talk, self._offers, letter, still_ours)
        try:
            verdict = await transaction.run(requiretls=requiretls, hurry=self._may_hurry())
        except Refused as refused:
            self.drop()
            return refused.verdict
        except BaseException:
            self.drop()
            raise
        finally:
            self._last = self._terms.clock.monotonic()
            if transaction.in_one_flight:
                self._hurried = letter.message.id
        if transaction.in_step and self._offers.chunking and decide(verdict) is Decision.DELIVERED and self.fit:
            self._terms.in_step.prove(self.host, self.address)
            self._hurried = ""  # what went before was in step, too
        return verdict

    def _may_hurry(self) -> bool:
        """Whether a small message may go in the flight of its envelope, where the host takes that."""
        if not self._offers.chunking or self._terms.clock.monotonic() - self._last >= _HURRY:
            return False
        return self._terms.in_step.holds(self.host, self.address)

    async def transact_batch(
        self, letter: Letter, still_ours: StillOurs, *, requiretls: bool = False
    ) -> tuple[Verdict | None, ...]:
        """As `transact`, for several recipients: a verdict for each, None for those that are to be sent next."""
        self.used += 1
        batch = Batch(self._talk, self._offers, letter, still_ours, lmtp=self.host.lmtp)
        try:
            return await batch.run_all(requiretls=requiretls)
        except BaseException:
            self.drop()
            raise
        finally:
            self._last = self._terms.clock.monotonic()

    def farewell(self) -> None:
        """Say QUIT and close without waiting for the answer."""
        self._look_back()
        wire = self._talk.client.wire
        if wire is not None and wire.is_quiet:
            wire.send(b"QUIT")
        self._talk.client.close()

    async def leave(self, limit: timedelta) -> None:
        """Say QUIT, wait for the answer for a while, close (RFC 5321 §4.1.1.10)."""
        self._look_back()
        wire = self._talk.client.wire
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
        self._talk.drop()

    def _look_back(self) -> None:
        """See whether the host said more than it was asked for: then its replies are counted on no more.

        What was settled by them stays settled; the operator hears of the last that may have been settled wrongly.
        """
        wire = self._talk.client.wire
        said = None if wire is None else wire.out_of_turn
        if said is None or said.code == CLOSING:
            return
        self._terms.in_step.forget(self.host, self.address)
        if self._hurried:
            _log.warning(
                "%s [%s] said %d without being asked, after messages that went to it in one flight: the last of them, "
                "%s, may not have arrived; ask there whether it did. For an hour messages wait for its 354",
                self.host.name,
                self.address,
                said.code,
                self._hurried,
            )
            self._hurried = ""

    # opening

    async def _connect(self) -> None:
        client = self._talk.client
        try:
            if self.host.implicit_tls:
                client.implicit_tls = ImplicitTls(self._context(), self.demand.server_name)
            await client.connect()
        except (TimeoutError, SMTPException, Garbled, OSError) as error:
            raise mishap.refused(client.stage, error, client.limit) from error
        finally:
            self._talk.stage = client.stage
        if self.host.implicit_tls:
            self._take_stock(Stage.GREETING)

    async def _hello(self) -> None:
        client, limit = self._talk.client, self._terms.timeouts.command
        try:
            async with self._talk.step(Stage.EHLO, limit):
                await (client.lhlo() if self.host.lmtp else client.ehlo(timeout=None))
        except Refused as refused:
            # a host from before 1995, or a filter in front of one (RFC 5321 §3.2)
            remote = refused.verdict.remote and refused.verdict.reply.is_permanent
            if not (remote and client.is_connected) or self.host.lmtp:
                raise
            async with self._talk.step(Stage.EHLO, limit):
                await client.helo(timeout=None)
        self._offers = Offers.parse(client.esmtp_extensions, client.server_auth_methods)
        self._greeted = True

    async def _secure(self) -> None:
        if self._tls is None and self.demand.level > Level.NONE and self._may_encrypt():
            async with self._talk.step(Stage.STARTTLS, self._terms.timeouts.command):
                context, name = self._context(), self.demand.server_name
                await self._talk.client.starttls(
                    server_hostname=name, tls_context=context, validate_certs=False, timeout=None
                )
            self._take_stock(Stage.STARTTLS)
            # what was offered in the clear is forgotten (RFC 3207 §4.2)
            await self._hello()
        elif self._tls is None:
            self._starttls_offered = self._offers.starttls
        if self.demand.requiretls and not self._offers.requiretls:
            raise Refused(Verdict(Stage.EHLO, told(failures.NO_REQUIRETLS, self.host.name)))

    def _may_encrypt(self) -> bool:
        if self._offers.starttls:
            self._starttls_offered = True
            return True
        if self.demand.encrypted:
            reply = told(failures.TLS_NOT_OFFERED, self.host.name)
            raise Refused(Verdict(Stage.STARTTLS, reply, failure=TlsFailure.STARTTLS_NOT_SUPPORTED))
        return False

    def _context(self) -> ssl.SSLContext:
        return self._terms.contexts.of(self.host, self.demand, testing=self.wanted.testing)

    def _take_stock(self, stage: Stage) -> None:
        """The handshake is done: see what it is worth."""
        tls = self._talk.client.get_transport_info("ssl_object")
        # uvloop's object is its own, with the same methods
        self._tls = tls
        self._judgement = found = judge(tls, self.demand, self._terms.clock.now(), testing=self.wanted.testing)
        if found.failure is not None:
            reply = told(failures.TLS_FAILED, found.why)
            raise Refused(Verdict(stage, reply, failure=found.failure, failed=found.failed))
        met = self.demand.proven(found.name)
        # encrypted is encrypted, also where nobody asked for it
        self.demand = met if met.encrypted else replace(met, level=Level.ENCRYPT)

    async def _authenticate(self, user: str, password: str) -> None:
        client = self._talk.client
        async with self._talk.step(Stage.AUTH, self._terms.timeouts.command):
            if "plain" in self._offers.auth:
                await client.auth_plain(user, password, timeout=None)
            elif "login" in self._offers.auth:
                await client.auth_login(user, password, timeout=None)
            else:
                raise Refused(Verdict(Stage.AUTH, told(_NO_MECHANISM, self.host.name)))
