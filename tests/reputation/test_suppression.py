"""Entries of the suppression list: until when they hold, and what a client is told."""

from datetime import UTC, datetime, timedelta

import pytest

from mta.mail.address import Mailbox
from mta.reputation.suppression import Cause, Expiry, Origin, Suppression

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
MONTH = timedelta(days=30)


def entry(cause: Cause, expires_at: datetime | None = None, detail: str = "") -> Suppression:
    return Suppression("app", Mailbox.parse("a@example.net"), cause, Origin.REPORT, AT, expires_at, detail)


@pytest.mark.parametrize(
    ("expires_at", "now", "holds"),
    [
        (None, AT + timedelta(days=36_500), True),
        (AT + MONTH, AT, True),
        (AT + MONTH, AT + MONTH - timedelta(microseconds=1), True),
        (AT + MONTH, AT + MONTH, False),
        (AT, AT, False),
    ],
)
def test_an_entry_holds_until_its_end(expires_at: datetime | None, now: datetime, holds: bool) -> None:
    assert entry(Cause.HARD_BOUNCE, expires_at).holds(now) is holds


@pytest.mark.parametrize(
    ("cause", "detail", "told"),
    [
        (
            Cause.HARD_BOUNCE,
            "550 5.1.1 no such user",
            "it bounced on 2026-11-22 (550 5.1.1 no such user)",
        ),
        (Cause.HARD_BOUNCE, "", "it bounced on 2026-11-22"),
        (Cause.SOFT_BOUNCE, "452 4.2.2 full", "it bounced too often on 2026-11-22"),
        (Cause.COMPLAINT, "abuse", "its owner complained on 2026-11-22"),
        (Cause.UNSUBSCRIBE, "", "its owner unsubscribed on 2026-11-22"),
        # an operator's words are for operators
        (Cause.MANUAL, "ticket 4711: threatens to sue", "an operator suppressed it on 2026-11-22"),
    ],
)
def test_a_client_is_told_reason_and_date(cause: Cause, detail: str, told: str) -> None:
    assert str(entry(cause, detail=detail)) == told


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_words(cause: Cause) -> None:
    assert str(entry(cause)).endswith("on 2026-11-22")


@pytest.mark.parametrize(
    ("cause", "ends"),
    [(Cause.SOFT_BOUNCE, AT + MONTH), (Cause.HARD_BOUNCE, None), (Cause.MANUAL, None)],
)
def test_a_cause_without_a_span_stays(cause: Cause, ends: datetime | None) -> None:
    assert Expiry({Cause.SOFT_BOUNCE: MONTH, Cause.HARD_BOUNCE: None}).of(cause, AT) == ends
