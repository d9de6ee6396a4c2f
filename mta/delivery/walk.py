"""One letter's walk over a site's hosts and their addresses, until one answers for the recipient; and that of a batch,
until all are answered for. Each step is in a module of its own; which step follows is decided in `verdict`, what a host
must prove in `policies`.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

from mta.clock import Clock
from mta.delivery import mishap
from mta.delivery.addresses import Addresses
from mta.delivery.dial import Dialled, Patience, Reached, dial, dial_socket
from mta.delivery.limits import TransportSettings
from mta.delivery.policies import Case, HostPolicies
from mta.delivery.pool import Pool
from mta.delivery.replies import told
from mta.delivery.session import Session, Terms, Wanted
from mta.delivery.shaky import Shaky
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_ledger import TlsLedger
from mta.delivery.tls_policy import Demand, Skipped
from mta.delivery.transaction import StillOurs
from mta.delivery.verdict import CLOSING, Decision, Refused, Stage, Verdict, decide, is_requiretls
from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, TlsUse, Try
from mta.mail.reply import Reply
from mta.queue.seams import Host, Letter, Site

_WAYS = 3
"""Connections to one address: verified for a policy in testing mode, unverified, in plaintext."""
_MAX_COUNTED = 1000
"""Domains whose reports one connection stands in; one that lives on carries few more."""
_CERTIFICATE = frozenset(
    {
        TlsFailure.CERTIFICATE_EXPIRED,
        TlsFailure.CERTIFICATE_HOST_MISMATCH,
        TlsFailure.CERTIFICATE_NOT_TRUSTED,
    }
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the walks of a transport share."""

    settings: TransportSettings
    clock: Clock
    addresses: Addresses
    policies: HostPolicies
    pool: Pool[Session]
    terms: Terms
    patience: Patience
    shaky: Shaky
    ledger: TlsLedger
    is_about_us: Callable[[Reply], bool]


class Walk:
    """One letter's walk. Finished after one run."""

    def __init__(self, tools: Tools, letter: Letter, still_ours: StillOurs) -> None:
        self._tools = tools
        self._letter = letter
        self._still_ours = still_ours
        self._tries: list[Try] = []
        self._hopeless: dict[Host, str] = {}
        """Hosts that certainly have no address to use, and why: nothing will change by itself."""
        self._opened = 0
        self._session: Session | None = None
        self._word = ""
        self._began = 0.0

    async def run(self, site: Site) -> Outcome:
        outcome = await self._walk(site.hosts)
        if site.fallback and (outcome is None or self._is_about_us(outcome)):
            outcome = await self._walk(site.fallback) or outcome
        return outcome or self._nobody_answered(site)

    async def _walk(self, hosts: tuple[Host, ...]) -> Outcome | None:
        """Ask hosts in order; None: none of them answered for the recipient."""
        met: set[Host] = set()
        cases: dict[Host, Case] = {}
        for host in hosts:
            if not self._tools.pool.has(host):
                continue
            case = cases[host] = await self._tools.policies.of(host, self._letter)
            if isinstance(case.demand, Skipped):
                continue
            while (session := self._lent(host, case.demand)) is not None:
                stale, outcome = await self._speak_again(session, case)
                if outcome is not None:
                    return outcome
                if not stale:
                    met.add(host)
                    break
        for host in hosts:
            if host not in met:
                outcome = await self._ask(host, cases.get(host) or await self._tools.policies.of(host, self._letter))
                if outcome is not None:
                    return outcome
        return None

    def out_of_time(self) -> Outcome:
        """The deadline of the attempt has passed."""
        in_doubt = False
        reply = told(failures.ATTEMPT_TIMEOUT, f"{self._tools.settings.timeouts.attempt.total_seconds():g} s in all")
        if self._session is not None:
            in_doubt = self._session.dot_sent
            self._note(self._session, Verdict(self._session.stage, reply))
        return Deferred(reply, tuple(self._tries), in_doubt)

    # on a connection that stands

    def _lent(self, host: Host, demand: Demand) -> Session | None:
        return self._tools.pool.take(host, lambda session: session.demand.covers(demand))

    async def _speak_again(self, session: Session, case: Case) -> tuple[bool, Outcome | None]:
        """Speak on a connection that was idle; the first result says whether it had ended in the meantime.

        A host may close an idle connection at any time. When that shows at MAIL, nothing has been tried yet.
        """
        self._began = self._tools.clock.monotonic()
        verdict = await self._transact(session, case)
        gone = not verdict.remote and verdict.reply.is_transient and not verdict.in_doubt
        if verdict.stage is Stage.MAIL and (gone or verdict.reply.code == CLOSING):
            return True, None
        return False, self._conclude(session, verdict)

    async def _transact(self, session: Session, case: Case) -> Verdict:
        assert isinstance(case.demand, Demand)  # noqa: S101  a host that must be skipped has no session
        self._session = session
        self._word = case.demand.word
        self._count(session, case)
        try:
            verdict = await self._say(session, requiretls=case.demand.requiretls)
        finally:
            # whatever ended it dropped the session, which then is not kept
            self._tools.pool.give_back(session)
        self._session = None
        return verdict

    def _say(self, session: Session, *, requiretls: bool) -> Coroutine[None, None, Verdict]:
        return session.transact(self._letter, self._still_ours, requiretls=requiretls)

    def _count(self, session: Session, case: Case) -> None:
        """One connection counts once for each domain whose mail it carries."""
        if case.domain in session.counted or len(session.counted) >= _MAX_COUNTED:
            return
        session.counted.add(case.domain)
        ledger, host, address = self._tools.ledger, session.host.name, session.address
        if session.wanted.after is not None:
            ledger.failed(case, host, address, session.wanted.after)
        elif not session.is_encrypted:
            reply, failure = failures.TLS_NOT_OFFERED, TlsFailure.STARTTLS_NOT_SUPPORTED
            ledger.failed(case, host, address, Verdict(Stage.STARTTLS, reply, failure=failure))
        else:
            ledger.met(case, host, address)

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

    # on a new one

    async def _ask(self, host: Host, case: Case) -> Outcome | None:
        """Try the addresses of a host until one answers for the recipient."""
        self._began = self._tools.clock.monotonic()
        if isinstance(case.demand, Skipped):
            self._word = case.demand.word
            self._tools.ledger.skipped(case, host.name)
            verdict = Verdict(Stage.CONNECT, told(failures.TLS_POLICY, case.demand.why), unfit=case.demand.for_good)
            self._note_host(host, verdict, TlsUse("", "", str(self._word)))
            return None
        self._word = case.demand.word
        found = await self._tools.addresses.of(host)
        if not found.usable:
            if found.is_certain:
                self._hopeless[host] = found.why
            self._note_host(host, Verdict(Stage.CONNECT, found.reply))
            return None
        left = list(found.usable)
        while left and self._opened < self._tools.settings.max_tries:
            session = await self._open(host, left, case, case.demand)
            if session is not None:
                outcome = self._conclude(session, await self._transact(session, case))
                if outcome is not None:
                    return outcome
        return None

    async def _open(self, host: Host, left: list[str], case: Case, demand: Demand) -> Session | None:
        """Return an open connection to the first address that answers, and take what was tried from the list.

        When TLS fails there and is not demanded, a second connection goes without (RFC 7435 §3); when a certificate
        fails that only a policy in testing mode wants, with an unverified one (RFC 8461 §5).
        """
        places = list(left)
        failed: Verdict | None = None
        plain = False
        for _ in range(_WAYS):
            dialled = await self._dial(host, places)
            gone = {missed.address for missed in dialled.missed}
            if dialled.reached is not None:
                gone.add(dialled.reached.address)
            left[:] = [one for one in left if one not in gone]
            if dialled.reached is None:
                return None
            address = dialled.reached.address
            places = [address]
            wanted = self._wanted(host, address, demand, failed, plain=plain)
            session, verdict = await self._speak_to(host, dialled.reached, wanted)
            if session is not None:
                if failed is not None:
                    self._tools.shaky.remember(host, address, failed, testing=not plain)
                    session.counted.add(case.domain)
                return session
            assert verdict is not None  # noqa: S101  either a session or why not
            self._tools.ledger.failed(case, host.name, address, verdict)
            only_tested = wanted.testing and verdict.failure in _CERTIFICATE
            plain = not only_tested and verdict.plaintext_may_work and wanted.demand.plaintext_fallback
            if not (only_tested or plain):
                return None
            failed = verdict
        return None

    def _wanted(self, host: Host, address: str, demand: Demand, failed: Verdict | None, *, plain: bool) -> Wanted:
        """Return what a connection is opened for, after what happened there before."""
        if failed is not None:
            return Wanted(demand.in_plaintext() if plain else demand, after=failed)
        if demand.plaintext_fallback and (known := self._tools.shaky.recall(host, address, testing=False)) is not None:
            return Wanted(demand.in_plaintext(), after=known)
        if demand.testing_names:
            known = self._tools.shaky.recall(host, address, testing=True)
            return Wanted(demand, testing=known is None, after=known)
        return Wanted(demand)

    async def _dial(self, host: Host, addresses: list[str]) -> Dialled:
        """Connect; the connection has a place in the pool. What was not reached is noted."""
        await self._tools.pool.reserve()
        self._began = self._tools.clock.monotonic()
        try:
            left = max(1, self._tools.settings.max_tries - self._opened)
            if host.socket is not None:
                dialled = await dial_socket(host.socket, self._tools.patience)
            else:
                dialled = await dial(addresses[:left], host.port, self._tools.patience)
        except BaseException:
            self._tools.pool.release()
            raise
        for missed in dialled.missed:
            verdict = mishap.refused(Stage.CONNECT, missed.error, self._tools.patience.limit).verdict
            self._record(host, missed.address, verdict, None, missed.took)
        self._opened += len(dialled.missed) + (dialled.reached is not None)
        if dialled.reached is None:
            self._tools.pool.release()
        return dialled

    async def _speak_to(self, host: Host, reached: Reached, wanted: Wanted) -> tuple[Session | None, Verdict | None]:
        session = self._session = Session(host, reached, wanted, self._tools.terms)
        try:
            await session.open()
        except Refused as refused:
            self._tools.pool.release()
            self._session = None
            self._tools.ledger.refused(refused.verdict)
            self._note(session, refused.verdict)
            return None, refused.verdict
        except BaseException:
            self._tools.pool.release()
            raise
        self._tools.ledger.opened(session.tls_version)
        return session, None

    # what is kept

    def _nobody_answered(self, site: Site) -> Outcome:
        """All hosts were tried. What they refused was us, so that it is tried again, unless there is nobody at all, or
        nobody who promises what the message demands (RFC 8689 §4.2.1).

        A relay that the operator named is never hopeless: mail waits until the name is mended.
        """
        tries = tuple(self._tries)
        if site.hosts and all(host in self._hopeless and not host.trusted for host in site.hosts):
            return Bounced(told(failures.NO_HOST, "; ".join(self._hopeless.values())), tries)
        if (unfit := self._unfit_for_requiretls(site)) is not None:
            return Bounced(unfit.reply, tries)
        spoken = next((one.reply for one in reversed(tries) if one.remote), None)
        return Deferred(spoken or (tries[-1].reply if tries else failures.NO_CONNECTION), tries)

    def _unfit_for_requiretls(self, site: Site) -> Try | None:
        """Return the last host that cannot have what the message demands, when that is all that keeps it here."""
        unfit = [one for one in self._tries if not one.remote and is_requiretls(one.reply)]
        nowhere = {host.name for host in self._hopeless if not host.trusted}
        is_certain = all(one in unfit or one.host in nowhere for one in self._tries)
        asked = {one.host for one in self._tries}
        are_all = all(host.name in asked for host in (*site.hosts, *site.fallback))
        return unfit[-1] if unfit and is_certain and are_all else None

    def _is_about_us(self, outcome: Outcome) -> bool:
        """Whether another way may do better: the host itself refused, and what it refused is who we are."""
        if isinstance(outcome, Delivered) or (isinstance(outcome, Deferred) and outcome.in_doubt):
            return False
        return bool(self._tries) and self._tries[-1].remote and self._tools.is_about_us(outcome.reply)

    def _note(self, session: Session, verdict: Verdict) -> None:
        took = timedelta(seconds=self._tools.clock.monotonic() - self._began)
        self._record(session.host, session.address, verdict, session.use(str(self._word)), took)

    def _note_host(self, host: Host, verdict: Verdict, tls: TlsUse | None = None) -> None:
        """Note a host that was not connected to; `tls` names the policy if one forbade it."""
        self._record(host, "", verdict, tls, timedelta(seconds=self._tools.clock.monotonic() - self._began))

    def _record(self, host: Host, address: str, verdict: Verdict, tls: TlsUse | None, took: timedelta) -> None:
        port = 0 if host.socket is not None else host.port
        if self._letter.message.requiretls:
            verdict = verdict.for_requiretls()
        self._tries.append(Try(host.name, address, port, str(verdict.stage), verdict.reply, verdict.remote, tls, took))


class BatchWalk(Walk):
    """As a walk, for a letter with several recipients. Who has no answer yet is named at the next host."""

    def __init__(self, tools: Tools, letter: Letter, still_ours: StillOurs) -> None:
        super().__init__(tools, letter, still_ours)
        self._recipients = letter.recipients
        self._named = list(range(len(self._recipients)))
        """Whom the letter is for now, by their places."""
        self._outcomes: list[Outcome | None] = [None] * len(self._recipients)

    async def run_all(self, site: Site) -> tuple[Outcome | None, ...]:
        """Return an outcome for each recipient; None for those that are to be sent next."""
        await self._walk(site.hosts)
        if site.fallback:
            about_us = [place for place, one in enumerate(self._outcomes) if one is not None and self._is_about_us(one)]
            self._name(sorted({*self._named, *about_us}))
            if self._named:
                await self._walk(site.fallback)
        for place in self._named:
            self._outcomes[place] = self._outcomes[place] or self._nobody_answered(site)
        return tuple(self._outcomes)

    def all_out_of_time(self) -> tuple[Outcome | None, ...]:
        """The deadline of the attempt has passed."""
        outcome = self.out_of_time()
        for place in self._named:
            self._outcomes[place] = outcome
        return tuple(self._outcomes)

    async def _say(self, session: Session, *, requiretls: bool) -> Verdict:
        """Return what was said of those that are named at the next host, or, when there are none, of any."""
        verdicts = await session.transact_batch(self._letter, self._still_ours, requiretls=requiretls)
        left: dict[int, Verdict] = {}
        for place, verdict in zip(self._named, verdicts, strict=True):
            if verdict is None:
                continue
            outcome = super()._conclude(session, verdict)
            self._tries.pop()  # it belongs to the story of this one only
            if outcome is None:
                left[place] = verdict
            else:
                self._outcomes[place] = outcome
        self._name(left)
        return next(iter(left.values()), None) or next(one for one in verdicts if one is not None)

    def _conclude(self, session: Session, verdict: Verdict) -> Outcome | None:
        if self._named:
            self._note(session, verdict)
            return None
        return next(one for one in self._outcomes if one is not None)

    def _name(self, places: Iterable[int]) -> None:
        self._named = list(places)
        if self._named:
            first, *others = (self._recipients[place] for place in self._named)
            self._letter = replace(self._letter, recipient=first, others=tuple(others))

    def _is_about_us(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Delivered) or (isinstance(outcome, Deferred) and outcome.in_doubt):
            return False
        return bool(outcome.tries) and outcome.tries[-1].remote and self._tools.is_about_us(outcome.reply)
