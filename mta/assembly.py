"""From settings to each part's own small settings: the one place that knows both the configuration and the parts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mta.accounts.account import Account, Directory
from mta.config.addresses import Relay
from mta.config.settings import DomainEntry, RouteEntry, Settings
from mta.delivery.limits import Families, PoolLimits, Timeouts, TlsPolicy, TransportSettings
from mta.delivery.mx import Route
from mta.delivery.resolver import ResolverSettings, Server
from mta.dkim.keys import SigningKey
from mta.errors import ConfigError, Problem
from mta.mail.token import Keyring
from mta.queue.model import Stream
from mta.queue.schedule import Schedule
from mta.queue.seams import Hold, Host
from mta.storage.views import StoredAccount


def schedule(settings: Settings) -> Schedule:
    """Return when deliveries are tried again and given up."""
    ages = settings.queue.max_age
    return Schedule(
        intervals=settings.queue.retry,
        max_age={Stream.TRANSACTIONAL: ages.transactional, Stream.BULK: ages.bulk},
        delay_notice_after=settings.queue.delay_notice_after,
    )


def resolver(settings: Settings) -> ResolverSettings:
    """Return whom to ask for names."""
    return ResolverSettings(servers=tuple(Server(each.host, each.port) for each in settings.delivery.resolvers))


def transport(settings: Settings) -> TransportSettings:
    """Return how letters are handed over."""
    delivery = settings.delivery
    times = delivery.timeouts
    return TransportSettings(
        ehlo_name=settings.hostname,
        tls=TlsPolicy(delivery.tls),
        families=Families(delivery.addresses),
        allow_networks=delivery.allow_networks,
        timeouts=Timeouts(
            connect=times.connect,
            greeting=times.greeting,
            command=times.command,
            data=times.data,
            block=times.block,
            final=times.final,
            attempt=times.attempt,
        ),
        pool=PoolLimits(max_connections=delivery.max_connections),
    )


def routes(settings: Settings) -> list[Route]:
    """Return the operator's routes, in order."""
    return [Route(entry.domain, _destination(entry)) for entry in settings.route]


def _destination(entry: RouteEntry) -> Host | Hold:
    relay = entry.relay
    if not isinstance(relay, Relay):
        return Hold(f"route {entry.domain}: hold = true")
    return Host(
        name=relay.host,
        port=relay.port,
        implicit_tls=relay.scheme == "smtps",
        require_tls=relay.tls == "require",
        user=relay.user,
        password=relay.password.reveal() if relay.password else None,
        trusted=True,
    )


def dkim_keys(settings: Settings) -> dict[str, tuple[SigningKey, ...]]:
    """Return the keys of every domain that has some, read from their files.

    Raises:
        ConfigError: a file is no key.
    """
    found = {}
    for domain in settings.domain:
        if domain.dkim:
            found[domain.name] = tuple(_key(domain, entry.selector, entry.key) for entry in domain.dkim)
    return found


def _key(domain: DomainEntry, selector: str, path: Path) -> SigningKey:
    try:
        return SigningKey.parse(domain.name, selector, path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(Problem(str(path), None, f'domain "{domain.name}"', str(error))) from None


def unsigned_domains(settings: Settings) -> frozenset[str]:
    """Return the domains whose mail is sent unsigned on purpose."""
    return frozenset(domain.name for domain in settings.domain if domain.dkim == ())


class ReturnPathDomains:
    """From the domain of a From field to the one where its bounces come back, as the settings have it now."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Use other settings from now on; what was accepted keeps its return path."""
        self._own = {domain.name: domain.return_path for domain in settings.domain if domain.return_path}
        self._default = settings.inbound.return_path_domain or settings.hostname  # Settings fills it in

    def __call__(self, from_domain: str) -> str:
        """Return the domain of the return path."""
        return self._own.get(from_domain, self._default)


def keyring(settings: Settings) -> Keyring:
    """Return the keyring.

    Raises:
        ConfigError: it is no keyring.
    """
    try:
        return Keyring.parse(settings.secrets.keyring.reveal())
    except ValueError as error:
        source = settings.secrets.keyring
        raise ConfigError(Problem(str(source.file or f"${source.env}"), None, "secrets.keyring", str(error))) from None


def directory(settings: Settings, stored: Iterable[StoredAccount]) -> Directory:
    """Return all accounts, of the files and of the store.

    Raises:
        ConfigError: a name is in both.
    """
    in_files = [
        Account(
            name=entry.name,
            domains=frozenset(entry.domains),
            password_hash=entry.password_hash.reveal() if entry.password_hash else None,
            stream=entry.stream,
        )
        for entry in settings.account
    ]
    names = {account.name for account in in_files}
    in_store = [_stored_account(each.data) for each in stored]
    both = sorted(names & {account.name for account in in_store})
    if both:
        raise ConfigError(
            *(
                Problem("", None, f'account "{name}"', "is in the configuration and in the store", "remove one of them")
                for name in both
            )
        )
    return Directory([*in_files, *in_store])


def _stored_account(data: str) -> Account:
    read: Mapping[str, object] = json.loads(data)
    domains = read.get("domains")
    password_hash = read.get("password_hash")
    return Account(
        name=str(read["name"]),
        domains=frozenset(map(str, domains)) if isinstance(domains, list) else frozenset(),
        password_hash=str(password_hash) if password_hash else None,
        stream=str(read.get("stream", "transactional")),
    )


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the parts whose changes a reload cannot apply."""
    changed = []
    for name in ("hostname", "data_dir", "workers", "store", "http", "secrets", "privacy"):
        if getattr(old, name) != getattr(new, name):
            changed.append(name)
    for name in ("listen", "listen_tls", "listen_plain", "max_connections", "idle_timeout"):
        if getattr(old.submission, name) != getattr(new.submission, name):
            changed.append(f"submission.{name}")
    if old.delivery != new.delivery:
        changed.append("delivery")
    for name in ("min_free", "stop_grace"):
        if getattr(old.queue, name) != getattr(new.queue, name):
            changed.append(f"queue.{name}")
    if old.log.format != new.log.format:
        changed.append("log.format")
    return changed


def applied(old: Settings, new: Settings) -> list[str]:
    """Return the parts whose changes a reload applies."""
    return [name for name in ("account", "domain", "route", "queue", "log") if getattr(old, name) != getattr(new, name)]
