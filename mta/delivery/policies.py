"""Which TLS a host must prove for one letter: DNS, DNSSEC and MTA-STS asked, the answers combined and kept a moment.

The judging is done elsewhere, each policy apart (`dane`, `sts_cache`) and both together (`tls_policy`). Here is the
order of asking, and the memory that keeps it off the hot path.
"""

import asyncio
import ipaddress
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from mta.clock import Clock
from mta.delivery.dane import Asked, Dane, DaneState, SignedNames, find
from mta.delivery.dnssec import DnssecProof
from mta.delivery.limits import TlsPolicy
from mta.delivery.resolver import DnsTrouble, MxAnswer, NoSuchDomain
from mta.delivery.single_flight import SingleFlight
from mta.delivery.sts_cache import Sts
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_policy import Demand, Level, Situation, Skipped, Wish, combine
from mta.delivery.tls_report import AppliedPolicy, PolicyType, applied_policies
from mta.queue.seams import Host, Letter

KEPT = 30.0
"""Seconds for which what was found is used again; the caches below know how long it is true."""

_REMEMBERED = 20_000
_NO_WISH = Wish()
_OPTIONAL = re.compile(rb"^TLS-Required:[ \t]*No[ \t]*\r$", re.IGNORECASE | re.MULTILINE)


class Names(SignedNames, Protocol):
    """What has to be asked of DNS."""

    async def mx(self, domain: str) -> MxAnswer:
        """Return a domain's MX records. Raises NoSuchDomain or DnsTrouble."""
        ...


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a policy itself, whoever connects."""

    type: PolicyType
    failure: TlsFailure
    why: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What is demanded of one host for one letter, and in whose report the result stands."""

    demand: Demand | Skipped
    domain: str = ""
    """Of the recipient; empty for the operator's own relays, about which nobody is told."""
    policies: tuple[AppliedPolicy, ...] = ()
    flaws: tuple[Flaw, ...] = ()


class HostPolicies(Protocol):
    """What the transport asks before it connects."""

    async def of(self, host: Host, letter: Letter) -> Case:
        """Return what a connection to a host must prove for a letter. Raises StoreUnavailable."""
        ...


@dataclass(slots=True)
class _Facts:
    """What was found about a host for a domain."""

    situation: Situation
    domain: str
    sts: Sts
    until: float
    cases: dict[Wish, Case] = field(default_factory=dict)

    @property
    def are_demanding(self) -> bool:
        """Whether the recipient's side wants anything, so that the letter's own word matters."""
        sts = self.situation.sts
        return sts is not None or self.situation.dane.state is not DaneState.ABSENT

    def case(self, wish: Wish) -> Case:
        known = self.cases.get(wish)
        if known is None:
            known = self.cases[wish] = self._combined(wish)
        return known

    def _combined(self, wish: Wish) -> Case:
        situation = replace(self.situation, wish=wish)
        demand = combine(situation)
        if not self.domain:
            return Case(demand)
        policies = applied_policies(self.domain, situation.dane, situation.sts)
        flaws = []
        if self.sts.failure is not None:
            flaws.append(Flaw(PolicyType.STS, self.sts.failure, self.sts.why))
            if all(one.type is not PolicyType.STS for one in policies):
                found = tuple(one for one in policies if one.type is not PolicyType.NONE)
                policies = (*found, AppliedPolicy(PolicyType.STS, self.domain))
        if situation.dane.state is DaneState.UNUSABLE:
            flaws.append(Flaw(PolicyType.TLSA, TlsFailure.TLSA_INVALID, situation.dane.why))
        return Case(demand, self.domain, policies, tuple(flaws))


class TlsPolicies:
    """The policies of the real world."""

    def __init__(
        self,
        configured: TlsPolicy,
        clock: Clock,
        names: Names | None = None,
        sts: Callable[[str], Awaitable[Sts]] | None = None,
        waivers: frozenset[str] = frozenset(),
        *,
        awaits_proof: bool = False,
    ) -> None:
        """Without `names` there is no DANE, without `sts` no MTA-STS. DANE is off until `believe` heard a proof.

        `waivers` are the accounts whose `TLS-Required: No` is obeyed (RFC 8689 §4.2.2). With `awaits_proof`, hosts
        found through DNS wait until `believe` was told anything at all: what a restart finds in the queue would else
        go out without DANE.
        """
        self._configured = configured
        self._clock = clock
        self._names = names
        self._sts = sts
        self._waivers = waivers
        self._validates = False
        self._passing = ""
        """Why DNSSEC is not to be had now, when it may be had later."""
        self._heard = asyncio.Event()
        if not awaits_proof:
            self._heard.set()
        self._known: OrderedDict[tuple[str, Host], _Facts] = OrderedDict()
        self._flights = SingleFlight[tuple[str, Host], _Facts]()

    def believe(self, proof: DnssecProof) -> None:
        """Use DANE from now on, or no more. What the resolver said before is not believed for longer than `KEPT`."""
        passing = proof.reason if proof.is_passing else ""
        if (proof.validates, passing) != (self._validates, self._passing):
            self._validates, self._passing = proof.validates, passing
            self._known.clear()
        self._heard.set()

    def replace_waivers(self, accounts: frozenset[str]) -> None:
        """Obey `TLS-Required: No` of other accounts from now on."""
        self._waivers = accounts

    async def of(self, host: Host, letter: Letter) -> Case:
        """Return what a connection to a host must prove for a letter. Raises StoreUnavailable."""
        key = (letter.recipient.mailbox.domain, host)
        facts = self._known.get(key)
        if facts is None or self._clock.monotonic() >= facts.until:
            facts = await self._flights.do(key, lambda: self._find(key))
        require = letter.message.requiretls
        if not (facts.are_demanding or require):
            return facts.case(_NO_WISH)
        return facts.case(Wish(require=require, optional=self._waives(letter)))

    def _waives(self, letter: Letter) -> bool:
        return letter.message.account in self._waivers and _OPTIONAL.search(letter.content.header) is not None

    async def _find(self, key: tuple[str, Host]) -> _Facts:
        domain, host = key
        dane, surely = await self._dane(domain, host)
        sts = Sts() if self._sts is None or host.trusted else await self._sts(domain)
        unsure = _may_be_known_later(sts) or ("" if surely else self._passing)
        situation = Situation(host.name, self._configured, _route_level(host), dane, sts.policy, surely, unsure=unsure)
        whose = "" if host.trusted else domain
        # trouble is asked about again at once, by whoever comes next
        until = self._clock.monotonic() + (KEPT if dane.state is not DaneState.TROUBLE else 0)
        facts = self._known[key] = _Facts(situation, whose, sts, until)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return facts

    async def _dane(self, domain: str, host: Host) -> tuple[Dane, bool]:
        """Return what DANE says, and whether the host's name is certain to be one of the domain's."""
        if host.trusted and (host.socket is not None or not _is_name(host.name)):
            return Dane(why="not a name"), True
        await self._heard.wait()
        if self._names is None or not self._validates:
            return Dane(why="DANE is off"), host.trusted
        if host.trusted:
            return await find(Asked(host.name, host.port, True), self._names), True
        try:
            answer = await self._names.mx(domain)
        except (NoSuchDomain, DnsTrouble) as trouble:
            # the route was found a moment ago, so that this is no answer that can be relied on
            return Dane(DaneState.TROUBLE, why=str(trouble)), False
        named = any(record.host == host.name for record in answer.records) or not (
            answer.records or host.name != domain
        )
        secure = answer.secure and named
        asked = Asked(host.name, host.port, secure, domain, answer.canonical if secure else "")
        return await find(asked, self._names), secure


def _may_be_known_later(sts: Sts) -> str:
    """Return why a domain's policy, or its update, cannot be had now; empty when it is known what there is."""
    return sts.why if sts.failure in (None, TlsFailure.STS_POLICY_FETCH_ERROR) else ""


def _route_level(host: Host) -> Level:
    if host.verify_tls:
        return Level.VERIFY_PKIX
    return Level.ENCRYPT if host.require_tls or host.implicit_tls else Level.OPPORTUNISTIC


def _is_name(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text != "localhost"
    return False
