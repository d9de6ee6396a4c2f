"""A breaker against false mass bounces: a provider that says "no such user" of everybody for an hour must not empty our
lists of recipients, nor suspend those who wrote to them.

It watches hard bounces by site. When they leave their usual ratio by far, and those who are said not to exist were
delivered to lately or belong to the lists of several accounts, what such bounces would do to suppression and reputation
is withheld until the ratio is normal again or the operator closes it. A bad list of one account does not open it: its
addresses were never delivered to. Deliveries bounce all the same. Where it is kept meanwhile is `withheld`'s business.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from msgspec import Struct

RECENT = 50
"""Results by which a site is judged."""
LEAST_HARD = 10
"""Hard bounces among them below which nothing is said."""
LEAST_RATIO = 0.3
TIMES_USUAL = 5
"""The ratio must be both that much and so many times the usual one."""
LEAST_KNOWN = 5
"""Hard bounces of recipients who were delivered to lately that prove it."""
LEAST_ACCOUNTS = 3
"""Or so many accounts that each see `LEAST_HARD / LEAST_ACCOUNTS` of them at least."""
NORMAL = 0.1
"""Below that ratio, or below twice the usual one, an open breaker closes."""

_USUAL_AT_FIRST = 0.02
_USUAL_OVER = 500
_SITES = 5000
_RECIPIENTS = 50_000


class Opened(Struct, frozen=True):
    """Why a breaker opened."""

    site: str
    hard: int
    results: int
    known: int
    """Of the hard bounces, those of recipients who were delivered to lately."""
    accounts: int
    usual: float


class Result(Struct, frozen=True):
    """What became of a delivery at a site."""

    site: str
    account: str
    recipient: str
    hard: bool
    """A hard bounce; else a success."""


@dataclass(slots=True)
class _Site:
    recent: deque[tuple[bool, bool, str]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Hard, known, account."""
    usual: float = _USUAL_AT_FIRST
    is_open: bool = False
    is_believed: bool = False
    """An operator said that its bounces are true: it stays closed until the ratio was normal."""


class Breaker:
    """Watches the sites of one worker."""

    def __init__(self) -> None:
        self._sites: OrderedDict[str, _Site] = OrderedDict()
        self._delivered: OrderedDict[int, None] = OrderedDict()
        """Hashes of recipients who were delivered to, the latest last."""
        self._closed: set[str] = set()

    def note(self, result: Result) -> Opened | None:
        """Take note of a success or a hard bounce; return why the breaker opened, when this opened it."""
        site = self._site(result.site)
        key = hash((result.site, result.recipient))
        known = key in self._delivered
        if not result.hard:
            self._delivered[key] = None
            self._delivered.move_to_end(key)
            if len(self._delivered) > _RECIPIENTS:
                self._delivered.popitem(last=False)
        site.recent.append((result.hard, known, result.account))
        hard = sum(each[0] for each in site.recent)
        ratio = hard / len(site.recent)
        is_normal = ratio < max(NORMAL, 2 * site.usual)
        if site.is_open:
            if is_normal:
                site.is_open = False
                self._closed.add(result.site)
            return None
        if site.is_believed and not (is_normal and len(site.recent) == RECENT):
            # what is true becomes usual
            site.usual += (result.hard - site.usual) / _USUAL_OVER
            return None
        site.is_believed = False
        opened = self._judge(result.site, site, hard, ratio)
        if opened is None:
            site.usual += (result.hard - site.usual) / _USUAL_OVER
        site.is_open = opened is not None
        return opened

    def is_open(self, site: str) -> bool:
        """Whether what hard bounces at a site would do is withheld."""
        found = self._sites.get(site)
        return found is not None and found.is_open

    def close(self, site: str) -> bool:
        """The operator says that the bounces there are true; whether it was open. It does not open again before the
        ratio was normal."""
        was_open = self.is_open(site)
        if was_open:
            self._sites[site] = _Site(usual=self._sites[site].usual, is_believed=True)
        return was_open

    def resume(self, site: str) -> None:
        """Let it be open as it was before a restart: as if nothing had been heard but hard bounces."""
        found = self._site(site)
        found.is_open = True
        found.recent.extend([(True, True, "")] * RECENT)

    def closed(self) -> frozenset[str]:
        """Return the sites where it closed by itself since this was asked last."""
        closed, self._closed = frozenset(self._closed), set()
        return closed

    def _judge(self, name: str, site: _Site, hard: int, ratio: float) -> Opened | None:
        if hard < LEAST_HARD or ratio < max(LEAST_RATIO, TIMES_USUAL * site.usual):
            return None
        known = sum(each[1] for each in site.recent if each[0])
        by_account: dict[str, int] = {}
        for is_hard, _, account in site.recent:
            by_account[account] = by_account.get(account, 0) + is_hard
        accounts = sum(count * LEAST_ACCOUNTS >= LEAST_HARD for count in by_account.values())
        if known < LEAST_KNOWN and accounts < LEAST_ACCOUNTS:
            return None
        return Opened(name, hard, len(site.recent), known, accounts, round(site.usual, 4))

    def _site(self, name: str) -> _Site:
        site = self._sites.setdefault(name, _Site())
        self._sites.move_to_end(name)
        if len(self._sites) > _SITES:
            # what is withheld at an open one waits for it; so many are never open
            oldest = next((one for one, known in self._sites.items() if not known.is_open), name)
            del self._sites[oldest]
        return site
