"""Names to MX hosts and addresses, over dnspython's resolver, whose answers and troubles become ours here.

What the answers mean for mail is left to `mx` and `dane`, which addresses may be used to `guard`. Nothing is validated
here: the resolver that is asked should do that. Its word that it did is passed on as `secure`, and means nothing before
`dnssec` has proved it.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TLSA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.resolver
import dns.reversename

from mta.clock import Clock
from mta.delivery.limits import Families
from mta.delivery.single_flight import SingleFlight
from mta.delivery.tlsa import HostAnswer, TlsaAnswer, TlsaRecord

_PAYLOAD = 1232
"""Octets over UDP that are not fragmented anywhere; more comes over TCP."""
_MAX_TTL = 86400
_MAX_NEGATIVE_TTL = 300
"""Seconds. Of a domain that is being set up, the world learns soon."""
_WHY = 300
_STALE = 3600
"""Seconds for which an answer is still used past its time when DNS is down (RFC 8767 §4 allows days; hosts move)."""
_RECHECK = 30
"""Seconds for which such an answer stands before DNS is asked again (RFC 8767 §5)."""

_MX, _A, _AAAA = dns.rdatatype.MX, dns.rdatatype.A, dns.rdatatype.AAAA
_TXT, _TLSA, _CNAME = dns.rdatatype.TXT, dns.rdatatype.TLSA, dns.rdatatype.CNAME
_PTR = dns.rdatatype.PTR


class NoSuchDomain(Exception):
    """It is certain that the name does not exist (NXDOMAIN)."""


class DnsTrouble(Exception):
    """Nothing is certain: no answer in time, SERVFAIL, a refusal, garbage. Ask again later."""


@dataclass(frozen=True, slots=True)
class MxRecord:
    """One MX record. An empty host is the root: "no mail here" (RFC 7505 §3)."""

    preference: int
    host: str
    """As DNS has it, lower case, without the final dot: may be junk."""


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """A domain's MX records by preference. None means that the domain certainly has none."""

    records: tuple[MxRecord, ...] = ()
    secure: bool = False
    """The answer was validated, that there are none included."""
    canonical: str = ""
    """What the domain is an alias of; empty when of nothing."""

    @property
    def is_null(self) -> bool:
        """Whether the domain says that it takes no mail. A root among other records is junk, not a null MX."""
        return bool(self.records) and not any(record.host for record in self.records)


class Resolver(Protocol):
    """What delivery asks of DNS."""

    async def mx(self, domain: str) -> MxAnswer:
        """Return a domain's MX records. Raises NoSuchDomain or DnsTrouble."""
        ...

    async def addresses(self, host: str, families: Families) -> tuple[str, ...]:
        """Return a host's addresses in the order to try them, none if it certainly has none of these families.

        Raises NoSuchDomain or DnsTrouble.
        """
        ...


@dataclass(frozen=True, slots=True)
class Server:
    """A name server to ask."""

    address: str
    port: int = 53


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """Whom to ask and how long. Without servers, those of /etc/resolv.conf."""

    servers: tuple[Server, ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    """For one question, all servers and repetitions together."""
    patience: timedelta = timedelta(seconds=3)
    """For one server, before the next one (or the same again) is asked."""
    cache_size: int = 10_000
    """Answers remembered for their time to live."""


class _Kind(Enum):
    FOUND = auto()
    EMPTY = auto()
    NO_NAME = auto()
    TROUBLE = auto()


@dataclass(frozen=True, slots=True)
class _Finding:
    kind: _Kind
    records: tuple[dns.rdata.Rdata, ...] = ()
    ttl: int = 0
    why: str = ""
    secure: bool = False
    canonical: str = ""
    """The name at the end of all aliases, in lower case, without the final dot."""


_Question = tuple[str, dns.rdatatype.RdataType]


class DnsResolver:
    """The real one."""

    def __init__(self, settings: ResolverSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._resolver = _dnspython(settings)
        self._flights = SingleFlight[_Question, _Finding]()
        # ours and not dnspython's: that one's goes by the wall clock, and believes any TTL; the times until which an
        # answer is fresh, and until which it is better than none
        self._known: OrderedDict[_Question, tuple[_Finding, float, float]] = OrderedDict()

    async def mx(self, domain: str) -> MxAnswer:
        """Return a domain's MX records by preference. Raises NoSuchDomain or DnsTrouble."""
        finding = _certain(domain, await self._find(domain, _MX))
        records = [
            MxRecord(record.preference, record.exchange.to_text(omit_final_dot=True).lower().removesuffix("."))
            for record in finding.records
            if isinstance(record, dns.rdtypes.ANY.MX.MX)
        ]
        canonical = "" if finding.canonical == domain.lower().removesuffix(".") else finding.canonical
        ordered = sorted(records, key=lambda record: (record.preference, record.host))
        return MxAnswer(tuple(ordered), finding.secure, canonical)

    async def txt(self, name: str) -> tuple[str, ...]:
        """Return a name's TXT records, each with its strings joined. Raises NoSuchDomain or DnsTrouble."""
        finding = _certain(name, await self._find(name, _TXT))
        return tuple(
            b"".join(record.strings).decode("utf-8", "replace")
            for record in finding.records
            if isinstance(record, dns.rdtypes.ANY.TXT.TXT)
        )

    async def ptr(self, address: str) -> tuple[str, ...]:
        """Return the names of an address, by its PTR records. Raises NoSuchDomain or DnsTrouble."""
        finding = _certain(address, await self._find(dns.reversename.from_address(address).to_text(), _PTR))
        return tuple(
            record.target.to_text(omit_final_dot=True).lower()
            for record in finding.records
            if isinstance(record, dns.rdtypes.ANY.PTR.PTR)
        )

    async def tlsa(self, name: str) -> TlsaAnswer:
        """Return a name's TLSA records. Raises NoSuchDomain or DnsTrouble."""
        finding = _certain(name, await self._find(name, _TLSA))
        records = [
            TlsaRecord(record.usage, record.selector, record.mtype, record.cert)
            for record in finding.records
            if isinstance(record, dns.rdtypes.ANY.TLSA.TLSA)
        ]
        return TlsaAnswer(tuple(records), finding.secure)

    async def host(self, host: str) -> HostAnswer:
        """Return how sure a host's addresses are, one family sufficing. Raises NoSuchDomain or DnsTrouble.

        Some zones answer well for one family and badly for the other (RFC 7672 §2.2.2 knows them, too); trouble is
        raised only when there is nothing but trouble, or no address.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._find(host, rdtype)) for rdtype in (_A, _AAAA)]
        findings = [task.result() for task in tasks]
        found = [finding for finding in findings if finding.kind is _Kind.FOUND]
        if not found:
            for finding in sorted(findings, key=lambda finding: finding.kind is not _Kind.TROUBLE):
                _certain(host, finding)
            return HostAnswer(host, secure=False, name_secure=False)
        best = max(found, key=lambda finding: finding.secure)
        if best.secure or best.canonical == host:
            return HostAnswer(best.canonical, best.secure, best.secure)
        # an alias that leads out of a signed zone: whether its own name is in one, it must tell itself
        alias = _certain(host, await self._find(host, _CNAME))
        return HostAnswer(best.canonical, secure=False, name_secure=alias.secure)

    async def addresses(self, host: str, families: Families) -> tuple[str, ...]:
        """Return a host's addresses, IPv6 first if both are wanted. Raises NoSuchDomain or DnsTrouble.

        One family's trouble does not matter when the other has an address.
        """
        match families:
            case Families.IPV4:
                findings = [await self._find(host, _A)]
            case Families.IPV6:
                findings = [await self._find(host, _AAAA)]
            case Families.AUTO:
                findings = [await self._find(host, _A)]
                if findings[0].kind is not _Kind.FOUND:
                    findings.append(await self._find(host, _AAAA))
            case Families.DUAL:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._find(host, rdtype)) for rdtype in (_AAAA, _A)]
                findings = [task.result() for task in tasks]
        found = tuple(
            record.address
            for finding in findings
            for record in finding.records
            if isinstance(record, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA)
        )
        if not found:
            # trouble weighs more than a certain answer: the other family might have had an address
            for finding in sorted(findings, key=lambda finding: finding.kind is not _Kind.TROUBLE):
                _certain(host, finding)
        return found

    async def _find(self, name: str, rdtype: dns.rdatatype.RdataType) -> _Finding:
        question = (name.lower(), rdtype)
        known = self._known.get(question)
        if known is not None and self._clock.monotonic() < known[1]:
            self._known.move_to_end(question)
            return known[0]
        return await self._flights.do(question, lambda: self._ask(question))

    async def _ask(self, question: _Question) -> _Finding:
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                finding = await self._resolve(*question)
        except TimeoutError:
            finding = _Finding(_Kind.TROUBLE, why="no answer in time")
        known = self._known.get(question)
        now = self._clock.monotonic()
        if finding.kind is _Kind.TROUBLE and known is not None:
            old, _, stale_until = known
            # what says that something is not there is never stretched: mail would bounce by it
            if old.kind is _Kind.FOUND and now < stale_until:
                self._known[question] = (old, min(now + _RECHECK, stale_until), stale_until)
                return old
        if finding.ttl > 0:
            limit = _MAX_TTL if finding.kind is _Kind.FOUND else _MAX_NEGATIVE_TTL
            until = now + min(finding.ttl, limit)
            self._known[question] = (finding, until, until + _STALE)
            self._known.move_to_end(question)
            if len(self._known) > self._settings.cache_size:
                self._known.popitem(last=False)
        return finding

    async def _resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> _Finding:
        try:
            owner = dns.name.from_text(name)
            answer = await self._resolver.resolve(owner, rdtype, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            return _Finding(_Kind.NO_NAME, ttl=_negative_ttl(error, owner))
        except dns.resolver.NoNameservers as error:  # SERVFAIL, REFUSED, or nothing that parses, from all servers
            return _Finding(_Kind.TROUBLE, why=str(error)[:_WHY])
        except dns.exception.Timeout:
            return _Finding(_Kind.TROUBLE, why=f"no answer in {self._settings.timeout.total_seconds():g} s")
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            # a name too long after DNAME, a chain too long, no socket
            return _Finding(_Kind.TROUBLE, why=f"{type(error).__name__}: {error}"[:_WHY])
        if answer.response.flags & dns.flags.TC:
            # dnspython asks again over TCP, and believes what comes then: no records would mean that there are none
            return _Finding(_Kind.TROUBLE, why="half an answer, also over TCP")
        ttl = answer.chaining_result.minimum_ttl
        if answer.rrset is not None:
            return _Finding(
                _Kind.FOUND, tuple(answer.rrset), ttl, secure=_is_secure(answer), canonical=_canonical(answer)
            )
        if _is_referral(answer):
            return _Finding(_Kind.TROUBLE, why="a referral instead of an answer; is the name server a resolver?")
        if any(rrset.rdtype == rdtype for rrset in answer.response.answer):
            return _Finding(_Kind.TROUBLE, why="records of another name instead of an answer")
        return _Finding(_Kind.EMPTY, ttl=ttl, secure=_is_secure(answer), canonical=_canonical(answer))


def _certain(name: str, finding: _Finding) -> _Finding:
    match finding.kind:
        case _Kind.NO_NAME:
            raise NoSuchDomain(name)
        case _Kind.TROUBLE:
            raise DnsTrouble(f"{name}: {finding.why}")
    return finding


def _negative_ttl(error: dns.resolver.NXDOMAIN, owner: dns.name.Name) -> int:
    response: dns.message.QueryMessage = error.response(owner)  # type: ignore[no-untyped-call]  # dnspython left it so
    return response.resolve_chaining().minimum_ttl


def _is_secure(answer: dns.resolver.Answer) -> bool:
    return bool(answer.response.flags & dns.flags.AD)


def _canonical(answer: dns.resolver.Answer) -> str:
    return answer.canonical_name.to_text(omit_final_dot=True).lower()


def _is_referral(answer: dns.resolver.Answer) -> bool:
    """Whether "no error, no data" means only that we should ask somebody else (RFC 2308 §2.2)."""
    kinds = {rrset.rdtype for rrset in answer.response.authority}
    return dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds


def _dnspython(settings: ResolverSettings) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    if not settings.servers:
        try:
            resolver = dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            resolver.nameservers = ["127.0.0.1"]  # as the C library does
    else:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(one.address, one.port) for one in settings.servers]
    resolver.cache = None
    resolver.use_edns(0, 0, _PAYLOAD)
    # "tell me whether you validated" without the signatures themselves (RFC 6840 §5.7)
    resolver.flags = dns.flags.RD | dns.flags.AD
    resolver.timeout = settings.patience.total_seconds()
    resolver.lifetime = settings.timeout.total_seconds()
    return resolver
