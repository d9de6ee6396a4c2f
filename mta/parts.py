"""The parts of one worker, built from the settings: the only place where concrete classes meet.

They are made in the order in which they are needed, so that leaving `build` ends them in the opposite one.
"""

import hashlib
import os
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

from mta import assembly
from mta.accounts.account import Directory
from mta.cli.certificate import self_signed
from mta.clock import Clock
from mta.config.settings import Settings
from mta.delivery.mx import MxRouter
from mta.delivery.resolver import DnsResolver
from mta.delivery.signing import DkimSealer
from mta.delivery.transport import SmtpTransport
from mta.errors import ConfigError, Problem
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

SELF_SIGNED_DAYS = 825
"""As long as clients still take a self-signed certificate."""
PASSWORD_THREADS = 2
SIGNING_THREADS = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the submission listeners show, and the digest by which our own commands know it."""

    context: ssl.SSLContext
    sha256: str


@dataclass(slots=True)
class Parts:
    """What runs, for those who start, change or ask it."""

    directory: Directory
    certificate: Certificate
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
    keyring = assembly.keyring(settings)
    certificate = server_certificate(settings, clock)
    async with AsyncExitStack() as stack:
        threads = [
            stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix=name))
            for name, count in (("password", PASSWORD_THREADS), ("sign", SIGNING_THREADS))
        ]
        store = await stack.enter_async_context(
            SqliteStore.open(
                str(_data_dir(settings) / settings.store.url.path),
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
        sealer = DkimSealer(assembly.dkim_keys(settings), assembly.unsigned_domains(settings), threads[1], clock)
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
        )
        yield Parts(
            directory=directory,
            certificate=certificate,
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


def server_certificate(settings: Settings, clock: Clock) -> Certificate:
    """Return the configured certificate, or a self-signed one of our own, made once and kept in `data_dir`.

    Raises:
        ConfigError: the files do not belong together, or are no certificate.
    """
    tls = settings.submission.tls
    cert, key = (tls.cert, tls.key) if tls.cert and tls.key else _self_signed(settings, clock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        der = ssl.PEM_cert_to_DER_cert(_first_certificate(cert.read_text("ascii")))
    except (OSError, ValueError) as error:
        remedy = "check that the two files belong together: openssl x509 -noout -pubkey, openssl pkey -pubout"
        raise ConfigError(Problem(str(cert), None, "submission.tls", f"{key}: {error}", remedy)) from None
    return Certificate(context, hashlib.sha256(der).hexdigest())


def _first_certificate(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    begin, stop = pem.find("-----BEGIN CERTIFICATE-----"), pem.find(end)
    if begin < 0 or stop < 0:
        raise ValueError("there is no certificate in it")
    return pem[begin : stop + len(end)]


def _self_signed(settings: Settings, clock: Clock) -> tuple[Path, Path]:
    folder = _data_dir(settings)
    cert, key = folder / "self-signed.pem", folder / "self-signed.key"
    if not (cert.exists() and key.exists()):
        made = self_signed(settings.hostname, now=clock.now(), days=SELF_SIGNED_DAYS)
        for path, octets in ((key, made.key_pem), (cert, made.cert_pem)):
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(octets)
    return cert, key


def _data_dir(settings: Settings) -> Path:
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        remedy = f"make it, and give it to the user that mta runs as: install -d -m 700 {folder}"
        raise ConfigError(Problem("", None, "data_dir", f"{folder}: {error.strerror}", remedy)) from None
    return folder
