"""Does an SPF record let our addresses send? A reading of RFC 7208 §4 that is enough for what operators write.

What it does not evaluate (macros, exists, ptr) makes the answer unknown, never wrong.
"""

import ipaddress
from enum import StrEnum

from mta.doctor.names import Names

_MOST_LOOKUPS = 10  # RFC 7208 §4.6.4
_VERSION = "v=spf1"


class Spf(StrEnum):
    """What a record says of an address."""

    PASS = "pass"  # noqa: S105  SPF's word
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    PERMERROR = "permerror"
    UNKNOWN = "unknown"
    """It has terms that are not evaluated here."""


_QUALIFIERS = {"+": Spf.PASS, "-": Spf.FAIL, "~": Spf.SOFTFAIL, "?": Spf.NEUTRAL}


class SpfReader:
    """Evaluates records for one address. Raises NoAnswer when DNS gives none."""

    def __init__(self, names: Names, address: str) -> None:
        self._names = names
        self._address = ipaddress.ip_address(address)
        self._lookups = 0

    async def of(self, domain: str) -> Spf:
        """Return what a domain's record says."""
        records = [text for text in await self._names.txt(domain) if text.lower().split(" ")[0] == _VERSION]
        if not records:
            return Spf.NONE
        if len(records) > 1:
            return Spf.PERMERROR
        redirect = ""
        for term in records[0].split()[1:]:
            name, sep, value = term.partition("=")
            if sep and "/" not in name and ":" not in name:
                redirect = value if name.lower() == "redirect" else redirect
                continue
            qualifier, mechanism = (term[0], term[1:]) if term[0] in _QUALIFIERS else ("+", term)
            matches = await self._matches(mechanism, domain)
            if isinstance(matches, Spf):
                return matches
            if matches:
                return _QUALIFIERS[qualifier]
        if redirect:
            return Spf.PERMERROR if self._is_over() else await self.of(redirect)
        return Spf.NEUTRAL

    async def _matches(self, mechanism: str, domain: str) -> bool | Spf:
        """Return whether a mechanism matches; or what the whole record comes to because of it."""
        name, _, rest = mechanism.partition(":")
        kind, slash, length = name.lower().partition("/")
        if kind == "all":
            return True
        if kind in ("ip4", "ip6"):
            return self._is_in(rest)
        if "%" in mechanism or kind in ("exists", "ptr"):
            return Spf.UNKNOWN
        if kind not in ("a", "mx", "include"):
            return Spf.PERMERROR
        if self._is_over():
            return Spf.PERMERROR
        target, with_length, own_length = rest.partition("/")
        return await self._by_name(kind, target or domain, with_length + own_length or slash + length)

    async def _by_name(self, kind: str, target: str, cidr: str) -> bool | Spf:
        if kind == "include":
            result = await self.of(target)
            if result in (Spf.PERMERROR, Spf.UNKNOWN):
                return result
            return Spf.PERMERROR if result is Spf.NONE else result is Spf.PASS
        hosts = await self._names.mx(target) if kind == "mx" else (target,)
        found = [address for host in hosts[:_MOST_LOOKUPS] for address in await self._names.addresses(host)]
        for_ipv4, _, for_ipv6 = cidr.partition("//")
        length = for_ipv4.removeprefix("/") if self._address.version == 4 else for_ipv6
        return any(self._is_in(f"{address}/{length}" if length else address) for address in found)

    def _is_in(self, network: str) -> bool:
        try:
            return self._address in ipaddress.ip_network(network, strict=False)
        except ValueError:
            return False

    def _is_over(self) -> bool:
        self._lookups += 1
        return self._lookups > _MOST_LOOKUPS
