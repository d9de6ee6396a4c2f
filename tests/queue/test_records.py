"""Settlements as facts: which events they become, what those say, and when a DSN goes with them."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from mta.bounces.report import Classification, Hardness, Reason
from mta.events import EventType
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify, Return
from mta.mail.outcome import Delivered
from mta.mail.reply import Reply
from mta.queue.breaker import Opened
from mta.queue.model import Claimed, Content, State, Stream
from mta.queue.records import Records, suppression_detail
from mta.queue.settle import Notice, Settlement, held, suppressed
from mta.reputation.rates import tally_of
from mta.reputation.suppression import Cause, Origin, Suppression
from tests.fakes.clock import FakeClock
from tests.fakes.letters import BODY, HEADER, Letters
from tests.fakes.world import said

NEVER = Reply.of(550, "5.1.1", "No such user")
LATER = Reply.of(450, "4.7.1", "Greylisted")
HARD = Classification(Reason.BAD_MAILBOX, Hardness.HARD)
CLOCK = FakeClock()
NOW = CLOCK.now()


@pytest.fixture
def records() -> Records:
    return Records("mail.example.com", Letters(CLOCK, worker=1).ids, CLOCK.now)


def claimed(sender: str = "app@example.com", **message: Any) -> Claimed:
    new = Letters(CLOCK).new(["a@example.net"], sender=sender, stream=Stream.BULK)
    return Claimed(replace(new.message, **message), new.deliveries[0], NOW)


def bounced(one: Claimed, *, told: bool = True, **more: Any) -> Settlement:
    notice = Notice(one, State.BOUNCED, NEVER, "mx.example.net") if told else None
    settlement = Settlement(one, State.BOUNCED, NEVER, EventType.BOUNCED, tries=said(NEVER), notice=notice)
    return replace(settlement, **more)


def entry(expires_after: timedelta | None = None) -> Suppression:
    expires_at = None if expires_after is None else NOW + expires_after
    address = Mailbox.parse("a@example.net")
    return Suppression("app", address, Cause.HARD_BOUNCE, Origin.DELIVERY, NOW, expires_at, "550 no", "d")


def test_an_event_says_whose_delivery_it_is_what_was_said_and_what_it_means(records: Records) -> None:
    one = claimed(tag="autumn", metadata='{"order": 7}')
    settlement = bounced(one, classification=HARD, site="mx.example.net", duration=timedelta(seconds=2))
    event = records.of(settlement, None).events[0]
    assert (event.type, event.at, event.account, event.stream) == (EventType.BOUNCED, NOW, "app", "bulk")
    assert (event.queue_id, event.delivery_id) == (one.message.id, one.delivery.id)
    assert (event.recipient, event.tag, event.metadata) == ("a@example.net", "autumn", '{"order": 7}')
    assert (event.reply, event.tries, event.attempt) == (NEVER, said(NEVER), 1)
    assert (event.klass, event.hardness) == ("bad_mailbox", "hard")
    assert (event.site, event.duration) == ("mx.example.net", timedelta(seconds=2))


def test_what_was_not_attempted_has_no_attempt(records: Records) -> None:
    (event,) = records.of(held(claimed(), "no DKIM key"), None).events
    assert event.attempt is None
    assert event.detail["reason"] == "no DKIM key"


@pytest.mark.parametrize(
    ("more", "key", "value"),
    [
        ({"late": "report"}, "late", "report"),
        ({"in_doubt": True}, "in_doubt", True),
        ({"retry_in": timedelta(seconds=301.23456)}, "retry_in", 301.235),
        ({}, "late", None),
        ({}, "in_doubt", None),
        ({}, "notification", None),
    ],
)
def test_what_one_kind_alone_has_stands_in_the_detail(
    records: Records, more: dict[str, Any], key: str, value: object
) -> None:
    event = records.of(bounced(claimed(), **more), None).events[0]
    assert event.detail.get(key) == value
    assert event.detail["accepted_at"] == NOW.isoformat()


@pytest.mark.parametrize(
    ("sender", "from_domain", "counts"),
    [
        ("app@example.com", "example.com", True),
        # a client may use it too, and does not escape its ratios so
        ("", "example.com", True),
        ("", "mail.example.com", False),
    ],
)
def test_only_our_own_notifications_are_in_nobodys_ratios(
    records: Records, sender: str, from_domain: str, counts: bool
) -> None:
    one = claimed(sender, from_domain=from_domain)
    event = records.of(bounced(one, told=False, classification=HARD), None).events[0]
    assert (tally_of(event) is not None) == counts


def test_our_own_notification_is_known_again_when_it_is_delivered(records: Records) -> None:
    dsn = records.of(bounced(claimed()), Content(HEADER, (BODY,))).dsn
    assert dsn is not None
    ok = Delivered(Reply.of(250, "2.0.0", "Ok")).reply
    own = Claimed(dsn.message, dsn.deliveries[0], NOW)
    event = records.of(Settlement(own, State.DELIVERED, ok, EventType.DELIVERED), None).events[0]
    assert event.detail["notification"] is True


def test_a_suppression_has_an_event_of_its_own_that_is_written_only_if_it_is_new(records: Records) -> None:
    settled = records.of(bounced(claimed(), suppression=entry()), None)
    on_list = settled.on_suppressing
    assert on_list is not None
    assert on_list not in settled.events
    assert (on_list.type, on_list.account, on_list.recipient) == (EventType.SUPPRESSION_ADDED, "app", "a@example.net")
    assert on_list.detail == {
        "cause": "hard_bounce",
        "origin": "delivery",
        "expires_at": None,
        "reason": "550 no",
    }
    # what is said of the address is no second bounce
    assert (on_list.klass, on_list.hardness, tally_of(on_list)) == (None, None, None)


@pytest.mark.parametrize("told", [True, False])
def test_without_a_suppression_there_is_no_such_event(records: Records, told: bool) -> None:
    assert records.of(bounced(claimed(), told=told), None).on_suppressing is None


@pytest.mark.parametrize("told", [True, False])
def test_a_suppression_is_told_of_whether_or_not_the_submitter_hears(records: Records, told: bool) -> None:
    assert records.of(bounced(claimed(), told=told, suppression=entry()), None).on_suppressing is not None


def test_an_entry_that_ends_says_when() -> None:
    month = timedelta(days=30)
    assert suppression_detail(entry(month))["expires_at"] == (NOW + month).isoformat()


def test_a_notice_becomes_a_dsn_and_the_event_of_its_acceptance(records: Records) -> None:
    one = claimed()
    settled = records.of(bounced(one), Content(HEADER, (BODY,)))
    assert settled.dsn is not None
    assert [event.type for event in settled.events] == ["bounced", "accepted"]
    accepted = settled.events[1]
    assert accepted.queue_id == settled.dsn.message.id
    assert accepted.detail["dsn_for"] == one.message.id
    (delivery,) = settled.dsn.deliveries
    assert (str(delivery.recipient.mailbox), delivery.return_path) == ("app@example.com", None)
    assert delivery.recipient.notify == {Notify.NEVER}
    assert settled.dsn.message.reverse_path.is_null


def test_a_delay_is_told_beside_its_deferral(records: Records) -> None:
    one = claimed()
    notice = Notice(one, State.QUEUED, LATER, None, NOW + timedelta(days=1))
    settlement = Settlement(one, State.QUEUED, LATER, EventType.DEFERRED, notice=notice)
    settled = records.of(settlement, Content(HEADER, (BODY,)))
    assert [event.type for event in settled.events] == ["deferred", "delayed_notice", "accepted"]


def test_a_delivery_that_was_not_sent_for_its_recipients_sake_says_so_to_its_submitter(records: Records) -> None:
    settled = records.of(suppressed(claimed(), entry()), Content(HEADER, (BODY,)))
    assert settled.dsn is not None
    body = b"".join(settled.dsn.content.body)
    assert b"Action: failed" in body
    assert b"Status: 5.7.1" in body
    assert b"it bounced on" in body
    assert settled.on_suppressing is None


@pytest.mark.parametrize(
    ("original", "whole"),
    [
        (Content(HEADER, (BODY,)), True),
        # what a report brought back: a message without a body would not be the message
        (Content(HEADER, ()), False),
        (None, False),
    ],
)
def test_the_whole_message_comes_back_only_when_there_is_one(
    records: Records, original: Content | None, whole: bool
) -> None:
    dsn = records.of(bounced(claimed(ret=Return.FULL)), original).dsn
    assert dsn is not None
    assert (b"Content-Type: message/rfc822" in b"".join(dsn.content.body)) == whole


def test_every_event_and_message_has_an_id_of_its_own(records: Records) -> None:
    settled = records.of(bounced(claimed(), suppression=entry()), None)
    assert settled.dsn is not None
    assert settled.on_suppressing is not None
    ids = [event.id for event in (*settled.events, settled.on_suppressing)]
    ids += [settled.dsn.message.id, settled.dsn.deliveries[0].id, records.new_id()]
    assert len(set(ids)) == len(ids)


def test_a_breaker_that_opens_is_told_beside_the_bounce_as_the_sites(records: Records) -> None:
    opened = Opened("mx.example.net", hard=15, results=50, known=15, accounts=1, usual=0.02)
    settled = records.of(bounced(claimed(), withheld=True, opened=opened), None)
    bounce, breaker, _ = settled.events
    assert (bounce.type, bounce.detail["breaker"]) == (EventType.BOUNCED, True)
    assert (breaker.type, breaker.site, breaker.recipient, breaker.account) == (
        EventType.BREAKER_OPEN,
        "mx.example.net",
        None,
        None,
    )
    assert breaker.detail["hard_bounces"] == 15
    assert tally_of(bounce) is None


def test_only_the_header_of_a_message_that_requires_tls_comes_back(records: Records) -> None:
    one = claimed(ret=Return.FULL, requiretls=True)
    dsn = records.of(bounced(one), Content(HEADER, (BODY,))).dsn
    assert dsn is not None
    written = b"".join(dsn.content.body)
    assert b"Content-Type: text/rfc822-headers" in written
    assert BODY not in written
