"""The records that receivers look up about us: are they there, and do they say what this server does?

What they should be is printed by `mta dns`.
"""

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from mta.dkim.keys import SigningKey
from mta.doctor.finding import Finding, fail, ok, skipped, warn
from mta.doctor.names import LocalAddresses, Names, NoAnswer
from mta.doctor.spf import Spf, SpfReader

_SHOW = "mta dns prints the record to publish"
_ASK_AGAIN = "look whether the name servers of that domain answer; see delivery.resolvers"
_BAD_SPF = {
    Spf.FAIL: "refuses",
    Spf.SOFTFAIL: "doubts",
    Spf.NEUTRAL: "says nothing of",
    Spf.PERMERROR: "is broken, and so says nothing of",
    Spf.NONE: "does not exist for",
}


@dataclass(frozen=True, slots=True)
class Published:
    """What this server is and does, as far as DNS has to say it."""

    hostname: str
    domains: tuple[str, ...]
    """Those that mail is sent from."""
    return_paths: tuple[str, ...]
    """Domains that bounces come back to."""
    keys: tuple[SigningKey, ...] = ()
    sources: tuple[str, ...] = ()
    """Addresses that are configured to send from."""
    inbound: tuple[int, ...] = field(default=(25,))
    """Ports that what comes back is taken at."""


class Records:
    """The questions."""

    def __init__(self, published: Published, names: Names, local_addresses: LocalAddresses) -> None:
        self._published = published
        self._names = names
        self._local = local_addresses

    async def resolver(self) -> Sequence[Finding]:
        """Do the name servers answer at all?"""
        name = self._published.hostname
        try:
            await self._names.addresses(name)
        except NoAnswer as why:
            return [fail(f"no answer: {why}", name, "name others in delivery.resolvers, or see /etc/resolv.conf")]
        return [ok("the name servers answer")]

    async def hostname(self) -> Sequence[Finding]:
        """Does the name we greet with lead to an address, and this machine's?"""
        name = self._published.hostname
        return await _asked(name, partial(self._hostname, name))

    async def reverse(self) -> Sequence[Finding]:
        """Do the addresses we send from lead back to the name (FCrDNS)?"""
        name = self._published.hostname
        return await _asked(name, self._reverse)

    async def return_paths(self) -> Sequence[Finding]:
        """Do bounces find the way back?"""
        return [
            finding
            for domain in self._published.return_paths
            for finding in await _asked(domain, partial(self._return_path, domain))
        ]

    async def spf(self) -> Sequence[Finding]:
        """Do the records of the return paths let our addresses send?"""
        return [
            finding
            for domain in self._published.return_paths
            for finding in await _asked(domain, partial(self._spf, domain))
        ]

    async def dkim(self) -> Sequence[Finding]:
        """Are the keys that we sign with published?"""
        found = [
            finding for key in self._published.keys for finding in await _asked(key.dns_name, partial(self._dkim, key))
        ]
        return found or [skipped("no key is configured")]

    async def dmarc(self) -> Sequence[Finding]:
        """Does each domain that we send from have a policy?"""
        return [
            finding
            for domain in self._published.domains
            for finding in await _asked(domain, partial(self._dmarc, domain))
        ]

    async def public_addresses(self) -> tuple[str, ...]:
        """Return the public addresses that mail leaves from, as far as they can be known. Raises NoAnswer."""
        found = self._published.sources or await self._names.addresses(self._published.hostname)
        return tuple(address for address in found if ipaddress.ip_address(address).is_global)

    async def _hostname(self, name: str) -> Sequence[Finding]:
        addresses = await self._names.addresses(name)
        if not addresses:
            return [fail("has no address: receivers refuse a host that greets with such a name", name, _SHOW)]
        local = [one for one in self._local() if ipaddress.ip_address(one).is_global]
        if missing := [one for one in local if one not in (*addresses, *self._published.sources)]:
            what = f"leads to {', '.join(addresses)}, but packets leave from {', '.join(missing)}"
            return [warn(what, name, "add that address to the name's A or AAAA records, or send from another one")]
        return [ok(f"leads to {', '.join(addresses)}", name)]

    async def _reverse(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for address in await self.public_addresses():
            found += await _asked(address, partial(self._reverse_of, address))
        return found or [skipped("no public address is known that mail leaves from", self._published.hostname)]

    async def _reverse_of(self, address: str) -> Sequence[Finding]:
        name, names = self._published.hostname, await self._names.names_of(address)
        remedy = f"have whoever gave you the address set its PTR record to {name}"
        if not names:
            return [fail("has no PTR record: large receivers refuse mail from such an address", address, remedy)]
        if name in names:
            return [ok(f"leads back to {name}", address)]
        confirmed = [one for one in names if address in await self._names.addresses(one)]
        if confirmed:
            what = f"leads to {', '.join(confirmed)}, which leads back, but is not the name we greet with"
            return [warn(what, address, remedy)]
        return [fail(f"leads to {', '.join(names)}, which does not lead back", address, remedy)]

    async def _return_path(self, domain: str) -> Sequence[Finding]:
        hosts = await self._names.mx(domain)
        if hosts == ("",):
            return [fail("says that it takes no mail (null MX): no bounce comes back", domain, _SHOW)]
        where = hosts or (domain,)
        addresses = {address for host in where for address in await self._names.addresses(host)}
        if not addresses:
            return [fail("has no MX record that leads anywhere: no bounce comes back", domain, _SHOW)]
        ours = set(await self._names.addresses(self._published.hostname))
        if not addresses & ours:
            what = f"leads to {', '.join(where)}, and not to this server: bounces go elsewhere"
            return [warn(what, domain, f"{_SHOW}; or forward what arrives there to inbound.listen here")]
        if 25 not in self._published.inbound:
            what = f"leads here, to port 25, but inbound.listen has {self._published.inbound or 'nothing'}"
            return [warn(what, domain, "forward port 25 to it, or listen there")]
        return [ok(f"leads here, by {', '.join(where)}", domain)]

    async def _spf(self, domain: str) -> Sequence[Finding]:
        found = []
        addresses = await self.public_addresses()
        if not addresses:
            return [skipped("no public address is known that mail leaves from", domain)]
        for address in addresses:
            result = await SpfReader(self._names, address).of(domain)
            if result is Spf.PASS:
                found.append(ok(f"its SPF record names {address}", domain))
            elif result is Spf.UNKNOWN:
                found.append(skipped(f"its SPF record has terms that are not judged here; ask of {address}", domain))
            else:
                said = _BAD_SPF[result]
                found.append(fail(f"its SPF record {said} {address}", domain, _SHOW))
        return found

    async def _dkim(self, key: SigningKey) -> Sequence[Finding]:
        records = [text for text in await self._names.txt(key.dns_name) if "p=" in text.replace(" ", "")]
        if not records:
            return [fail("the key is not published: our signatures are worth nothing", key.dns_name, _SHOW)]
        if len(records) > 1:
            return [fail("there are several records: verifiers may take any", key.dns_name, "leave only the right one")]
        tags = _tags(records[0])
        if not tags.get("p"):
            return [fail("the key was revoked: p= is empty", key.dns_name, _SHOW)]
        if _octets(tags["p"]) != key.public:
            return [fail("another key is published than the one we sign with", key.dns_name, _SHOW)]
        if "y" in tags.get("t", "").split(":"):
            return [warn("the record says t=y, testing: signatures count for nothing", key.dns_name, "take t=y out")]
        return [ok("the key is published", key.dns_name)]

    async def _dmarc(self, domain: str) -> Sequence[Finding]:
        labels = domain.split(".")
        # the domain's own, or else that of the one it belongs to (RFC 7489 §6.6.3), found by going up
        for start in range(max(1, len(labels) - 1)):
            name = f"_dmarc.{'.'.join(labels[start:])}"
            records = [text for text in await self._names.txt(name) if text.lower().startswith("v=dmarc1")]
            if len(records) > 1:
                return [fail("there are several records, so none counts", name, "leave only one")]
            if records:
                policy = _tags(records[0]).get("p", "")
                if policy not in ("none", "quarantine", "reject"):
                    return [fail(f"the record has no policy that means anything: p={policy}", name, _SHOW)]
                return [ok(f"the policy is {policy}", name)]
        what = "there is no policy: large receivers want one of whoever sends much"
        return [warn(what, f"_dmarc.{domain}", _SHOW)]


async def _asked(where: str, question: Callable[[], Awaitable[Sequence[Finding]]]) -> Sequence[Finding]:
    """Ask; that DNS gives no answer is a finding, too."""
    try:
        return await question()
    except NoAnswer as why:
        return [warn(f"DNS does not tell: {why}", where, _ASK_AGAIN)]


def _tags(record: str) -> dict[str, str]:
    parts = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        return b""
