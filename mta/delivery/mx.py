"""From a recipient's domain to the hosts that take its mail: the operator's routes first, then DNS
(RFC 5321 §5.1, RFC 7505)."""

import ipaddress
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from mta.delivery.limits import Families
from mta.delivery.providers import Providers
from mta.delivery.replies import told
from mta.delivery.resolver import DnsTrouble, MxRecord, NoSuchDomain, Resolver
from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred
from mta.queue.seams import Hold, Host, Site

MAX_HOSTS = 20
"""MX hosts of a domain that are looked at; RFC 5321 §5.1 asks for two at least."""

# underscores are no part of a host name, yet some hosts have them
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)+"
)


@dataclass(frozen=True, slots=True)
class Route:
    """What the operator wants for domains that match a pattern: `example.com`, `*.example.com` (every name below
    it, not itself) or `*` (every name)."""

    pattern: str
    """Lower-case A-labels."""
    to: Host | Hold
    account: str | None = None
    """Whose mail goes this way; None: everybody's."""
    is_fallback: bool = False
    """Only what the domain's own hosts do not take from us goes this way."""
    batch: bool = False
    """Recipients of one message that go this way may share a transaction."""

    def matches(self, domain: str, account: str = "") -> bool:
        """Whether an account's mail for a domain goes this way."""
        if self.account is not None and self.account != account:
            return False
        return _fits(self.pattern, domain)


class MxSite(Site, frozen=True, eq=False):
    """A site found through DNS: the same site for every domain with these hosts, in whatever order dice put them."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MxSite) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[frozenset[tuple[str, int]], tuple[Host, ...]]:
        return frozenset((host.name, host.port) for host in self.hosts), self.fallback


class MxRouter:
    """The router of the real world."""

    def __init__(
        self,
        resolver: Resolver,
        routes: Iterable[Route],
        own_names: frozenset[str],
        port: int,
        dice: random.Random,
        providers: Providers = Providers(),  # noqa: B008  frozen
    ) -> None:
        """`own_names` are the names under which we are an MX host ourselves, `port` that of MX hosts."""
        self._providers = providers
        self._resolver = resolver
        self._routes = tuple(routes)
        self._own_names = own_names
        self._port = port
        self._dice = dice

    def replace_routes(self, routes: Iterable[Route]) -> None:
        """Use other routes from now on."""
        self._routes = tuple(routes)

    def is_routed(self, domain: str) -> bool:
        """Whether the operator named a way for a domain: such a name needs no dot, and no DNS."""
        return any(_fits(route.pattern, domain) and not route.is_fallback for route in self._routes)

    def held(self, domain: str, account: str = "") -> str | None:
        """Return why mail for a domain is kept, when the first route that matches says so."""
        first = self._first(domain, account)
        return first.to.reason if first is not None and isinstance(first.to, Hold) else None

    def batch_relay(self, domain: str, account: str = "") -> str | None:
        """Return the relay that mail for a domain goes to in batches, when the first route that matches says so."""
        first = self._first(domain, account)
        return _relay(first.to, ()).name if first is not None and first.batch and isinstance(first.to, Host) else None

    def _first(self, domain: str, account: str) -> Route | None:
        """Return the route that decides where mail goes at first; None: DNS does."""
        matching = (route for route in self._routes if route.matches(domain, account) and not route.is_fallback)
        return next(matching, None)

    async def route(self, domain: str, account: str = "") -> Site | Hold | Bounced | Deferred:
        """Return where an account's mail for a domain goes, or why it goes nowhere (RFC 5321 §5.1, RFC 7505 §4)."""
        fallback: tuple[Host, ...] = ()
        for route in self._routes:
            if not route.matches(domain, account):
                continue
            match route.to:
                case Hold():
                    return route.to
                case Host() as relay if route.is_fallback:
                    fallback = (*fallback, relay)
                case Host() as relay:
                    return _relay(relay, fallback)
        try:
            found = await self._by_dns(domain)
            return replace(found, fallback=fallback) if fallback and isinstance(found, Site) else found
        except NoSuchDomain:
            return Bounced(told(failures.NO_SUCH_DOMAIN, domain))
        except DnsTrouble as trouble:
            return Deferred(told(failures.DNS_TROUBLE, str(trouble)))

    async def _by_dns(self, domain: str) -> Site | Bounced:
        answer = await self._resolver.mx(domain)
        if answer.is_null:
            return Bounced(told(failures.NULL_MX, domain))
        if not answer.records:
            # only now, with no MX record for certain, may the domain itself be the host (RFC 5321 §5.1)
            if not await self._resolver.addresses(domain, Families.DUAL):
                return Bounced(told(failures.NO_HOST, f"{domain} has neither MX nor address records"))
            records: tuple[MxRecord, ...] = (MxRecord(0, domain),)
        else:
            records = tuple(record for record in answer.records if _is_host(record.host))
            if not records:
                names = ", ".join(record.host[:80] or "." for record in answer.records[:3])
                return Bounced(told(failures.NO_HOST, f"the MX records of {domain} name no host: {names}"))
        ours = min((record.preference for record in records if record.host in self._own_names), default=None)
        if ours is not None:
            # what is no better than ourselves would hand the mail back to us (RFC 5321 §5.1)
            records = tuple(record for record in records if record.preference < ours)
            if not records:
                return Bounced(told(failures.ROUTING_LOOP, f"this server is the best MX host of {domain}"))
        return self._site(records)

    def _site(self, records: tuple[MxRecord, ...]) -> Site:
        best = min(records, key=lambda record: (record.preference, record.host))
        foremost = {record.host for record in records if record.preference == best.preference}
        known = self._providers.of_all(foremost)
        # equals in random order (RFC 5321 §5.1): shuffled first, for sorting keeps the order of equals
        order = sorted(self._dice.sample(records, len(records)), key=lambda record: record.preference)
        names = list(dict.fromkeys(record.host for record in order))[:MAX_HOSTS]
        return MxSite(known or best.host, tuple(Host(name, self._port) for name in names))


def _relay(host: Host, fallback: tuple[Host, ...]) -> Site:
    name = f"[{host.name}]" if ":" in host.name else host.name
    return Site(host.socket or f"{name}:{host.port}", (host,), fallback)


def _fits(pattern: str, domain: str) -> bool:
    if pattern.startswith("*"):
        return domain.endswith(pattern[1:])
    return domain == pattern


def _is_host(name: str) -> bool:
    """Not an address (whose owner misread RFC 5321 §5.1: MX names a host), not escaped octets, not the root."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()
    return False
