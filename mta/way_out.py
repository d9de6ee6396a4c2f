"""What delivery is built of: names, routes, what a connection must prove, connections, and reports about TLS."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources

from mta import assembly
from mta.accounts.account import Account
from mta.clock import Clock
from mta.config.settings import Settings
from mta.delivery.dnssec import DnsAsker, DnssecProof, prove, servers_in_use
from mta.delivery.limits import TlsPolicy
from mta.delivery.mx import MxRouter
from mta.delivery.policies import TlsPolicies
from mta.delivery.providers import Providers
from mta.delivery.resolver import DnsResolver
from mta.delivery.sts_cache import StsPolicies
from mta.delivery.sts_fetch import FetchSettings, HttpsFetcher, TlsConnector, web_context
from mta.delivery.tls_ledger import TlsCounts
from mta.delivery.tls_report import Tallies
from mta.delivery.tls_report_desk import Desk, TlsReports
from mta.delivery.tls_report_mail import Submitter
from mta.delivery.transport import SmtpTransport
from mta.errors import StoreUnavailable
from mta.mail.address import Mailbox
from mta.mail.reply import Reply
from mta.own_mail import OwnMail
from mta.queue.records import OURS
from mta.storage.tls import TlsBook
from mta.tls_books import Days, Policies

PROVE_EVERY = timedelta(hours=1)
"""A resolver that stops validating makes everything look unsigned."""
LOAD_AGAIN = timedelta(seconds=30)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ties:
    """What delivery has to do with the rest of the house."""

    book: TlsBook
    own_mail: OwnMail
    new_id: Callable[[], str]
    is_about_us: Callable[[Reply], bool]
    """Whether a refusal speaks of our reputation, so that another way may do better."""
    metrics: TlsCounts


@dataclass(frozen=True, slots=True)
class WayOut:
    """The way to other hosts, and what has to be looked after while it is used."""

    router: MxRouter
    transport: SmtpTransport
    policies: TlsPolicies
    sts: StsPolicies | None
    reports: TlsReports | None
    proof: Callable[[], Awaitable[DnssecProof]] | None
    """Proves that the resolvers validate DNSSEC; None: DANE is switched off."""

    def let_waive(self, accounts: Iterable[Account]) -> None:
        """Obey `TLS-Required: No` of those accounts that may say so, and of our own reports, from now on."""
        self.policies.replace_waivers(frozenset({OURS, *(one.name for one in accounts if one.may_waive_tls)}))

    async def tend(self, *, reports: bool) -> None:
        """Look after it for ever; `reports`: this worker makes the reports of all."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.transport.tend())
            if self.proof is not None:
                tasks.create_task(self._keep_proving(self.proof))
            if self.sts is not None:
                tasks.create_task(_keep_policies(self.sts))
            if self.reports is not None:
                tasks.create_task(self.reports.tend_tallies())
                if reports:
                    tasks.create_task(self.reports.tend_reports())

    async def _keep_proving(self, proof: Callable[[], Awaitable[DnssecProof]]) -> None:
        validated: bool | None = None
        while True:
            found = await proof()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # dnspython waits by `asyncio.wait_for`, which forgets a cancellation when the answer has just come
                raise asyncio.CancelledError
            self.policies.believe(found)
            if found.validates != validated:
                level = logging.INFO if found.validates else logging.WARNING
                _log.log(level, "%s", found.reason)
            validated = found.validates
            await asyncio.sleep(PROVE_EVERY.total_seconds())


async def _keep_policies(sts: StsPolicies) -> None:
    while True:
        try:
            await sts.load()
            break
        except StoreUnavailable as trouble:
            _log.warning("policies of MTA-STS cannot be read: %s", trouble)
            await asyncio.sleep(LOAD_AGAIN.total_seconds())
    await sts.tend()


def way_out(settings: Settings, clock: Clock, ties: Ties, dice: random.Random) -> WayOut:
    """Build it. Nothing is asked and nobody connected to yet."""
    delivery = settings.delivery
    resolving = assembly.resolver(settings)
    resolver = DnsResolver(resolving, clock)
    sts = _sts(settings, resolver, clock, ties, dice) if delivery.mta_sts else None
    policies = TlsPolicies(
        TlsPolicy(delivery.tls),
        clock,
        resolver,
        None if sts is None else sts.of,
        frozenset({OURS}),
        awaits_proof=delivery.dane != "off",
    )
    tallies = Tallies() if delivery.tls_reports else None
    providers = Providers.parse(resources.files("mta.delivery").joinpath("providers.toml").read_text("utf-8"))
    return WayOut(
        router=MxRouter(
            resolver,
            assembly.routes(settings),
            frozenset({settings.hostname}),
            delivery.port,
            dice,
            providers,
        ),
        transport=SmtpTransport(
            assembly.transport(settings), resolver, clock, policies, tallies, ties.is_about_us, ties.metrics
        ),
        policies=policies,
        sts=sts,
        reports=None if tallies is None else _reports(settings, tallies, resolver, clock, ties, dice),
        proof=None if delivery.dane == "off" else lambda: prove(servers_in_use(resolving), DnsAsker()),
    )


def _sts(settings: Settings, resolver: DnsResolver, clock: Clock, ties: Ties, dice: random.Random) -> StsPolicies:
    delivery = settings.delivery
    connector = TlsConnector(web_context(delivery.ca_file))
    fetcher = HttpsFetcher(resolver, connector, FetchSettings(allow_networks=delivery.allow_networks))
    return StsPolicies(Policies(ties.book), resolver.txt, fetcher, clock, dice)


def _reports(
    settings: Settings, tallies: Tallies, resolver: DnsResolver, clock: Clock, ties: Ties, dice: random.Random
) -> TlsReports:
    domain = signing_domain(settings)
    submitter = Submitter(domain, domain, Mailbox("postmaster", domain))
    desk = Desk(submitter, ties.own_mail.report, resolver.txt, ties.new_id)
    return TlsReports(tallies, Days(ties.book), desk, clock, dice)


def signing_domain(settings: Settings) -> str:
    """Return the domain that what we write on nobody's behalf comes from: our host's own, else the first with a key."""
    signing = [domain.name for domain in settings.domain if domain.dkim]
    near = [name for name in signing if settings.hostname == name or settings.hostname.endswith(f".{name}")]
    return next(iter((*near, *signing)), settings.hostname)
