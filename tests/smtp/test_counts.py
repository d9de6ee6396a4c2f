"""Every refusal that the listener can give has a word of the closed set that metrics know."""

import pytest
from prometheus_client import CollectorRegistry

from mta.mail import failures
from mta.mail.reply import Reply
from mta.observe.metrics import OTHER, REJECTIONS, MetricsObserver
from mta.smtp.counts import reason_of
from mta.submission.counts import Counts

REFUSALS = [reply for reply in vars(failures).values() if isinstance(reply, Reply) and not reply.is_positive]


@pytest.mark.parametrize("reply", REFUSALS, ids=str)
def test_a_refusal_is_counted_under_a_known_word(reply: Reply) -> None:
    assert reason_of(reply) in REJECTIONS | {OTHER}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (failures.BAD_CREDENTIALS, "auth"),
        (failures.sender_not_yours("example.net", "app"), "sender"),
        (failures.suppressed("it bounced on 2026-11-22"), "suppressed"),
        (failures.suspended("Account shop", "an operator said so"), "suspended"),
        (failures.RELAY_DENIED, "relay"),
        (failures.NO_SUCH_RECIPIENT, "recipient"),
        (failures.bad_recipient("x"), "recipient"),
        (failures.NO_SPACE, "space"),
        (failures.STORE_UNAVAILABLE, "store"),
        (failures.internal("1"), "internal"),
        (failures.UNKNOWN_COMMAND, "syntax"),
        (failures.TOO_LARGE, "size"),
    ],
)
def test_the_word_says_what_was_wrong(reply: Reply, reason: str) -> None:
    assert reason_of(reply) == reason


def test_each_doors_refusals_have_a_counter_of_their_own() -> None:
    registry = CollectorRegistry()
    metrics = MetricsObserver(registry, "1")
    counts: Counts = metrics  # what the doors want is what metrics have
    counts.rejected("relay", "inbound")
    counts.rejected("suppressed", "submission")
    counts.connection_opened("inbound")
    found = {
        (sample.name, *sample.labels.values())
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_created", "_info"))
    }
    assert found == {
        ("mta_inbound_rejected_total", "relay"),
        ("mta_submission_rejected_total", "suppressed"),
        ("mta_connections", "inbound"),
    }
