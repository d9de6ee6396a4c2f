"""Proof that the resolvers validate DNSSEC, made at start: without it, DANE stays off, and says so.

A resolver tells by one bit (AD) that it validated an answer. Anybody on the way to it can set that bit, so that only a
resolver on this very machine is believed (RFC 7672 §2.1.3); and a forwarder may pass it on, or set it always, so that
each resolver has to show both that it knows a signed name and that it refuses one whose signatures are broken.
"""

import asyncio
import ipaddress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver

from mta.delivery.resolver import ResolverSettings, Server

_PAYLOAD = 1232
_DNS_PORT = 53


class Seen(StrEnum):
    """What a resolver says of one name."""

    VALIDATED = "validated"
    """An answer with AD."""
    UNVALIDATED = "not validated"
    """An answer without."""
    REFUSED = "refused"
    """SERVFAIL: what a validating resolver says of broken signatures, and any resolver in trouble."""
    ABSENT = "no such name"
    TROUBLE = "no answer"


class Asker(Protocol):
    """Asks one resolver one question."""

    async def ask(self, server: Server, name: str, type: str) -> Seen:
        """Return what it says. Never raises for what the resolver does."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked for."""

    signed: tuple[tuple[str, str], ...] = ((".", "SOA"), ("com.", "SOA"))
    """Names and types with good signatures. One validated answer suffices: some resolvers hold the root as a zone of
    their own, for which they set no AD."""
    broken: tuple[tuple[str, str], ...] = (("dnssec-failed.org.", "A"), ("rhybar.cz.", "A"))
    """Names whose signatures are broken on purpose. Only an answer counts against the resolver: the owners may take
    the names away at any time."""


@dataclass(frozen=True, slots=True)
class DnssecProof:
    """Whether AD may be believed."""

    validates: bool
    reason: str
    """For the log and the doctor: what was seen, and what to do."""
    is_passing: bool = False
    """A resolver did not answer; what it would have shown is not known."""


_REMEDY = "DANE is off; run a validating resolver such as unbound on this machine and name it in delivery.resolvers"


class DnsAsker:
    """Asks over the network."""

    def __init__(self, timeout: timedelta = timedelta(seconds=5)) -> None:
        self._timeout = timeout

    async def ask(self, server: Server, name: str, type: str) -> Seen:
        """Ask by UDP, then TCP if the answer is cut."""
        query = dns.message.make_query(name, type, use_edns=0, payload=_PAYLOAD)
        # "tell me whether you validated" without the signatures themselves (RFC 6840 §5.7), as deliveries ask, too
        query.flags |= dns.flags.AD
        span = self._timeout.total_seconds()
        try:
            async with asyncio.timeout(2 * span):
                response, _ = await dns.asyncquery.udp_with_fallback(query, server.address, span, server.port)
        except (dns.exception.DNSException, OSError, EOFError, ValueError):  # TimeoutError is an OSError
            return Seen.TROUBLE
        match response.rcode():
            case dns.rcode.NOERROR if any(rrset.rdtype == dns.rdatatype.from_text(type) for rrset in response.answer):
                return Seen.VALIDATED if response.flags & dns.flags.AD else Seen.UNVALIDATED
            case dns.rcode.SERVFAIL:
                return Seen.REFUSED
            case dns.rcode.NOERROR | dns.rcode.NXDOMAIN:
                return Seen.ABSENT
        return Seen.TROUBLE


async def prove(servers: tuple[Server, ...], asker: Asker, probe: Probe | None = None) -> DnssecProof:
    """Return whether all resolvers validate: a question may go to any of them."""
    if not servers:
        return DnssecProof(False, f"no resolver is configured: {_REMEDY}")
    for server in servers:
        found = await _objection(server, asker, probe or Probe())
        if found is not None:
            return replace(found, reason=f"the resolver {_shown(server)} {found.reason}: {_REMEDY}")
    listed = ", ".join(map(_shown, servers))
    return DnssecProof(True, f"DNSSEC is validated by {listed}; DANE is on")


def servers_in_use(settings: ResolverSettings) -> tuple[Server, ...]:
    """Return the resolvers that will be asked: those of the settings, else those of /etc/resolv.conf."""
    if settings.servers:
        return settings.servers
    try:
        known = dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return (Server("127.0.0.1"),)  # as `resolver` and the C library do
    return tuple(Server(str(one), _DNS_PORT) for one in known.nameservers)


async def _objection(server: Server, asker: Asker, probe: Probe) -> DnssecProof | None:
    """Return what speaks against one resolver."""
    if not _is_loopback(server.address):
        return DnssecProof(False, "is not on this machine, so that its word on DNSSEC may be forged on the way")
    if not probe.signed:
        return DnssecProof(False, "cannot be tested")
    seen = []
    for name, type in probe.signed:
        seen.append(await asker.ask(server, name, type))
        if seen[-1] is Seen.VALIDATED:
            break
    else:
        silent = all(one in (Seen.TROUBLE, Seen.REFUSED) for one in seen)
        return DnssecProof(False, f"does not validate DNSSEC ({probe.signed[-1][0]}: {seen[-1]})", silent)
    for name, type in probe.broken:
        if await asker.ask(server, name, type) in (Seen.VALIDATED, Seen.UNVALIDATED):
            return DnssecProof(False, f"answers for {name}, whose signatures are broken on purpose")
    return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _shown(server: Server) -> str:
    return server.address if server.port == _DNS_PORT else f"{server.address} port {server.port}"
