"""Settings that are well-formed one by one and contradict one another: each check is a function of the whole.

The table at the end says which keys a check reads: where one of these is already known to be broken, the check would
only repeat or invent trouble, and is left out. Nothing here looks at files.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from mta.config.explain import Finding
from mta.config.positions import Loc
from mta.config.settings import Settings
from mta.config.values import format_duration, given

LONGEST_WINDOW = timedelta(days=100)
"""What the ratios are counted from is kept as long as this."""

Check = Callable[[Settings], Iterator[Finding]]


def retry_schedule(settings: Settings) -> Iterator[Finding]:
    """Mail that is deferred needs a next time, before it is too old."""
    retry, ages = settings.queue.retry, settings.queue.max_age
    if not retry:
        yield Finding(
            ("queue", "retry"), "has no entry, so deferred mail would never be tried again", 'e.g. retry = ["5m", "1h"]'
        )
        return
    for stream, age in (("transactional", ages.transactional), ("bulk", ages.bulk)):
        if age < retry[0]:
            yield Finding(
                ("queue", "max_age"),
                f"{stream} mail expires after {format_duration(age)}, before its first retry after "
                f"{format_duration(retry[0])}",
                "raise max_age or shorten the first entry of retry, unless one attempt is meant to be all",
                is_warning=True,
            )


def time_limits(settings: Settings) -> Iterator[Finding]:
    """The limit of a whole attempt has room for each of its steps."""
    timeouts = settings.delivery.timeouts
    for step in ("connect", "greeting", "command", "data", "block", "final"):
        if getattr(timeouts, step) > timeouts.attempt:
            yield Finding(
                ("delivery", "timeouts", "attempt"),
                f"{format_duration(timeouts.attempt)} for the whole attempt is shorter than {step} "
                f"({format_duration(getattr(timeouts, step))})",
                f"raise attempt or lower {step}",
            )


def rates_in_order(settings: Settings) -> Iterator[Finding]:
    """Whoever is suspended has been warned before."""
    reputation = settings.reputation
    for name, rate in (("bounce_rate", reputation.bounce_rate), ("complaint_rate", reputation.complaint_rate)):
        if rate.warn >= rate.suspend:
            yield Finding(
                ("reputation", name),
                f"warn ({rate.warn:g}) is not below suspend ({rate.suspend:g})",
                "lower warn or raise suspend",
            )
    if reputation.warn_min_volume > reputation.min_volume:
        yield Finding(
            ("reputation", "warn_min_volume"),
            f"{reputation.warn_min_volume} is above min_volume ({reputation.min_volume}), so nobody would be warned "
            "before being suspended",
            "lower warn_min_volume or raise min_volume",
        )


def windows_within_counts(settings: Settings) -> Iterator[Finding]:
    """What a window looks at is still there."""
    for index, window in enumerate(settings.reputation.windows):
        if window > LONGEST_WINDOW:
            yield Finding(
                ("reputation", "windows", index),
                f"{format_duration(window)} is more than the {format_duration(LONGEST_WINDOW)} that counts are kept",
                f'use "{format_duration(LONGEST_WINDOW)}" or less',
            )


def plain_listeners(settings: Settings) -> Iterator[Finding]:
    """Passwords without TLS stay on this machine."""
    for index, listen in enumerate(settings.submission.listen_plain):
        if not listen.is_loopback:
            yield Finding(
                ("submission", "listen_plain", index),
                f'"{listen}" is not a loopback address, and passwords would cross the network unprotected',
                f'use listen or listen_tls, or "127.0.0.1:{listen.port}"',
            )


def listeners_once(settings: Settings) -> Iterator[Finding]:
    """One address and port has one listener."""
    seen: dict[object, Loc] = {}
    for section, key, listeners in (
        ("submission", "listen", settings.submission.listen),
        ("submission", "listen_tls", settings.submission.listen_tls),
        ("submission", "listen_plain", settings.submission.listen_plain),
        ("inbound", "listen", settings.inbound.listen),
        ("http", "listen", settings.http.listen),
    ):
        for index, listen in enumerate(listeners):
            loc = (section, key, index)
            if listen in seen and listen.port:
                yield Finding(loc, f'"{listen}" is given twice', "remove one of them", first=seen[listen])
            seen.setdefault(listen, loc)


def trusted_networks(settings: Settings) -> Iterator[Finding]:
    """Mail without a login still belongs to an account."""
    submission = settings.submission
    if submission.trusted_networks and not submission.trusted_account:
        yield Finding(
            ("submission", "trusted_networks"),
            "is set, but trusted_account is not",
            "name the account that this mail belongs to, or empty trusted_networks",
        )
    names = [account.name for account in settings.account]
    if submission.trusted_account and submission.trusted_account not in names:
        yield Finding(
            ("submission", "trusted_account"),
            f"there is no account {given(submission.trusted_account)}",
            f"add [[account]] name = {given(submission.trusted_account)}, or name another",
        )


def certificates(settings: Settings) -> Iterator[Finding]:
    """A certificate and its key come together; none at all is allowed, and said."""
    for section, tls in (("submission", settings.submission.tls), ("http", settings.http.tls)):
        if tls.cert and not tls.key:
            yield Finding((section, "tls"), "has a cert without a key", 'add the private key, e.g. key = "tls/key.pem"')
        if tls.key and not tls.cert:
            yield Finding((section, "tls"), "has a key without a cert", 'add it, e.g. cert = "tls/cert.pem"')
    submission = settings.submission
    if not submission.tls.cert and not submission.tls.key and (submission.listen or submission.listen_tls):
        yield Finding(
            ("submission", "tls"),
            "no certificate is set; a self-signed certificate in data_dir is used, which clients have to be told to "
            "trust",
            "set tls.cert and tls.key under [submission]",
            is_warning=True,
        )


def accounts(settings: Settings) -> Iterator[Finding]:
    """Each account can log in and sends from domains that exist."""
    if not settings.account:
        yield Finding(
            (),
            "there is no [[account]], so nobody can submit mail until one is made",
            "run: mta account add NAME",
            is_warning=True,
        )
    domains = {domain.name for domain in settings.domain}
    for index, account in enumerate(settings.account):
        if account.password_hash is None and account.name != settings.submission.trusted_account:
            yield Finding(
                ("account", index),
                "has no password_hash, so nobody can log in as it",
                f"run: mta account passwd {account.name}",
                is_warning=True,
            )
        for position, domain in enumerate(account.domains):
            if domain not in domains:
                yield Finding(
                    ("account", index, "domains", position),
                    f'domain "{domain}" is not configured',
                    f'add [[domain]] name = "{domain}", or take it out of the list',
                )


def routes(settings: Settings) -> Iterator[Finding]:
    """A route says where to, or to keep; and does not give a password away."""
    for index, route in enumerate(settings.route):
        loc: Loc = ("route", index)
        if route.relay is None and not route.hold:
            yield Finding(
                loc, "has neither relay nor hold", 'add relay = "smtp://relay.example.com:25", or hold = true'
            )
        if route.relay is not None and route.hold:
            yield Finding(loc, "has both relay and hold", "remove one of them")
        if route.fallback and route.hold:
            yield Finding((*loc, "fallback"), "is for relays, and this route keeps its mail", "remove it")
        if route.batch and (route.hold or route.fallback):
            yield Finding((*loc, "batch"), "is for a relay that mail goes to at first", "remove it")
        if route.client_key is not None and route.client_cert is None:
            yield Finding((*loc, "client_key"), "has no client_cert beside it", "add client_cert, or remove it")
        relay = route.relay
        if relay and relay.password and relay.tls == "opportunistic" and not relay.is_loopback:
            yield Finding(
                (*loc, "tls"),
                '"opportunistic" would send the relay\'s password unprotected when the relay offers no TLS',
                'use tls = "require"',
            )


def names_once(settings: Settings) -> Iterator[Finding]:
    """Nothing has the name of something else of its kind."""
    keyed: list[tuple[Loc, object]] = []
    keyed += [(("domain", i), domain.name) for i, domain in enumerate(settings.domain)]
    keyed += [(("account", i), account.name) for i, account in enumerate(settings.account)]
    keyed += [(("source", i), source.name) for i, source in enumerate(settings.source)]
    keyed += [(("source", i, "address"), source.address) for i, source in enumerate(settings.source)]
    keyed += [(("shaping", i), shaping.site) for i, shaping in enumerate(settings.shaping)]
    seen: dict[object, Loc] = {}
    for loc, value in keyed:
        kind = (loc[0], loc[2:], value)
        if kind in seen:
            yield Finding(loc, "is given twice", "remove or rename one of them", first=seen[kind])
        seen.setdefault(kind, loc)


def selectors_once(settings: Settings) -> Iterator[Finding]:
    """A selector names one key of its domain."""
    for index, domain in enumerate(settings.domain):
        for selector, times in Counter(key.selector for key in domain.dkim or ()).items():
            if times > 1:
                yield Finding(
                    ("domain", index, "dkim"),
                    f'selector "{selector}" is given {times} times',
                    "give each key a selector of its own",
                )


@dataclass(frozen=True, slots=True)
class Entry:
    """A check and the keys it reads."""

    check: Check
    keys: tuple[Loc, ...]


CHECKS: tuple[Entry, ...] = (
    Entry(retry_schedule, (("queue", "retry"), ("queue", "max_age"))),
    Entry(time_limits, (("delivery", "timeouts"),)),
    Entry(rates_in_order, (("reputation",),)),
    Entry(windows_within_counts, (("reputation", "windows"),)),
    Entry(plain_listeners, (("submission", "listen_plain"),)),
    Entry(listeners_once, (("submission",), ("inbound", "listen"), ("http", "listen"))),
    Entry(trusted_networks, (("submission", "trusted_networks"), ("submission", "trusted_account"), ("account",))),
    Entry(certificates, (("submission", "tls"), ("submission", "listen"), ("submission", "listen_tls"), ("http",))),
    Entry(accounts, (("account",), ("domain",), ("submission", "trusted_account"))),
    Entry(routes, (("route",),)),
    Entry(names_once, (("domain",), ("account",), ("source",), ("shaping",))),
    Entry(selectors_once, (("domain",),)),
)


def contradictions(settings: Settings, broken: tuple[Loc, ...] = ()) -> Iterator[Finding]:
    """Yield what the checks find, but for those that read a key in `broken`."""
    for entry in CHECKS:
        if not any(key[: len(place)] == place[: len(key)] for key in entry.keys for place in broken):
            yield from entry.check(settings)
