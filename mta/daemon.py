"""One worker's life: start, reload, stop; and what it answers when it is asked over the control socket.

Stopping has an order: no new clients and no new claims, attempts that have not sent their final dot are dropped, those
after it are waited for, then what is idle ends and the store closes.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version
from typing import Any, TextIO

from mta import assembly, roster
from mta.accounts.account import Directory
from mta.certificates import ServerCertificate, server_certificate
from mta.clock import SystemClock
from mta.config.addresses import Listen
from mta.config.load import Loaded, load
from mta.config.settings import Settings
from mta.control.commands import Door, Reloaded, ServerCommands
from mta.control.lock import only_server
from mta.control.protocol import CommandFailed
from mta.control.server import ControlServer
from mta.control.standing import StandingCommands
from mta.dkim.keys import SigningKey
from mta.doors import acceptor_settings, auth_settings, decoy_secret, submission_settings
from mta.errors import StoreUnavailable
from mta.inspection import SOCKET, inspected
from mta.mail.report_token import ReportTokens
from mta.mail.token import Keyring, ReturnPaths
from mta.observe.log import setup_logging
from mta.parts import Parts, build
from mta.smtp.settings import Kind
from mta.storage.workers import Liveness
from mta.supervisor.post import Post, taken, worker_socket
from mta.supervisor.share import share_of
from mta.supervisor.worker import SharedScrape, WorkerCommands
from mta.web.app import build_app
from mta.web.server import HttpServer

LOOK_FOR_DEAD_EVERY = timedelta(seconds=1)
PURGE_EVERY = timedelta(seconds=30)
PURGE_STEP = timedelta(milliseconds=100)
"""Between steps while more is left, so that mail does not wait for the purge."""

Keys = Mapping[str, tuple[SigningKey, ...]]

_log = logging.getLogger(__name__)


def _nobody(grace: timedelta) -> None:
    """Hear of nothing."""


class Daemon:
    """One worker from start to stop: the whole server, or one of several under a supervisor."""

    def __init__(
        self,
        loaded: Loaded,
        events: TextIO,
        messages: TextIO,
        post: Post | None = None,
        serving: Callable[[timedelta], None] = _nobody,
    ) -> None:
        """`events` takes the log of events, `messages` what is said to the operator.

        `post` is this worker's place under a supervisor, which has checked the configuration, prepared the store and
        opened the listeners; `serving` hears when mail is taken, and again after each reload, how long a stop may take.
        """
        self._loaded = loaded
        self._post = post
        self._serving = serving
        self._at_start = self._settings = self._share(loaded.settings)
        self._events = events
        self._messages = messages
        self._clock = SystemClock()
        self._parts: Parts | None = None
        self._http: HttpServer | None = None
        self._is_serving = False
        self._stop = asyncio.Event()
        self._changing = asyncio.Lock()
        """Held over a reload, so that two do not mix."""

    async def run(self) -> None:
        """Serve until `stop`. Cancelling this skips the waiting for attempts under way.

        Raises:
            ConfigError: something that the settings name cannot be used.
            StoreUnavailable: the store cannot be opened.
        """
        folder, post = self._settings.data_dir, self._post
        if post is None:
            for warning in (await inspected(self._loaded, self._clock)).warnings:
                _log.warning("%s", warning)
        async with AsyncExitStack() as ground:
            # let go when the store is closed: until then this worker may still write what its attempts meant
            liveness = ground.enter_context(Liveness(self._settings.store_path.parent))
            parts = await ground.enter_async_context(build(self._settings, self._clock, self._events, post))
            liveness.hold(parts.store.worker)
            self._parts = parts
            app = build_app(
                parts.scrape if post is None else SharedScrape(parts.scrape, folder / SOCKET), self._problems
            )
            async with AsyncExitStack() as stack:
                if post is None:
                    stack.enter_context(only_server(folder))
                http = HttpServer(self._settings.http.listen, app, handed=None if post is None else taken(post.http))
                self._http = await stack.enter_async_context(http)
                await stack.enter_async_context(parts.submission)
                await stack.enter_async_context(parts.inbound)
                # the last: who gets an answer here may use all the others
                await stack.enter_async_context(self._control(parts))
                await self._serve(parts, liveness)
        _log.info("stopped" if post is None else f"worker {post.number} stopped")

    def _control(self, parts: Parts) -> ControlServer:
        desk = parts.store.desk(parts.observer)
        standing = StandingCommands(desk, parts.watch, self._has_account, self._clock)
        commands = ServerCommands(self, desk, parts.store.reader, standing)
        folder, post = self._settings.data_dir, self._post
        if post is None:
            return ControlServer(folder / SOCKET, commands)
        fellows = WorkerCommands(commands, self, parts.scrape)
        return ControlServer(worker_socket(folder, post.number), fellows, passed_on=True)

    def stop(self) -> None:
        """Begin to stop."""
        self._stop.set()

    async def _serve(self, parts: Parts, liveness: Liveness) -> None:
        async with asyncio.TaskGroup() as tasks:
            dispatching = tasks.create_task(parts.dispatcher.run())
            chores = [
                tasks.create_task(chore)
                for chore in (
                    parts.ways.tend(reports=self._post is None or self._post.number == 1),
                    self._purge(parts),
                    parts.watch.run(),
                    parts.withheld.run(),
                    self._follow_the_dead(parts, liveness),
                )
            ]
            listeners = ", ".join(f"{kind} {' '.join(at)}" for kind, at in self._listeners().items() if at)
            place = "" if self._post is None else f", worker {self._post.number} of {self._post.of}"
            _log.info("serving %s%s: %s", self._settings.hostname, place, listeners)
            self._is_serving = True
            self._serving(self._settings.queue.stop_grace)
            await self._stop.wait()
            self._is_serving = False
            _log.info("stopping; %d deliveries are in hand", parts.dispatcher.in_hand)
            grace = self._settings.queue.stop_grace
            for door in (parts.submission, parts.inbound):
                tasks.create_task(door.stop())
            await parts.dispatcher.stop(grace)
            await dispatching
            for chore in chores:
                chore.cancel()
        await parts.dispatcher.give_back_late()

    async def _follow_the_dead(self, parts: Parts, liveness: Liveness) -> None:
        """Take over at once what workers had in hand that died, instead of after their leases."""

        async def give_back(worker: int) -> int:
            # what hosts had told it is known before what it had in hand may be attempted again
            await parts.journal.read_others()
            return await parts.store.give_back_of(worker)

        while True:
            try:
                if given_back := await liveness.follow_the_dead(give_back):
                    _log.warning("a worker has died: the %d deliveries that it had in hand are due again", given_back)
                    parts.dispatcher.wake()
            except (OSError, StoreUnavailable) as trouble:
                _log.warning("whether a worker has died cannot be seen to now: %s", trouble)
            await asyncio.sleep(LOOK_FOR_DEAD_EVERY.total_seconds())

    async def _purge(self, parts: Parts) -> None:
        """Remove what was kept long enough, a little at a time."""
        while True:
            try:
                more = await parts.store.purge()
            except StoreUnavailable as trouble:
                _log.warning("nothing was purged: %s", trouble)
                more = False
            await asyncio.sleep((PURGE_STEP if more else PURGE_EVERY).total_seconds())

    async def _problems(self) -> Sequence[str]:
        """Return why this worker is not ready to take mail."""
        if not self._is_serving:
            return ["stopping" if self._stop.is_set() else "starting"]
        try:
            await self._running().store.check()
        except StoreUnavailable as trouble:
            return [f"the store cannot be written: {trouble}"]
        return []

    # --- what is asked over the control socket

    @property
    def directory(self) -> Directory:
        """The accounts as they are now."""
        return self._running().directory

    def _has_account(self, name: str) -> bool:
        return self.directory.get(name) is not None

    def sends_for(self, domain: str) -> bool:
        """Return whether a domain is configured as one to send from."""
        return any(entry.name == domain for entry in self._settings.domain)

    def wake(self) -> None:
        """Look for what has become due, at once."""
        self._running().dispatcher.wake()

    def status(self) -> Mapping[str, Any]:
        """Return what this process is and does."""
        parts = self._running()
        return {
            "version": version("mta"),
            "hostname": self._settings.hostname,
            "worker": parts.store.worker,
            "in_hand": parts.dispatcher.in_hand,
            "clients": parts.submission.connections,
            "listeners": self._listeners(),
        }

    def door(self) -> Door | None:
        """Return where to submit from this machine."""
        parts = self._running()
        for kind, tls in ((Kind.STARTTLS, "starttls"), (Kind.TLS, "implicit"), (Kind.PLAIN, "none")):
            for bound in parts.submission.addresses:
                if bound.kind is kind:
                    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound.host, bound.host)  # noqa: S104  not bound here
                    digest = None if kind is Kind.PLAIN else parts.certificate.sha256
                    return Door(host, bound.port, tls, digest)
        return None

    def one_use_credential(self, account: str, stream: str | None) -> tuple[str, str]:
        """Return a login and a password that are good once, for a minute."""
        issued = self._running().one_use.issue(account, stream)
        return issued.login, issued.secret

    async def refresh_accounts(self) -> None:
        """Look at the accounts of the store again."""
        parts = self._running()
        async with self._changing:
            _use_directory(parts, roster.directory(self._settings, await parts.store.reader.accounts()))

    async def hear_news(self) -> None:
        """Another worker changed something: look again at accounts, standings, and at what has become due."""
        parts = self._running()
        await self.refresh_accounts()
        await parts.watch.look()
        parts.dispatcher.wake()

    async def reload(self) -> Reloaded:
        """Read the configuration again and apply it.

        Raises:
            ConfigError: it cannot be used, and nothing was changed.
            StoreUnavailable: the accounts of the store cannot be read, and nothing was changed.
        """
        async with self._changing:
            return await self._reload(self._running())

    async def _reload(self, parts: Parts) -> Reloaded:
        old = self._settings
        loaded = await asyncio.to_thread(load, self._loaded.path, os.environ)
        loaded = await inspected(loaded, self._clock)
        new = self._share(loaded.settings)
        # all that can fail comes before the first change
        directory = roster.directory(new, await parts.store.reader.accounts())
        keys, unsigned = assembly.dkim_keys(new), assembly.unsigned_domains(new)
        certificate = server_certificate(new, self._clock)
        routes, schedule = assembly.routes(new), assembly.schedule(new)
        keyring, feedback_address = assembly.keyring(new), assembly.feedback_address(new)

        done = Reloaded(
            applied=(*assembly.changes(old, new).applied, *_renewed(parts, keys, certificate)),
            needs_restart=assembly.changes(self._at_start, new).needs_restart,
            warnings=tuple(map(str, loaded.warnings)),
        )
        self._settings = new
        parts.certificate, parts.keys = certificate, keys
        _use_directory(parts, directory)
        parts.acceptor.replace(acceptor_settings(new, parts.return_path_domains))
        parts.sealer.replace_keys(keys, unsigned)
        parts.ways.router.replace_routes(routes)
        parts.ways.transport.forget_certificates()
        parts.dispatcher.reschedule(schedule, assembly.back_off(new))
        parts.return_path_domains.replace(new)
        setup_logging(new.log.level, new.log.format, self._messages)
        parts.submission.replace_limits(submission_settings(new))
        parts.submission.budget.replace(new.submission.receive_memory)
        parts.authenticator.replace_settings(auth_settings(new))
        parts.watch.replace(assembly.policy(new))
        parts.verdicts.replace(assembly.expiry(new))
        parts.doorman.replace_feedback_address(feedback_address)
        _use_keyring(parts, keyring)
        for door in (parts.submission, parts.inbound):
            await door.replace_context(certificate.context)
        _tell(done)
        self._serving(new.queue.stop_grace)
        return done

    def _share(self, settings: Settings) -> Settings:
        return settings if self._post is None else share_of(settings, self._post.of)

    def _listeners(self) -> dict[str, list[str]]:
        bound = self._running().submission.addresses

        def of(kind: Kind) -> list[str]:
            return [str(Listen(at.host, at.port)) for at in bound if at.kind is kind]

        return {
            "submission": of(Kind.STARTTLS),
            "submission_tls": of(Kind.TLS),
            "submission_plain": of(Kind.PLAIN),
            "inbound": [str(Listen(at.host, at.port)) for at in self._running().inbound.addresses],
            "http": [str(address) for address in self._http.addresses] if self._http else [],
        }

    def _running(self) -> Parts:
        if self._parts is None:
            raise CommandFailed("the server is still starting; try again in a moment", 75)
        return self._parts


def _use_directory(parts: Parts, directory: Directory) -> None:
    """Let other accounts hold from now on, and cut off the clients of those that are gone."""
    parts.directory = directory
    parts.authenticator.replace(directory)
    parts.store.replace_weights({account.name: account.weight for account in directory})
    parts.ways.let_waive(directory)
    parts.submission.cut_accounts(lambda name: directory.get(name) is None)


def _use_keyring(parts: Parts, keyring: Keyring) -> None:
    """Make and prove tokens with a keyring from now on."""
    return_paths, report_tokens = ReturnPaths(keyring), ReportTokens(keyring)
    parts.acceptor.replace_return_paths(return_paths)
    parts.doorman.replace_keys(return_paths)
    parts.processor.replace_keys(return_paths, report_tokens)
    parts.stamps.replace(report_tokens)
    parts.authenticator.replace_decoy_secret(decoy_secret(keyring))


def _renewed(parts: Parts, keys: Keys, certificate: ServerCertificate) -> Iterator[str]:
    """Name what changed inside of files, which their unchanged names do not show."""
    if parts.certificate.sha256 != certificate.sha256:
        yield "certificate"
    if parts.keys != keys:
        yield "DKIM keys"


def _tell(done: Reloaded) -> None:
    for warning in done.warnings:
        _log.warning("%s", warning)
    _log.info("configuration reloaded: %s", ", ".join(done.applied) or "nothing had changed")
    if done.needs_restart:
        _log.warning("these changes need a restart: %s", ", ".join(done.needs_restart))
