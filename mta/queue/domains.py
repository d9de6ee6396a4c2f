"""Which site a domain's mail went to when it was last looked up, so that a claim can pass over what a full site waits
for. A memory, not a decision: where mail goes is asked anew for each attempt.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

KEPT = 20_000
"""Domains that are remembered; of a site with more, some are claimed in vain and given back."""
SETTLED_AFTER = 100
"""Attempts in a row to one site after which a domain's other sites are forgotten: its MX records were changed."""


@dataclass(slots=True)
class _Ways:
    """Where a domain's mail goes: several sites, where accounts have routes of their own."""

    sites: set[str] = field(default_factory=set)
    last: str = ""
    streak: int = 0


class Domains:
    """Remembers the last so many domains."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._ways: OrderedDict[str, _Ways] = OrderedDict()
        self._domains: dict[str, set[str]] = {}

    def note(self, domain: str, site: str) -> None:
        """A domain's mail goes to a site."""
        ways = self._ways.setdefault(domain, _Ways())
        self._ways.move_to_end(domain)
        ways.streak = ways.streak + 1 if ways.last == site else 1
        ways.last = site
        ways.sites.add(site)
        self._domains.setdefault(site, set()).add(domain)
        if ways.streak >= SETTLED_AFTER:
            for other in ways.sites - {site}:
                self._part(domain, other)
            ways.sites = {site}
        if len(self._ways) > self._kept:
            oldest, gone = self._ways.popitem(last=False)
            for each in gone.sites:
                self._part(oldest, each)

    def sites_of(self, domain: str) -> frozenset[str]:
        """Return the sites that a domain's mail goes to; empty: not known."""
        ways = self._ways.get(domain)
        return frozenset(ways.sites) if ways is not None else frozenset()

    def only_at(self, sites: Collection[str]) -> frozenset[str]:
        """Return the domains whose mail goes to some sites and to no other."""
        closed = frozenset(sites)
        found: set[str] = set()
        for site in closed:
            found |= {domain for domain in self._domains.get(site, ()) if self._ways[domain].sites <= closed}
        return frozenset(found)

    def _part(self, domain: str, site: str) -> None:
        self._domains[site].discard(domain)
        if not self._domains[site]:
            del self._domains[site]
