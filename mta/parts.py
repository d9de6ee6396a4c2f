"""The parts of one worker, built from the settings: the only place where concrete classes meet.

They are made in the order in which they are needed, so that leaving `build` ends them in the opposite one.
"""

import random
import secrets
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import TextIO

from mta import assembly, roster
from mta.accounts.account import Directory
from mta.accounts.standing import Standing
from mta.accounts.watch import StandingWatch
from mta.bounces.classify import Classifier
from mta.bounces.processor import Processor
from mta.bounces.reading import read
from mta.bounces.rules import Rules
from mta.certificates import ServerCertificate, make_data_dir, server_certificate
from mta.clock import Clock
from mta.config.settings import Settings
from mta.delivery.signing import DkimSealer
from mta.delivery.threads import Threads
from mta.dkim.keys import SigningKey
from mta.doors import acceptor_settings, auth_settings, decoy_secret, inbound_settings, submission_settings
from mta.events import Event, Observer
from mta.inbound.connection import InboundServices
from mta.inbound.rules import Doorman
from mta.inbound.server import InboundServer
from mta.mail.address import Mailbox
from mta.mail.header import field
from mta.mail.report_token import REPORT_FIELD, ReportClaim, ReportTokens
from mta.mail.token import ReturnPaths
from mta.mailroom import Mailroom
from mta.observe.log import LogObserver
from mta.observe.metrics import MetricsObserver
from mta.observe.scrape import Scrape, worker_registry
from mta.own_mail import OwnMail
from mta.queue.dispatcher import Dispatcher, World
from mta.queue.journal import Journal
from mta.queue.model import Claimed, State
from mta.queue.pace import Pace
from mta.queue.records import Records
from mta.queue.returns import Returns
from mta.queue.verdict import Verdicts
from mta.queue.withheld import Withheld
from mta.reputation.suppression import List as SuppressionList
from mta.reputation.suppression import Suppression
from mta.smtp.budget import ReceiveBudget
from mta.storage.journal import FileJournal
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention
from mta.submission.acceptor import Acceptor
from mta.submission.auth import Authenticator, OneUse
from mta.submission.connection import Services
from mta.submission.one_use import OneUseFiles
from mta.submission.server import SubmissionServer
from mta.supervisor.post import Post, taken
from mta.supervisor.process import python_command
from mta.supervisor.share import cores
from mta.way_out import Ties, WayOut, signing_domain, way_out

PASSWORD_THREADS = 2
SIGNING_THREADS = 2


class Stamps:
    """Makes the report field of each delivery; notifications of ours have none."""

    def __init__(self, tokens: ReportTokens) -> None:
        self._tokens = tokens

    def replace(self, tokens: ReportTokens) -> None:
        """Make them with another keyring from now on."""
        self._tokens = tokens

    def __call__(self, claimed: Claimed) -> bytes:
        """Return the field."""
        message, delivery = claimed.message, claimed.delivery
        if message.reverse_path.is_null:
            return b""
        claim = ReportClaim(delivery.id, message.account, message.stream.value, str(delivery.recipient.mailbox))
        return field(REPORT_FIELD, self._tokens.seal(claim))


class Gate:
    """What the submission door asks of lists and standings."""

    def __init__(self, suppressions: SuppressionList, watch: StandingWatch) -> None:
        self._suppressions = suppressions
        self._watch = watch

    async def suppressed(self, account: str, address: Mailbox) -> Suppression | None:
        """Return the entry by which an address may not be written to."""
        return await self._suppressions.find(account, address)

    def suspended(self, account: str, stream: str) -> Standing | None:
        """Return the standing by which a stream may not send."""
        return self._watch.suspended(account, stream)


@dataclass(slots=True)
class Parts:
    """What runs, for those who start, change or ask it."""

    directory: Directory
    certificate: ServerCertificate
    keys: Mapping[str, tuple[SigningKey, ...]]
    """Those that sign, by domain."""
    store: SqliteStore
    journal: FileJournal
    observer: Observer
    scrape: Scrape
    authenticator: Authenticator
    one_use: OneUse
    sealer: DkimSealer
    ways: WayOut
    dispatcher: Dispatcher
    return_path_domains: assembly.ReturnPathDomains
    watch: StandingWatch
    withheld: Withheld
    verdicts: Verdicts
    stamps: Stamps
    acceptor: Acceptor
    doorman: Doorman
    processor: Processor
    submission: SubmissionServer
    inbound: InboundServer


@dataclass(frozen=True, slots=True)
class Observers:
    """Tells several."""

    all: tuple[Observer, ...]

    def observe(self, event: Event) -> None:
        """Take note."""
        for observer in self.all:
            observer.observe(event)


class QueueGauges:
    """What a scrape asks of the store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def counts(self) -> Mapping[State, int]:
        """Return how many deliveries are in each state that is not final."""
        return {state: total.count for state, total in (await self._store.reader.totals()).items()}

    async def oldest(self) -> timedelta | None:
        """Return the age of the oldest delivery that is not final; None when there is none."""
        times = [total.oldest for total in (await self._store.reader.totals()).values() if total.oldest]
        return self._store.now() - min(times) if times else None


@asynccontextmanager
async def build(settings: Settings, clock: Clock, events: TextIO, post: Post | None = None) -> AsyncIterator[Parts]:
    """Build the parts of one worker; `events` takes the log of events. Nothing listens or delivers yet.

    `post` is the worker's place under a supervisor, which has prepared the store.

    Raises:
        ConfigError: something that the settings name cannot be used.
        StoreUnavailable: the store cannot be opened.
    """
    metrics = MetricsObserver(registry := worker_registry(), version("mta"))
    keyring, keys = assembly.keyring(settings), assembly.dkim_keys(settings)
    make_data_dir(settings)
    certificate = server_certificate(settings, clock)
    async with AsyncExitStack() as stack:
        ground = _Ground(
            settings=settings,
            clock=clock,
            metrics=metrics,
            store=await stack.enter_async_context(_store(settings, clock, metrics)),
            return_paths=ReturnPaths(keyring),
            report_tokens=ReportTokens(keyring),
            return_path_domains=assembly.ReturnPathDomains(settings),
        )
        passwords = stack.enter_context(ThreadPoolExecutor(PASSWORD_THREADS, thread_name_prefix="password"))
        signatures = stack.enter_context(Threads(SIGNING_THREADS, "sign"))
        sealer = DkimSealer(keys, assembly.unsigned_domains(settings), signatures, clock)
        place = 1 if post is None else post.number
        journal = FileJournal(settings.data_dir / f"outcomes.{place}.journal", clock)
        await stack.enter_async_context(journal)
        outgoing = await _outgoing(ground, sealer, LogObserver(events, settings.log.format), journal)
        stack.push_async_callback(outgoing.ways.transport.close)
        directory = roster.directory(settings, await ground.store.reader.accounts())
        one_use = (
            OneUse(clock, secrets.token_bytes)
            if post is None
            else OneUseFiles(settings.data_dir, clock, secrets.token_bytes)
        )
        ground.store.replace_weights({account.name: account.weight for account in directory})
        outgoing.ways.let_waive(directory)
        authenticator = Authenticator(
            directory,
            one_use,
            passwords,
            clock,
            secrets.token_bytes(32),
            auth_settings(settings),
            decoy_secret=decoy_secret(keyring),
        )
        services = _submission(ground, outgoing, authenticator)
        inbound, processor = _inbound(ground, outgoing)
        yield Parts(
            directory=directory,
            certificate=certificate,
            keys=keys,
            store=ground.store,
            journal=journal,
            observer=outgoing.observer,
            scrape=Scrape(registry, QueueGauges(ground.store), clock),
            authenticator=authenticator,
            one_use=one_use,
            sealer=sealer,
            ways=outgoing.ways,
            dispatcher=outgoing.dispatcher,
            return_path_domains=ground.return_path_domains,
            watch=outgoing.watch,
            withheld=Withheld(
                outgoing.dispatcher.breaker,
                ground.store.withheld,
                (outgoing.observer,),
                outgoing.watch.counted,
                ground.store.now,
            ),
            verdicts=outgoing.verdicts,
            stamps=outgoing.stamps,
            acceptor=services.acceptor,
            doorman=inbound.doorman,
            processor=processor,
            submission=SubmissionServer(
                services,
                certificate.context,
                ReceiveBudget(settings.submission.receive_memory),
                None if post is None else taken(post.submission),
            ),
            inbound=InboundServer(inbound, certificate.context, None if post is None else taken(post.inbound)),
        )


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything else stands on."""

    settings: Settings
    clock: Clock
    metrics: MetricsObserver
    store: SqliteStore
    return_paths: ReturnPaths
    report_tokens: ReportTokens
    return_path_domains: assembly.ReturnPathDomains


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """What sends."""

    observer: Observer
    watch: StandingWatch
    verdicts: Verdicts
    rules: Rules
    records: Records
    stamps: Stamps
    ways: WayOut
    dispatcher: Dispatcher


def _store(settings: Settings, clock: Clock, metrics: MetricsObserver) -> AbstractAsyncContextManager[SqliteStore]:
    return SqliteStore.open(
        str(settings.store_path),
        clock,
        min_free=settings.queue.min_free,
        # identifiers may be guessed, they must only differ, and the system's dice cost a call for each
        dice=random.Random(secrets.randbits(128)),  # noqa: S311 - no secret is made with them
        retention=Retention(settings.privacy.keep_body_after_final, settings.privacy.keep_events),
        on_commit=metrics.committed,
        # several workers have work for all cores already, and would wait for each other's helpers as well
        helper=[*python_command(), "-m", "mta.storage.scribe_main"] if settings.workers == 1 < cores() else None,
    )


async def _outgoing(ground: _Ground, sealer: DkimSealer, log: Observer, journal: Journal) -> _Outgoing:
    settings, store, clock, dice = ground.settings, ground.store, ground.clock, random.SystemRandom()
    written = Observers((log, ground.metrics))
    watch = StandingWatch(store.book, assembly.policy(settings), written, store.now, store.ids.next)
    await watch.look()
    observer = Observers((*written.all, watch))
    rules = assembly.bounce_rules()
    verdicts = Verdicts(Classifier(rules), assembly.expiry(settings))
    records = Records(settings.hostname, store.ids, store.now)
    stamps = Stamps(ground.report_tokens)
    own_mail = OwnMail(store, store.ids, signing_domain(settings), observer)
    ties = Ties(store.tls, own_mail, store.ids.next, verdicts.is_about_us, ground.metrics)
    ways = way_out(settings, clock, ties, dice)
    ground.metrics.ask_for_connections("delivery", lambda: ways.transport.connections)
    dispatcher = Dispatcher(
        store,
        World(ways.router, sealer, ways.transport, stamps, watch.suspended),
        records,
        verdicts,
        assembly.schedule(settings),
        (observer,),
        clock,
        dice,
        Pace(at_once=settings.delivery.max_connections),
        assembly.back_off(settings),
        journal,
    )
    return _Outgoing(observer, watch, verdicts, rules, records, stamps, ways, dispatcher)


def _submission(ground: _Ground, outgoing: _Outgoing, authenticator: Authenticator) -> Services:
    acceptor = Acceptor(
        acceptor_settings(ground.settings, ground.return_path_domains),
        ground.store,
        outgoing.dispatcher,
        outgoing.observer,
        ground.store.ids,
        ground.return_paths,
        outgoing.ways.router.held,
        outgoing.ways.router.batch_relay,
    )
    return Services(
        submission_settings(ground.settings),
        authenticator,
        acceptor,
        outgoing.ways.router.is_routed,
        _incident,
        ground.metrics,
        Gate(ground.store.suppression_list, outgoing.watch),
        ground.store.allowances,
    )


def _inbound(ground: _Ground, outgoing: _Outgoing) -> tuple[InboundServices, Processor]:
    returns = Returns(ground.store, outgoing.records, outgoing.verdicts, (outgoing.observer,), outgoing.dispatcher)
    processor = Processor(
        lambda octets: read(octets, outgoing.rules), returns, ground.return_paths, ground.report_tokens, ground.metrics
    )
    doorman = Doorman(
        ground.return_paths,
        ground.return_path_domains.all,
        assembly.feedback_address(ground.settings),
        ground.settings.hostname,
    )
    services = InboundServices(
        inbound_settings(ground.settings),
        doorman,
        Mailroom(processor, returns),
        ground.clock,
        _incident,
        ground.metrics,
    )
    return services, processor


def _incident() -> str:
    return secrets.token_hex(4)
