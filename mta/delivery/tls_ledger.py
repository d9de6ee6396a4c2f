"""What came of each connection, counted: for the report of the domain that it was opened for (RFC 8460 §3), and for our
own metrics."""

from typing import Protocol

from mta.clock import Clock
from mta.delivery.policies import Case
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_policy import PolicyWord, Skipped
from mta.delivery.tls_report import FailureDetails, PolicyType, Tallies
from mta.delivery.verdict import Verdict

_ROLE = "delivery"


class TlsCounts(Protocol):
    """Where handshakes are counted for metrics."""

    def tls_session(self, role: str, version: str | None) -> None:
        """A handshake succeeded; the version is as `ssl` names it, "TLSv1.3"."""
        ...

    def tls_failed(self, role: str) -> None:
        """A handshake failed, or the certificate was not what a policy demands."""
        ...


class TlsLedger:
    """Counts into the tallies. One for each transport."""

    def __init__(
        self, tallies: Tallies, clock: Clock, *, counts: bool = True, metrics: TlsCounts | None = None
    ) -> None:
        """Without `counts`, no domain wants to know."""
        self._tallies = tallies
        self._clock = clock
        self._counts = counts
        self._metrics = metrics

    def opened(self, version: str) -> None:
        """A connection is ready for mail; `version` is that of its TLS, empty when there is none."""
        if version and self._metrics is not None:
            self._metrics.tls_session(_ROLE, version)

    def refused(self, verdict: Verdict) -> None:
        """A connection ended before it was ready for mail."""
        shaken = verdict.failure not in (None, TlsFailure.STARTTLS_NOT_SUPPORTED)
        if shaken and self._metrics is not None:
            self._metrics.tls_failed(_ROLE)

    def met(self, case: Case, host: str, address: str) -> None:
        """A connection met all policies, as far as these are sound themselves."""
        if not (case.domain and self._counts):
            return
        day = self._clock.now().date()
        flaws = {flaw.type: flaw for flaw in case.flaws}
        testing = None if isinstance(case.demand, Skipped) else case.demand.testing_failure
        for policy in case.policies:
            flaw = flaws.get(policy.type)
            if flaw is not None:
                what = FailureDetails(flaw.failure, "", host, address, flaw.why)
                self._tallies.failure(day, case.domain, policy, what)
            elif policy.type is PolicyType.STS and testing is not None:
                what = FailureDetails(testing, "", host, address, "the policy does not name the host")
                self._tallies.failure(day, case.domain, policy, what)
            else:
                self._tallies.success(day, case.domain, policy)

    def failed(self, case: Case, host: str, address: str, verdict: Verdict) -> None:
        """A connection did not meet a policy, or had no TLS where that was tried."""
        if verdict.failure is not None:
            self._count(case, verdict.failure, verdict.failed, host, address, verdict.reply.text)

    def skipped(self, case: Case, host: str) -> None:
        """No connection was made, for a policy forbids it. What a message demands is no policy of the domain's."""
        if isinstance(case.demand, Skipped) and case.demand.word is not PolicyWord.REQUIRETLS:
            dnssec = case.demand.failure is TlsFailure.DNSSEC_INVALID
            type = None if dnssec else PolicyType.STS
            self._count(case, case.demand.failure, type, host, "", case.demand.why)

    def _count(
        self, case: Case, failure: TlsFailure, type: PolicyType | None, host: str, address: str, why: str
    ) -> None:
        if not (case.domain and self._counts):
            return
        day = self._clock.now().date()
        concerned = [policy for policy in case.policies if type in (None, policy.type)] or list(case.policies)
        for policy in concerned:
            self._tallies.failure(day, case.domain, policy, FailureDetails(failure, "", host, address, why))
