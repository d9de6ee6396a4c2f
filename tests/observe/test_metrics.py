"""What is counted, and under which closed sets of labels."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from mta.events import Event, EventType
from mta.mail import ids
from mta.observe.metrics import REJECTIONS, MetricsObserver

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVENT = Event(
    "e1",
    AT,
    EventType.DELIVERED,
    account="shop",
    stream="bulk",
    queue_id=ids.first_at(AT - timedelta(seconds=3)),
    attempt=1,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> MetricsObserver:
    return MetricsObserver(registry, "0.1.0")


def counted(registry: CollectorRegistry) -> dict[str, float]:
    """Every series that is not zero, by its name and labels, but for what only tells of the program."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sample.labels.items()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_created", "_info", "_bucket"))
    }


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (replace(EVENT, type=EventType.ACCEPTED), {"mta_messages_accepted_total account=shop stream=bulk": 1}),
        (replace(EVENT, type=EventType.ACCEPTED, detail={"dsn_for": "q"}), {"mta_dsns_total": 1}),
        (
            EVENT,
            {
                "mta_deliveries_total result=delivered": 1,
                "mta_delivery_attempts_total result=delivered": 1,
                "mta_delivery_seconds_count": 1,
                "mta_delivery_seconds_sum": 3,
            },
        ),
        (replace(EVENT, type=EventType.DEFERRED), {"mta_delivery_attempts_total result=deferred": 1}),
        (
            replace(EVENT, type=EventType.BOUNCED),
            {
                "mta_deliveries_total result=bounced": 1,
                "mta_delivery_attempts_total result=bounced": 1,
                "mta_bounces_total class=other": 1,
            },
        ),
        (
            replace(EVENT, type=EventType.EXPIRED),
            {"mta_deliveries_total result=expired": 1, "mta_delivery_attempts_total result=deferred": 1},
        ),
        # it was counted when it was delivered
        (
            replace(EVENT, type=EventType.BOUNCED, attempt=None, klass="bad_mailbox", detail={"late": "report"}),
            {"mta_bounces_total class=bad_mailbox": 1},
        ),
        (replace(EVENT, type=EventType.COMPLAINED, attempt=None), {"mta_complaints_total": 1}),
        (
            replace(EVENT, type=EventType.SUPPRESSION_ADDED, attempt=None, detail={"cause": "complaint"}),
            {"mta_suppressed_total reason=complaint": 1},
        ),
        # given up without an attempt
        (replace(EVENT, type=EventType.EXPIRED, attempt=None), {"mta_deliveries_total result=expired": 1}),
        (replace(EVENT, type=EventType.CANCELLED, attempt=None), {"mta_deliveries_total result=cancelled": 1}),
        (replace(EVENT, type=EventType.HELD, attempt=None), {}),
        (replace(EVENT, type=EventType.ACCOUNT_CHANGED, attempt=None), {}),
    ],
)
def test_events_are_counted(
    metrics: MetricsObserver, registry: CollectorRegistry, event: Event, expected: dict[str, float]
) -> None:
    metrics.observe(event)
    assert counted(registry) == expected


@pytest.mark.parametrize("queue_id", [None, "", "not an identifier", "!" * 16])
def test_a_delivery_without_a_usable_queue_id_is_counted_all_the_same(
    metrics: MetricsObserver, registry: CollectorRegistry, queue_id: str | None
) -> None:
    metrics.observe(replace(EVENT, queue_id=queue_id))
    assert counted(registry)["mta_deliveries_total result=delivered"] == 1


def test_what_the_edges_tell_is_counted(metrics: MetricsObserver, registry: CollectorRegistry) -> None:
    metrics.rejected("sender")
    metrics.auth_failed()
    metrics.connection_opened("submission")
    metrics.connection_opened("submission")
    metrics.connection_closed("submission")
    metrics.tls_session("delivery", "TLSv1.3")
    metrics.tls_failed("submission")
    metrics.committed(7, 0.25)
    assert counted(registry) == {
        "mta_submission_rejected_total reason=sender": 1,
        "mta_auth_failures_total": 1,
        "mta_connections role=submission": 1,
        "mta_tls_sessions_total role=delivery version=TLSv1.3 result=ok": 1,
        "mta_tls_sessions_total role=submission version=none result=failed": 1,
        "mta_store_batch_size_count": 1,
        "mta_store_batch_size_sum": 7,
        "mta_store_commit_seconds_count": 1,
        "mta_store_commit_seconds_sum": 0.25,
    }


def test_a_number_of_connections_may_be_asked_for_at_each_scrape(
    metrics: MetricsObserver, registry: CollectorRegistry
) -> None:
    connections = ["first"]
    metrics.ask_for_connections("delivery", lambda: len(connections))
    assert counted(registry) == {"mta_connections role=delivery": 1}
    connections.append("second")
    assert counted(registry) == {"mta_connections role=delivery": 2}


def test_labels_stay_in_their_closed_sets(metrics: MetricsObserver, registry: CollectorRegistry) -> None:
    for n in range(50):
        metrics.rejected(f"550 no {n}")
        metrics.connection_opened(f"role{n}")
        metrics.tls_session(f"role{n}", f"TLSv{n}")
        metrics.tls_session("delivery", None)
    assert counted(registry) == {
        "mta_submission_rejected_total reason=other": 50,
        "mta_connections role=other": 50,
        "mta_tls_sessions_total role=other version=other result=ok": 50,
        "mta_tls_sessions_total role=delivery version=other result=ok": 50,
    }


def test_closed_sets_are_there_from_the_start(metrics: MetricsObserver, registry: CollectorRegistry) -> None:
    reasons = {
        sample.labels["reason"]
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "mta_submission_rejected_total"
    }
    assert reasons == REJECTIONS


def test_two_workers_in_one_process_do_not_share_counters(
    metrics: MetricsObserver, registry: CollectorRegistry
) -> None:
    MetricsObserver(CollectorRegistry(), "0.1.0").observe(EVENT)
    assert counted(registry) == {}
