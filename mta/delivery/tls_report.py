"""What connections to a domain's hosts came to, counted for the daily report that the domain asks for (RFC 8460 §3).

Counting, adding up, JSON for the store, and the TXT record in which a domain asks. The report itself is the work of
`tls_report_mail`; when one is due, and its way into the queue, are left to others.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Protocol, Self
from urllib.parse import unquote

from mta.delivery.dane import Dane, DaneState
from mta.delivery.mta_sts import Mode, Policy
from mta.delivery.tls_failure import TlsFailure
from mta.mail.address import Mailbox
from mta.mail.reply import clean

MAX_DOMAINS = 20_000
"""Domains and days that are counted at once; of more, nothing is told."""
MAX_FAILURES = 100
"""Different failures under one policy that are told apart; more are counted in its sum only."""
MAX_POLICIES = 20
"""Policies of a domain in one day."""

_MAX_REASON = 200
_MAX_URIS = 10
_RECORD = re.compile(r"v=TLSRPTv1[ \t]*(?:;|\Z)")


class PolicyType(StrEnum):
    """What was applied (RFC 8460 §4.4)."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """A policy, as the report quotes it."""

    type: PolicyType
    domain: str
    """Against which it is defined: the recipient's, or the TLSA base domain."""
    lines: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureDetails:
    """One way in which connections failed. What is not known is empty."""

    type: TlsFailure
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_ip: str = ""
    reason: str = ""
    """A word or two for people; hostile text is cleaned."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", clean(self.reason)[:_MAX_REASON])


@dataclass(frozen=True, slots=True)
class PolicyTally:
    """What came of one policy in a day. A failure that is one of too many kinds is in the sum only."""

    policy: AppliedPolicy
    successes: int = 0
    failures: int = 0
    details: tuple[tuple[FailureDetails, int], ...] = ()

    def plus(self, other: "PolicyTally") -> "PolicyTally":
        """Return the sum of two tallies of the same policy."""
        counts = dict(self.details)
        for what, count in other.details:
            if what in counts or len(counts) < MAX_FAILURES:
                counts[what] = counts.get(what, 0) + count
        return replace(
            self,
            successes=self.successes + other.successes,
            failures=self.failures + other.failures,
            details=tuple(counts.items()),
        )


@dataclass(frozen=True, slots=True)
class DomainDay:
    """What a domain's report of one day (UTC) tells."""

    day: date
    domain: str
    """Of the recipients, in lower-case A-labels: its TXT record says where the report goes."""
    tallies: tuple[PolicyTally, ...] = ()

    def plus(self, other: "DomainDay") -> "DomainDay":
        """Return the sum of two parts of the same day and domain."""
        if (self.day, self.domain) != (other.day, other.domain):
            raise ValueError(f"{self.domain} {self.day} is not {other.domain} {other.day}")
        sums = {tally.policy: tally for tally in self.tallies}
        for tally in other.tallies:
            known = sums.get(tally.policy)
            if known is not None:
                sums[tally.policy] = known.plus(tally)
            elif len(sums) < MAX_POLICIES:
                sums[tally.policy] = tally
        return replace(self, tallies=tuple(sums.values()))

    def to_json(self) -> str:
        """Return it as one line of JSON, for the store."""
        tallies = [
            {
                "type": tally.policy.type,
                "domain": tally.policy.domain,
                "lines": tally.policy.lines,
                "mx": tally.policy.mx_hosts,
                "successes": tally.successes,
                "failures": tally.failures,
                "details": [
                    [what.type, what.sending_ip, what.receiving_host, what.receiving_ip, what.reason, count]
                    for what, count in tally.details
                ],
            }
            for tally in self.tallies
        ]
        return json.dumps({"day": self.day.isoformat(), "domain": self.domain, "tallies": tallies})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        try:
            known = json.loads(text)
            tallies = tuple(_tally(one) for one in known["tallies"])
            return cls(date.fromisoformat(known["day"]), str(known["domain"]), tallies)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a day's tallies ({error!r}): {text[:80]!r}") from error


class TallyStore(Protocol):
    """Keeps what was counted until it is reported; several workers add to the same days."""

    async def add(self, days: tuple[DomainDay, ...]) -> None:
        """Add each to what is kept of its day and domain, by `DomainDay.plus`."""
        ...

    async def before(self, day: date) -> tuple[DomainDay, ...]:
        """Return what is kept of earlier days."""
        ...

    async def remove(self, day: date, domain: str) -> None:
        """Forget one: it is reported, or nobody wants it."""
        ...


@dataclass(slots=True)
class Tallies:
    """Counts in memory; `drain` hands them over to the store from time to time."""

    dropped: int = 0
    """Results that were not counted, for there were too many domains."""
    _days: dict[tuple[date, str], DomainDay] = field(default_factory=dict)

    def success(self, day: date, domain: str, policy: AppliedPolicy) -> None:
        """Count a connection that met the policy."""
        self._add(DomainDay(day, domain, (PolicyTally(policy, successes=1),)))

    def failure(self, day: date, domain: str, policy: AppliedPolicy, what: FailureDetails) -> None:
        """Count a connection that did not, or would not have under a policy in testing mode (RFC 8461 §5)."""
        self._add(DomainDay(day, domain, (PolicyTally(policy, failures=1, details=((what, 1),)),)))

    def drain(self) -> tuple[DomainDay, ...]:
        """Return what was counted since the last time, and forget it."""
        days, self._days = tuple(self._days.values()), {}
        return days

    def take_back(self, days: Iterable[DomainDay]) -> None:
        """Count again what could not be stored."""
        for day in days:
            self._add(day)

    def _add(self, part: DomainDay) -> None:
        key = (part.day, part.domain)
        known = self._days.get(key)
        if known is None and len(self._days) >= MAX_DOMAINS:
            self.dropped += 1
        else:
            self._days[key] = part if known is None else known.plus(part)


@dataclass(frozen=True, slots=True)
class ReportTargets:
    """Where a domain wants its reports."""

    mailboxes: tuple[Mailbox, ...] = ()
    others: tuple[str, ...] = ()
    """`https:` addresses, and what is nothing we can send to: passed over (RFC 8460 §3 leaves the choice to us)."""


def applied_policies(domain: str, dane: Dane, sts: Policy | None) -> tuple[AppliedPolicy, ...]:
    """Return the policies that a connection is counted under; there is always one (RFC 8460 §4.4)."""
    found = []
    if dane.state in (DaneState.USABLE, DaneState.UNUSABLE):
        found.append(AppliedPolicy(PolicyType.TLSA, dane.base, tuple(map(str, dane.records))))
    if sts is not None and sts.mode is not Mode.NONE:
        found.append(AppliedPolicy(PolicyType.STS, domain, sts.lines(), sts.hosts))
    return tuple(found) or (AppliedPolicy(PolicyType.NONE, domain),)


def parse_txt(texts: Iterable[str]) -> ReportTargets | None:
    """Return where the TXT records of `_smtp._tls.` and a domain send reports, each with its strings joined.

    None: nobody asks; that is also the meaning of several records, and of one without `rua` (RFC 8460 §3).
    """
    records = [text for text in texts if _RECORD.match(text)]
    if len(records) != 1:
        return None
    for part in records[0].split(";")[1:]:
        name, equals, value = part.strip(" \t").partition("=")
        if equals and name.strip(" \t") == "rua":
            return _targets(value)
    return None


def _targets(value: str) -> ReportTargets:
    mailboxes: list[Mailbox] = []
    others: list[str] = []
    for uri in [part.strip(" \t") for part in value.split(",")][:_MAX_URIS]:
        scheme, _, rest = uri.partition(":")
        if scheme.lower() == "mailto":
            try:
                mailboxes.append(Mailbox.parse(unquote(rest.partition("?")[0], errors="strict")))
                continue
            except ValueError:
                pass  # an address that is none is told with the others
        if uri:
            others.append(clean(uri)[:_MAX_REASON])
    return ReportTargets(tuple(dict.fromkeys(mailboxes)), tuple(others))


def _tally(known: Mapping[str, Any]) -> PolicyTally:
    policy = AppliedPolicy(
        PolicyType(known["type"]), str(known["domain"]), tuple(map(str, known["lines"])), tuple(map(str, known["mx"]))
    )
    details = tuple(
        (FailureDetails(TlsFailure(type), str(source), str(host), str(ip), str(reason)), int(count))
        for type, source, host, ip, reason, count in known["details"]
    )
    return PolicyTally(policy, int(known["successes"]), int(known["failures"]), details)
