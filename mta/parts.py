"""The parts of one worker, built from the settings: the only place where concrete classes meet.

They are made in the order in which they are needed, so that leaving `build` ends them in the opposite one.
"""

import random
import secrets
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import TextIO

from mta import assembly
from mta.accounts.account import Directory
from mta.certificates import ServerCertificate, make_data_dir, server_certificate
from mta.clock import Clock
from mta.config.settings import Settings
from mta.delivery.mx import MxRouter
from mta.delivery.resolver import DnsResolver
from mta.delivery.signing import DkimSealer
from mta.delivery.transport import SmtpTransport
from mta.dkim.keys import SigningKey
from mta.events import Event, Observer
from mta.mail.token import ReturnPaths
from mta.observe.log import LogObserver
from mta.observe.metrics import MetricsObserver
from mta.observe.scrape import Scrape, worker_registry
from mta.queue.dispatcher import Dispatcher, World
from mta.queue.model import State
from mta.queue.records import Records
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention
from mta.submission.acceptor import Acceptor, AcceptorSettings
from mta.submission.auth import Authenticator, OneUse
from mta.submission.connection import Services
from mta.submission.server import SubmissionServer
from mta.submission.settings import Endpoint, Kind, SubmissionSettings

PASSWORD_THREADS = 2
SIGNING_THREADS = 2


@dataclass(slots=True)
class Parts:
    """What runs, for those who start, change or ask it."""

    directory: Directory
    certificate: ServerCertificate
    keys: Mapping[str, tuple[SigningKey, ...]]
    """Those that sign, by domain."""
    store: SqliteStore
    observer: Observer
    scrape: Scrape
    authenticator: Authenticator
    one_use: OneUse
    router: MxRouter
    sealer: DkimSealer
    transport: SmtpTransport
    dispatcher: Dispatcher
    return_path_domains: assembly.ReturnPathDomains
    submission: SubmissionServer


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
async def build(settings: Settings, clock: Clock, events: TextIO) -> AsyncIterator[Parts]:
    """Build the parts of one worker; `events` takes the log of events. Nothing listens or delivers yet.

    Raises:
        ConfigError: something that the settings name cannot be used.
        StoreUnavailable: the store cannot be opened.
    """
    dice = random.SystemRandom()
    registry = worker_registry()
    metrics = MetricsObserver(registry, version("mta"))
    observer = Observers((LogObserver(events, settings.log.format), metrics))
    keyring, keys = assembly.keyring(settings), assembly.dkim_keys(settings)
    make_data_dir(settings)
    certificate = server_certificate(settings, clock)
    async with AsyncExitStack() as stack:
        threads = [
            stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix=name))
            for name, count in (("password", PASSWORD_THREADS), ("sign", SIGNING_THREADS))
        ]
        store = await stack.enter_async_context(
            SqliteStore.open(
                str(settings.store_path),
                clock,
                min_free=settings.queue.min_free,
                dice=dice,
                retention=Retention(settings.privacy.keep_body_after_final, settings.privacy.keep_events),
                on_commit=metrics.committed,
            )
        )
        directory = assembly.directory(settings, await store.reader.accounts())
        resolver = DnsResolver(assembly.resolver(settings), clock)
        transport = SmtpTransport(assembly.transport(settings), resolver, clock)
        stack.push_async_callback(transport.close)
        own_names = frozenset({settings.hostname})
        router = MxRouter(resolver, assembly.routes(settings), own_names, settings.delivery.port, dice)
        sealer = DkimSealer(keys, assembly.unsigned_domains(settings), threads[1], clock)
        dispatcher = Dispatcher(
            store,
            World(router, sealer, transport),
            Records(settings.hostname, store.ids, store.now),
            assembly.schedule(settings),
            (observer,),
            clock,
            dice,
        )
        one_use = OneUse(clock, secrets.token_bytes)
        authenticator = Authenticator(directory, one_use, threads[0], clock, secrets.token_bytes(32))
        return_path_domains = assembly.ReturnPathDomains(settings)
        acceptor = Acceptor(
            AcceptorSettings(settings.hostname, return_path_domains),
            store,
            dispatcher,
            observer,
            store.ids,
            ReturnPaths(keyring),
        )
        services = Services(
            submission_settings(settings),
            authenticator,
            acceptor,
            router.is_routed,
            lambda: secrets.token_hex(4),
            metrics,
        )
        yield Parts(
            directory=directory,
            certificate=certificate,
            keys=keys,
            store=store,
            observer=observer,
            scrape=Scrape(registry, QueueGauges(store), clock),
            authenticator=authenticator,
            one_use=one_use,
            router=router,
            sealer=sealer,
            transport=transport,
            dispatcher=dispatcher,
            return_path_domains=return_path_domains,
            submission=SubmissionServer(services, certificate.context),
        )


def submission_settings(settings: Settings) -> SubmissionSettings:
    """Return the submission listener's own settings."""
    submission = settings.submission
    kinds = (
        (Kind.STARTTLS, submission.listen),
        (Kind.TLS, submission.listen_tls),
        (Kind.PLAIN, submission.listen_plain),
    )
    return SubmissionSettings(
        hostname=settings.hostname,
        endpoints=tuple(Endpoint(kind, each.host, each.port) for kind, listen in kinds for each in listen),
        max_message_size=submission.max_message_size,
        max_recipients=submission.max_recipients,
        max_connections=submission.max_connections,
        idle_timeout=submission.idle_timeout,
        take_long_lines=submission.long_lines == "accept",
        stop_grace=settings.queue.stop_grace,
    )
