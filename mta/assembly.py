"""From settings to each part's own small settings: the one place that knows both the configuration and the parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from mta.accounts.watch import Policy
from mta.bounces.rules import Rules
from mta.config.addresses import Relay
from mta.config.in_force import NOT_IN_FORCE
from mta.config.settings import DkimKey, DomainEntry, Part, RouteEntry, Settings
from mta.delivery.limits import Families, PoolLimits, Timeouts, TlsPolicy, TransportSettings
from mta.delivery.mx import Route
from mta.delivery.resolver import ResolverSettings, Server
from mta.dkim.keys import SigningKey
from mta.errors import ConfigError, Problem
from mta.mail.address import Mailbox
from mta.mail.token import Keyring
from mta.queue.model import Stream
from mta.queue.schedule import Schedule
from mta.queue.seams import Hold, Host
from mta.queue.sites import BackOff
from mta.reputation.rates import Limit, Limits
from mta.reputation.suppression import Cause, Expiry


def schedule(settings: Settings) -> Schedule:
    """Return when deliveries are tried again and given up."""
    ages = settings.queue.max_age
    return Schedule(
        intervals=settings.queue.retry,
        max_age={Stream.TRANSACTIONAL: ages.transactional, Stream.BULK: ages.bulk},
        delay_notice_after=settings.queue.delay_notice_after,
    )


def back_off(settings: Settings) -> BackOff:
    """Return how long a site that cannot be reached is left alone."""
    return BackOff(settings.queue.back_off.first, settings.queue.back_off.max)


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
        ca_file=delivery.ca_file,
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
    return [
        Route(entry.domain, _destination(entry), entry.account or None, entry.fallback, entry.batch)
        for entry in settings.route
    ]


def _destination(entry: RouteEntry) -> Host | Hold:
    relay = entry.relay
    if not isinstance(relay, Relay):
        return Hold(f"route {entry.domain}: hold = true")
    return Host(
        name=relay.host,
        port=relay.port,
        implicit_tls=relay.scheme == "smtps",
        require_tls=relay.tls != "opportunistic",
        user=relay.user,
        password=relay.password.reveal() if relay.password else None,
        trusted=True,
        verify_tls=relay.tls == "verify",
        client_cert=str(entry.client_cert) if entry.client_cert else None,
        client_key=str(entry.client_key) if entry.client_key else None,
        lmtp=relay.scheme == "lmtp",
        socket=relay.path,
    )


def dkim_keys(settings: Settings) -> dict[str, tuple[SigningKey, ...]]:
    """Return the keys of every domain that has some, read from their files.

    Raises:
        ConfigError: a file is no key.
    """
    return {
        domain.name: tuple(signing_key(domain, entry) for entry in domain.dkim)
        for domain in settings.domain
        if domain.dkim
    }


def signing_key(domain: DomainEntry, entry: DkimKey) -> SigningKey:
    """Return one key of a domain, read from its file.

    Raises:
        ConfigError: the file is no key.
    """
    try:
        return SigningKey.parse(domain.name, entry.selector, entry.key.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        remedy = f"make another: mta dkim keygen {domain.name}"
        raise ConfigError(Problem(str(entry.key), None, f'domain "{domain.name}"', reason, remedy)) from None


def unsigned_domains(settings: Settings) -> frozenset[str]:
    """Return the domains whose mail is sent unsigned on purpose."""
    return frozenset(domain.name for domain in settings.domain if domain.dkim == ())


def limits(settings: Settings) -> Limits:
    """Return by which ratios accounts are warned and suspended."""
    rules = settings.reputation
    return Limits(
        windows=rules.windows,
        bounces=Limit(rules.bounce_rate.warn, rules.bounce_rate.suspend),
        complaints=Limit(rules.complaint_rate.warn, rules.complaint_rate.suspend),
        min_volume=rules.min_volume,
        warn_min_volume=rules.warn_min_volume,
    )


def policy(settings: Settings) -> Policy:
    """Return the rules by which standings are moved."""
    return Policy(limits(settings), by_stream=settings.reputation.scope == "stream")


def expiry(settings: Settings) -> Expiry:
    """Return how long each cause keeps an address suppressed."""
    spans = settings.suppression.expiry
    return Expiry(
        {
            Cause.HARD_BOUNCE: spans.hard_bounce,
            Cause.SOFT_BOUNCE: spans.soft_bounce,
            Cause.COMPLAINT: spans.complaint,
            Cause.UNSUBSCRIBE: spans.unsubscribe,
            Cause.MANUAL: None,
        }
    )


def feedback_address(settings: Settings) -> Mailbox:
    """Return where feedback reports are taken."""
    return Mailbox.parse(settings.inbound.feedback_address, utf8=True)


def bounce_rules() -> Rules:
    """Return the rules by which replies and reports are understood, as they ship."""
    return Rules.parse(resources.files("mta.bounces").joinpath("rules.toml").read_text("utf-8"))


class ReturnPathDomains:
    """From the domain of a From field to the one where its bounces come back, as the settings have it now."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Use other settings from now on; what was accepted keeps its return path."""
        self._own = {domain.name: domain.return_path for domain in settings.domain if domain.return_path}
        self._default = settings.inbound.return_path_domain or settings.hostname  # Settings fills it in

    def all(self) -> frozenset[str]:
        """Return every domain that return paths are made in."""
        return frozenset({self._default, *self._own.values()})

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
        place = str(source.file or f"${source.env}")
        remedy = "copy it back from your backup; with another keyring no return path made so far is known again"
        raise ConfigError(Problem(place, None, "secrets.keyring", str(error), remedy)) from None


APPLIED_ON_RELOAD = frozenset(
    {
        "account",
        "delivery.batch_above",
        "domain",
        "route",
        "inbound.feedback_address",
        "inbound.return_path_domain",
        "reputation.bounce_rate",
        "reputation.complaint_rate",
        "reputation.first_time_recipients_per_day",
        "reputation.min_volume",
        "reputation.scope",
        "reputation.warn_min_volume",
        "reputation.windows",
        "secrets.keyring",
        "suppression.expiry",
        "log.level",
        "queue.back_off",
        "queue.delay_notice_after",
        "queue.max_age",
        "queue.max_hold",
        "queue.retry",
        "queue.stop_grace",
        "submission.banner_delay",
        "submission.duplicate_window",
        "submission.idle_timeout",
        "submission.lockout",
        "submission.long_lines",
        "submission.max_commands_without_mail",
        "submission.max_connections",
        "submission.max_connections_per_ip",
        "submission.max_message_size",
        "submission.max_recipients",
        "submission.min_data_rate",
        "submission.receive_memory",
        "submission.tls",
        "submission.trace_client_address",
        "submission.trusted_account",
        "submission.trusted_networks",
    }
)
"""The keys whose changes a running server takes over; all others need a restart."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The keys that differ between two configurations, by what a reload can do about them."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


def changes(old: Settings, new: Settings) -> Changes:
    """Return what differs, but for keys that are not in force."""
    ignored = {".".join(map(str, key)) for key in NOT_IN_FORCE}
    names = [name for name in _differing(old, new) if name not in ignored]
    return Changes(
        applied=tuple(name for name in names if name in APPLIED_ON_RELOAD),
        needs_restart=tuple(name for name in names if name not in APPLIED_ON_RELOAD),
    )


def _differing(old: Settings, new: Settings) -> Iterator[str]:
    for name in Settings.model_fields:
        one, other = getattr(old, name), getattr(new, name)
        if not isinstance(one, Part):
            if one != other:
                yield name
            continue
        for key in type(one).model_fields:
            if getattr(one, key) != getattr(other, key):
                yield f"{name}.{key}"
