"""The transport of the real world: one attempt is a walk over a site's hosts and their addresses until one answers for
the recipient. Each step is in a module of its own; which step follows is decided in `verdict`.
"""

import asyncio
import ipaddress
from datetime import timedelta

from mta.clock import Clock
from mta.delivery import guard
from mta.delivery.limits import Families, TransportSettings
from mta.delivery.pool import Pool
from mta.delivery.replies import told
from mta.delivery.resolver import DnsTrouble, NoSuchDomain, Resolver
from mta.delivery.session import Session, StillOurs, Terms, opportunistic_context
from mta.delivery.verdict import CLOSING, Decision, Refused, Stage, Verdict, decide
from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, Try
from mta.queue.seams import Host, Letter, Site


class SmtpTransport:
    """Hands letters over by SMTP."""

    def __init__(self, settings: TransportSettings, resolver: Resolver, clock: Clock) -> None:
        self._settings = settings
        self._resolver = resolver
        self._clock = clock
        self._pool = Pool[Session](settings.pool, clock)
        self._terms = Terms(settings.ehlo_name, settings.tls, opportunistic_context(), settings.timeouts)

    async def deliver(self, letter: Letter, site: Site, still_ours: StillOurs) -> Outcome:
        """Make one attempt: hosts in order until one answers for the recipient. Never raises for what a host does."""
        attempt = _Attempt(self, letter, still_ours)
        try:
            async with asyncio.timeout(self._settings.timeouts.attempt.total_seconds()) as deadline:
                return await attempt.run(site)
        except TimeoutError:
            if not deadline.expired():
                raise
            return attempt.out_of_time()

    async def tend(self) -> None:
        """End connections that have been idle for too long; runs until cancelled."""
        await self._pool.tend()

    async def close(self) -> None:
        """End idle connections with QUIT; those in use end when they come back."""
        await self._pool.close(self._settings.timeouts.quit)


class _Attempt:
    """One letter's walk. Finished after one run."""

    def __init__(self, transport: SmtpTransport, letter: Letter, still_ours: StillOurs) -> None:
        self._settings = transport._settings
        self._resolver = transport._resolver
        self._clock = transport._clock
        self._pool = transport._pool
        self._terms = transport._terms
        self._letter = letter
        self._still_ours = still_ours
        self._tries: list[Try] = []
        self._hopeless: dict[Host, str] = {}
        """Hosts that certainly have no address to use, and why: nothing will change by itself."""
        self._opened = 0
        self._session: Session | None = None
        self._began = 0.0

    async def run(self, site: Site) -> Outcome:
        met: set[Host] = set()
        for host in site.hosts:
            while (session := self._pool.take(host)) is not None:
                stale, outcome = await self._speak_again(session)
                if outcome is not None:
                    return outcome
                if not stale:
                    met.add(host)
                    break
        for host in site.hosts:
            if host in met:
                continue
            for address in await self._addresses(host):
                if self._opened >= self._settings.max_tries:
                    break
                outcome = await self._try(host, address)
                if outcome is not None:
                    return outcome
        return self._nobody_answered(site)

    def out_of_time(self) -> Outcome:
        """The deadline of the attempt has passed."""
        in_doubt = False
        reply = told(failures.ATTEMPT_TIMEOUT, f"{self._settings.timeouts.attempt.total_seconds():g} s in all")
        if self._session is not None:
            in_doubt = self._session.dot_sent
            self._note(self._session, Verdict(self._session.stage, reply))
        return Deferred(reply, tuple(self._tries), in_doubt)

    async def _speak_again(self, session: Session) -> tuple[bool, Outcome | None]:
        """Speak on a connection that was idle; the first result says whether it had ended in the meantime.

        A host may close an idle connection at any time. When that shows at MAIL, nothing has been tried yet.
        """
        self._began = self._clock.monotonic()
        verdict = await self._transact(session)
        gone = not verdict.remote and verdict.reply.is_transient
        if verdict.stage is Stage.MAIL and (gone or verdict.reply.code == CLOSING):
            return True, None
        return False, self._conclude(session, verdict)

    async def _try(self, host: Host, address: str) -> Outcome | None:
        session = await self._open(host, address)
        if session is None:
            return None
        return self._conclude(session, await self._transact(session))

    async def _open(self, host: Host, address: str) -> Session | None:
        """Return an open connection; when TLS fails and is not required, a second one without it (RFC 7435 §3)."""
        for plaintext in (False, True):
            await self._pool.reserve()
            self._opened += 1
            self._began = self._clock.monotonic()
            session = self._session = Session(host, address, self._terms, plaintext=plaintext)
            try:
                await session.open()
            except Refused as refused:
                self._pool.release()
                self._session = None
                self._note(session, refused.verdict)
                if session.tls_required or not refused.verdict.plaintext_may_work:
                    return None
            except BaseException:
                self._pool.release()
                raise
            else:
                return session
        return None

    async def _transact(self, session: Session) -> Verdict:
        self._session = session
        try:
            verdict = await session.transact(self._letter, self._still_ours)
        finally:
            # whatever ended it dropped the session, which then is not kept
            self._pool.give_back(session)
        self._session = None
        return verdict

    def _conclude(self, session: Session, verdict: Verdict) -> Outcome | None:
        """Return what a verdict means; None: ask the next host."""
        self._note(session, verdict)
        tries = tuple(self._tries)
        match decide(verdict):
            case Decision.DELIVERED:
                return Delivered(verdict.reply, tries, session.will_notify)
            case Decision.BOUNCED:
                return Bounced(verdict.reply, tries)
            case Decision.DEFERRED:
                return Deferred(verdict.reply, tries, verdict.in_doubt)
            case Decision.NEXT_HOST:
                return None

    async def _addresses(self, host: Host) -> tuple[str, ...]:
        """Return the addresses of a host that may be connected to; note why if there is none."""
        families = self._settings.families
        self._began = self._clock.monotonic()
        try:
            found = _literal(host) or await self._resolver.addresses(host.name, families)
        except NoSuchDomain:
            return self._unreachable(host, f"{host.name} does not exist", certain=True)
        except DnsTrouble as trouble:
            self._note_host(host, Verdict(Stage.CONNECT, told(failures.DNS_TROUBLE, str(trouble))))
            return ()
        if not found:
            # with one family switched off here, the lack is ours
            certain = families in (Families.AUTO, Families.DUAL)
            return self._unreachable(host, f"{host.name} has no address to use", certain=certain)
        if host.trusted:
            return found
        judged = [(address, guard.refusal(address, self._settings.allow_networks)) for address in found]
        usable = tuple(address for address, why in judged if why is None)
        if not usable:
            listed = ", ".join(f"{address} ({why})" for address, why in judged[:5])
            return self._unreachable(
                host, f"{host.name} has only addresses that mail is never sent to: {listed}", certain=True
            )
        return usable

    def _unreachable(self, host: Host, why: str, *, certain: bool) -> tuple[str, ...]:
        if certain:
            self._hopeless[host] = why
        self._note_host(host, Verdict(Stage.CONNECT, told(failures.NO_CONNECTION, why)))
        return ()

    def _nobody_answered(self, site: Site) -> Outcome:
        """All hosts were tried. What they refused was us, so that it is tried again, unless there is nobody at all.

        A relay that the operator named is never hopeless: mail waits until the name is mended.
        """
        tries = tuple(self._tries)
        if site.hosts and all(host in self._hopeless and not host.trusted for host in site.hosts):
            return Bounced(told(failures.NO_HOST, "; ".join(self._hopeless.values())), tries)
        spoken = next((one.reply for one in reversed(tries) if one.remote), None)
        return Deferred(spoken or (tries[-1].reply if tries else failures.NO_CONNECTION), tries)

    def _note(self, session: Session, verdict: Verdict) -> None:
        self._note_host(session.host, verdict, session)

    def _note_host(self, host: Host, verdict: Verdict, session: Session | None = None) -> None:
        took = timedelta(seconds=self._clock.monotonic() - self._began)
        address, tls = (session.address, session.tls) if session else ("", None)
        self._tries.append(
            Try(host.name, address, host.port, str(verdict.stage), verdict.reply, verdict.remote, tls, took)
        )


def _literal(host: Host) -> tuple[str, ...]:
    """Return the addresses of a relay that is named by its address, or lives on this machine."""
    if not host.trusted:
        return ()
    if host.name == "localhost":
        return ("127.0.0.1", "::1")  # RFC 6761 §6.3: not asked of DNS
    try:
        return (str(ipaddress.ip_address(host.name)),)
    except ValueError:
        return ()
