"""What DNS, proven by DNSSEC, says of a host's certificate: which TLSA records apply, under which names, or that
nothing can be known now (RFC 7672 §2).

Whether certificates match is `dane_chain`'s question; what follows for a connection is `tls_policy`'s. That the
resolver validates is proved in `dnssec`: without that proof, nobody may ask here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.tlsa import DANE_TA, HostAnswer, TlsaAnswer, TlsaRecord
from mta.mail.reply import clean

MAX_RECORDS = 100
"""TLSA records of a host that are looked at; each may be compared with each certificate."""


class SignedNames(Protocol):
    """What has to be asked of a resolver that validates."""

    async def host(self, host: str) -> HostAnswer:
        """Return how sure a host's addresses are. Raises NoSuchDomain or DnsTrouble."""
        ...

    async def tlsa(self, name: str) -> TlsaAnswer:
        """Return the TLSA records of a name. Raises NoSuchDomain or DnsTrouble."""
        ...


class DaneState(StrEnum):
    """What is known about a host."""

    ABSENT = "absent"
    """It is certain that DANE does not apply."""
    UNUSABLE = "unusable"
    """Signed records, none of which can be used: TLS is a must, nothing is verified (RFC 7672 §2.2)."""
    USABLE = "usable"
    """The certificate must match a record."""
    TROUBLE = "trouble"
    """No certain answer: the host must not be used now (RFC 7672 §2.1.2)."""


@dataclass(frozen=True, slots=True)
class Dane:
    """What DANE demands of a host."""

    state: DaneState = DaneState.ABSENT
    base: str = ""
    """The TLSA base domain: the name to send in SNI (RFC 7672 §8.1) and the first that a certificate may have."""
    names: tuple[str, ...] = ()
    """All reference identifiers, for usage 2 (RFC 7672 §3.2.2)."""
    records: tuple[TlsaRecord, ...] = ()
    """The usable ones; when none is, those that there are, for the report."""
    why: str = ""
    """For people: why it is absent, or the trouble."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A host, and how it was found. All names in lower-case A-labels without the final dot."""

    host: str
    port: int
    secure: bool
    """Its name was learnt through validated MX records (or, without MX, is the domain's own), or from the operator."""
    domain: str = ""
    """The next-hop domain whose MX records named the host; empty when it was not found through MX."""
    canonical_domain: str = ""
    """What that domain is an alias of, through validated records; empty when of nothing."""


async def find(asked: Asked, names: SignedNames) -> Dane:
    """Return what DANE demands of a host (RFC 7672 §2.2).

    Hosts of unsigned MX records are left out, though RFC 7672 §2.2.1 allows them: whoever can name another host
    there gains nothing by breaking TLS to this one.
    """
    if not asked.secure:
        return Dane(why="the MX records are not signed")
    try:
        bases = _bases(asked.host, await names.host(asked.host))
        # records at an unsigned address's name are not looked for: many name servers that cannot be asked for
        # TLSA at all serve unsigned zones (RFC 7672 §2.2.2)
        for base in bases:
            answer = await _tlsa(names, f"_{asked.port}._tcp.{base}")
            if answer.secure and answer.records:
                return judge(answer.records, base, _identifiers(asked, base))
    except NoSuchDomain:
        return Dane(why=f"{asked.host} does not exist")
    except DnsTrouble as trouble:
        return Dane(DaneState.TROUBLE, why=clean(str(trouble)))
    return Dane(why="no signed TLSA records" if bases else f"the address of {asked.host} is not signed")


def judge(records: tuple[TlsaRecord, ...], base: str, names: tuple[str, ...]) -> Dane:
    """Return what signed records at a base domain demand (RFC 7672 §2.2). There is one at least."""
    usable = tuple(sorted((one for one in records if one.is_usable), key=_order)[:MAX_RECORDS])
    if usable:
        # usage 3 knows no names; without those of the recipient's domain, the domains of one host share connections
        named = any(one.usage == DANE_TA for one in usable)
        return Dane(DaneState.USABLE, base, names if named else (base,), usable)
    known = tuple(sorted(records, key=_order)[:MAX_RECORDS])
    return Dane(DaneState.UNUSABLE, base, names, known, "none of the TLSA records can be used")


async def _tlsa(names: SignedNames, name: str) -> TlsaAnswer:
    try:
        return await names.tlsa(name)
    except NoSuchDomain:
        return TlsaAnswer()


def _bases(host: str, answer: HostAnswer) -> tuple[str, ...]:
    """Return the candidates for the TLSA base domain, best first (RFC 7672 §2.2.2, RFC 7671 §7)."""
    if answer.secure:
        return tuple(dict.fromkeys((answer.canonical or host, host)))
    return (host,) if answer.name_secure else ()


def _identifiers(asked: Asked, base: str) -> tuple[str, ...]:
    """Return the names that a certificate under usage 2 may have (RFC 7672 §3.2.2)."""
    found = (base, asked.domain or asked.host, asked.canonical_domain)
    return tuple(dict.fromkeys(name for name in found if name))


def _order(record: TlsaRecord) -> tuple[int, int, int, bytes]:
    # usage 3 first, since it asks least; always the same order, since equal demands share connections
    return (-record.usage, record.selector, record.matching, record.data)
