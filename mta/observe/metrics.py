"""Counters of one worker (events and what the edges report), and its answer to a scrape.

Labels come from closed sets, but for account names, which the operator chose. The queue's size is not counted here:
the store is asked when somebody scrapes. Adding up several workers' scrapes is done in `merge`.
"""

import platform
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from mta.bounces.report import Reason
from mta.events import Event, EventType
from mta.mail.ids import time_of

REASONS = frozenset(reason.value for reason in Reason)
REPORT_FLAWS = frozenset({"delivery", "other", "recipient", "repeated", "token", "unreadable"})
CAUSES = frozenset({"hard_bounce", "soft_bounce", "complaint", "unsubscribe", "manual"})
OTHER = "other"
"""The label for what is not in a closed set."""

REJECTIONS = frozenset(
    {
        "auth",
        "connections",
        "content",
        "errors",
        "internal",
        "loop",
        "rate",
        "recipient",
        "recipients",
        "relay",
        "sender",
        "shutdown",
        "size",
        "space",
        "store",
        "suppressed",
        "suspended",
        "syntax",
        "timeout",
        "tls",
    }
)
ROLES = frozenset({"submission", "inbound", "delivery", "http", "control"})
TLS_VERSIONS = frozenset({"TLSv1.2", "TLSv1.3"})

_FINAL = (EventType.DELIVERED, EventType.BOUNCED, EventType.EXPIRED, EventType.SUPPRESSED, EventType.CANCELLED)
# what the attempt was, not what became of the delivery: an expired one was deferred once more
_ATTEMPTS = {
    EventType.DELIVERED: "delivered",
    EventType.DEFERRED: "deferred",
    EventType.EXPIRED: "deferred",
    EventType.BOUNCED: "bounced",
}
_DELIVERY_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86400, 4 * 86400)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200)


class MetricsObserver:
    """Counts events, and what submission, delivery and the store tell beside them."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._accepted = Counter(
            "mta_messages_accepted",
            "Messages that a client was told are queued.",
            ["account", "stream"],
            registry=registry,
        )
        self._dsns = Counter("mta_dsns", "Delivery status notifications made.", registry=registry)
        self._rejected = Counter(
            "mta_submission_rejected", "Commands and messages refused to clients.", ["reason"], registry=registry
        )
        self._inbound_rejected = Counter(
            "mta_inbound_rejected",
            "Commands and messages refused to hosts that bring something back.",
            ["reason"],
            registry=registry,
        )
        self._auth_failures = Counter("mta_auth_failures", "Logins with wrong credentials.", registry=registry)
        self._bounces = Counter(
            "mta_bounces", "Deliveries that bounced, at once or late.", ["class"], registry=registry
        )
        self._complaints = Counter("mta_complaints", "Recipients that called our mail spam.", registry=registry)
        self._suppressed = Counter(
            "mta_suppressed", "Addresses put on a suppression list.", ["reason"], registry=registry
        )
        self._reports = Counter(
            "mta_reports_rejected", "Reports that were dropped, by what they lacked.", ["reason"], registry=registry
        )
        self._deliveries = Counter("mta_deliveries", "Deliveries that came to an end.", ["result"], registry=registry)
        self._attempts = Counter("mta_delivery_attempts", "Attempts to deliver.", ["result"], registry=registry)
        self._seconds = Histogram(
            "mta_delivery_seconds", "From acceptance to delivery.", buckets=_DELIVERY_SECONDS, registry=registry
        )
        self._connections = Gauge("mta_connections", "Open connections.", ["role"], registry=registry)
        self._tls = Counter("mta_tls_sessions", "TLS handshakes.", ["role", "version", "result"], registry=registry)
        self._commit_seconds = Histogram(
            "mta_store_commit_seconds", "Time a commit took.", buckets=_COMMIT_SECONDS, registry=registry
        )
        self._batch_size = Histogram(
            "mta_store_batch_size", "Units of work in one commit.", buckets=_BATCH_SIZES, registry=registry
        )
        Info("mta_build", "The program.", registry=registry).info(
            {"version": version, "python": platform.python_version()}
        )
        self._show_zeros()

    def _show_zeros(self) -> None:
        """A counter that appears with its first event has no rate before it: closed sets are there from the start."""
        for kind in _FINAL:
            self._deliveries.labels(kind.value)
        for result in _ATTEMPTS.values():
            self._attempts.labels(result)
        for flaw in sorted(REPORT_FLAWS):
            self._reports.labels(flaw)
        for reason in sorted(REJECTIONS):
            self._rejected.labels(reason)
            self._inbound_rejected.labels(reason)

    def observe(self, event: Event) -> None:
        """Count one event."""
        if event.type is EventType.ACCEPTED:
            if "dsn_for" in event.detail:
                self._dsns.inc()
            else:
                self._accepted.labels(event.account or "", event.stream or "").inc()
        if event.type in _FINAL and not event.detail.get("late"):
            # what a late report moves was counted when it was delivered
            self._deliveries.labels(event.type.value).inc()
        if event.type is EventType.BOUNCED:
            self._bounces.labels(_one_of(REASONS, event.klass or "")).inc()
        if event.type is EventType.COMPLAINED:
            self._complaints.inc()
        if event.type is EventType.SUPPRESSION_ADDED:
            self._suppressed.labels(_one_of(CAUSES, str(event.detail.get("cause")))).inc()
        if event.type in _ATTEMPTS and event.attempt is not None:
            self._attempts.labels(_ATTEMPTS[event.type]).inc()
        if event.type is EventType.DELIVERED and event.queue_id is not None:
            self._took(event, event.queue_id)

    def _took(self, event: Event, queue_id: str) -> None:
        try:
            accepted_at = time_of(queue_id)
        except ValueError:
            return
        self._seconds.observe(max(0.0, (event.at - accepted_at).total_seconds()))

    def report_rejected(self, reason: str) -> None:
        """A report was dropped: no valid token (`token`), no such delivery (`delivery`), or it could not be read
        (`unreadable`)."""
        self._reports.labels(_one_of(REPORT_FLAWS, reason)).inc()

    def rejected(self, reason: str, role: str = "submission") -> None:
        """A client was refused something. A reason that is not in `REJECTIONS` is counted as other."""
        counter = self._inbound_rejected if role == "inbound" else self._rejected
        counter.labels(_one_of(REJECTIONS, reason)).inc()

    def auth_failed(self) -> None:
        """A client gave wrong credentials."""
        self._auth_failures.inc()

    def connection_opened(self, role: str) -> None:
        """A connection of a role (`ROLES`) was opened."""
        self._connections.labels(_one_of(ROLES, role)).inc()

    def connection_closed(self, role: str) -> None:
        """A connection of a role was closed."""
        self._connections.labels(_one_of(ROLES, role)).dec()

    def ask_for_connections(self, role: str, count: Callable[[], int]) -> None:
        """Ask for the number of a role's open connections when somebody scrapes, instead of being told of each."""
        self._connections.labels(_one_of(ROLES, role)).set_function(count)

    def tls_session(self, role: str, version: str | None) -> None:
        """A TLS handshake succeeded; the version is as `ssl` names it, "TLSv1.3"."""
        self._tls.labels(_one_of(ROLES, role), _one_of(TLS_VERSIONS, version or ""), "ok").inc()

    def tls_failed(self, role: str) -> None:
        """A TLS handshake failed."""
        self._tls.labels(_one_of(ROLES, role), "none", "failed").inc()

    def committed(self, batch_size: int, seconds: float) -> None:
        """The store committed some units of work at once."""
        self._batch_size.observe(batch_size)
        self._commit_seconds.observe(seconds)


def _one_of(known: frozenset[str], value: str) -> str:
    return value if value in known else OTHER
