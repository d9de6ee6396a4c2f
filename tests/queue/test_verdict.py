"""What a host's refusal means: its class, whether it is permanent, and whether its recipient comes onto the list."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mta.bounces.report import Classification, Hardness, Reason
from mta.events import EventType
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, Try
from mta.mail.reply import EnhancedStatus, Reply
from mta.queue.model import Claimed, State
from mta.queue.settle import Settlement
from mta.reputation.suppression import Cause, Expiry, Origin, Suppression
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.world import said, verdicts

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
VERDICTS = verdicts({Cause.COMPLAINT: MONTH})

NO_USER = Reply.of(550, "5.1.1", "<a@example.net>: Recipient address rejected: User unknown in virtual mailbox table")
BARE = Reply(550, None, "No such user here")
FULL = Reply.of(552, "5.2.2", "Mailbox is full")
BLOCKED = Reply.of(550, "5.7.1", "Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org")
POOR = Reply.of(554, "5.7.1", "Refused because of the poor reputation of your IP address")
TOO_MANY = Reply.of(550, "5.7.1", "Too many messages from your IP address, slow down")
SENDER = Reply.of(550, "5.1.8", "Sender address rejected: Domain not found")
LATER = Reply.of(450, "4.7.1", "Greylisted, try again later")
OK = Reply.of(250, "2.0.0", "Ok")


def claimed(sender: str = "app@example.com", recipient: str = "a@example.net") -> Claimed:
    new = Letters(FakeClock(NOW)).new([recipient], sender=sender)
    return Claimed(new.message, new.deliveries[0], NOW)


def ours(reply: Reply, stage: str = "rcpt") -> tuple[Try, ...]:
    """The tries of an attempt that ended by our own words."""
    return (Try("mx.example.net", "192.0.2.1", 25, stage, reply, remote=False),)


def verdict(outcome: Outcome, one: Claimed | None = None) -> Settlement:
    """Take an outcome all the way, without a schedule."""
    after, classification = VERDICTS.of(outcome)
    states = {
        Delivered: (State.DELIVERED, EventType.DELIVERED),
        Deferred: (State.QUEUED, EventType.DEFERRED),
        Bounced: (State.BOUNCED, EventType.BOUNCED),
    }
    state, event = states[type(after)]
    settlement = Settlement(one or claimed(), state, after.reply, event, tries=after.tries)
    return VERDICTS.judged(replace(settlement, classification=classification), NOW)


# permanent or not


@pytest.mark.parametrize("stage", ["mail", "rcpt", "dot"])
@pytest.mark.parametrize(
    ("reply", "reason", "about_us"),
    [
        (BLOCKED, Reason.REPUTATION, True),
        (POOR, Reason.REPUTATION, True),
        (TOO_MANY, Reason.RATE_LIMITED, True),
        (SENDER, Reason.POLICY, False),
        (NO_USER, Reason.BAD_MAILBOX, False),
        (Reply.of(550, "5.0.0", "No"), None, False),
    ],
    ids=lambda value: value.text[:20] if isinstance(value, Reply) else None,
)
def test_a_refusal_at_mail_is_permanent_unless_it_speaks_of_our_reputation_or_rate(
    reply: Reply, reason: Reason | None, about_us: bool, stage: str
) -> None:
    outcome, classification = VERDICTS.of(Bounced(reply, said(reply, stage)))
    assert isinstance(outcome, Deferred) == (about_us and stage == "mail")
    assert (outcome.reply, outcome.tries) == (reply, said(reply, stage))
    if reason is not None:
        assert classification.reason is reason


def test_a_success_has_no_class_and_a_deferral_keeps_what_it_was() -> None:
    delivered, deferred = Delivered(OK, said(OK, "dot")), Deferred(LATER, said(LATER, "dot"), in_doubt=True)
    assert VERDICTS.of(delivered) == (delivered, Classification())
    outcome, classification = VERDICTS.of(deferred)
    assert outcome is deferred
    assert classification.reason is Reason.GREYLISTED


# who comes onto the list


@pytest.mark.parametrize(
    ("outcome", "suppresses"),
    [
        pytest.param(Bounced(NO_USER, said(NO_USER, "rcpt")), True, id="at RCPT"),
        pytest.param(Bounced(NO_USER, said(NO_USER, "data")), True, id="at DATA"),
        pytest.param(Bounced(NO_USER, said(NO_USER, "dot")), True, id="after the dot"),
        pytest.param(Bounced(BARE, said(BARE)), True, id="without an enhanced code"),
        # no recipient has been named yet: it can only be the sender's mailbox
        pytest.param(Bounced(NO_USER, said(NO_USER, "mail")), False, id="at MAIL"),
        pytest.param(Bounced(FULL, said(FULL)), False, id="full"),
        pytest.param(Bounced(BLOCKED, said(BLOCKED)), False, id="our address is blocked"),
        pytest.param(Bounced(SENDER, said(SENDER)), False, id="the sender's domain"),
        pytest.param(Bounced(NO_USER, ours(NO_USER)), False, id="our own words"),
        pytest.param(
            Deferred(replace(NO_USER, code=450), said(replace(NO_USER, code=450))), False, id="deferred, in hard words"
        ),
        pytest.param(Delivered(OK, said(OK, "dot")), False, id="delivered"),
        pytest.param(Bounced(failures.NO_SUCH_DOMAIN), True, id="no such domain"),
        pytest.param(Bounced(failures.NULL_MX), True, id="null MX"),
        pytest.param(Bounced(failures.NO_HOST), False, id="no host"),
        pytest.param(Bounced(failures.ROUTING_LOOP), False, id="loop"),
    ],
)
def test_only_an_address_that_does_not_exist_comes_onto_the_list(outcome: Outcome, suppresses: bool) -> None:
    assert (verdict(outcome).suppression is not None) == suppresses


def test_a_hard_word_at_mail_is_not_held_against_the_recipient_either() -> None:
    settlement = verdict(Bounced(NO_USER, said(NO_USER, "mail")))
    assert settlement.classification == Classification(Reason.BAD_MAILBOX, Hardness.SOFT)


@pytest.mark.parametrize(
    ("outcome", "suspicion"),
    [
        (Bounced(failures.NO_SUCH_DOMAIN), True),
        # what the router adds names the domain, and does not change what it is
        (Bounced(replace(failures.NO_SUCH_DOMAIN, text="The domain does not exist: example.net")), True),
        # the domain's owner says so
        (Bounced(failures.NULL_MX), False),
        (Bounced(NO_USER, said(NO_USER)), False),
        # a host's word is one, even in DNS's code
        (Bounced(failures.NO_SUCH_DOMAIN, said(failures.NO_SUCH_DOMAIN)), False),
    ],
)
def test_a_domain_that_dns_does_not_know_is_only_suspected(outcome: Outcome, suspicion: bool) -> None:
    settlement = verdict(outcome)
    assert settlement.suppression is not None
    assert settlement.suspicion is suspicion
    assert settlement.classification.hardness is Hardness.HARD


def test_an_entry_says_whose_why_and_what_proves_it() -> None:
    one = claimed(recipient="A.b@EXAMPLE.net")
    assert verdict(Bounced(NO_USER, said(NO_USER)), one).suppression == Suppression(
        account="app",
        address=Mailbox("A.b", "example.net"),
        cause=Cause.HARD_BOUNCE,
        origin=Origin.DELIVERY,
        at=NOW,
        expires_at=None,
        detail=str(NO_USER),
        delivery_id=one.delivery.id,
    )


def test_a_long_reply_is_cut_in_an_entry() -> None:
    long = Reply(550, EnhancedStatus(5, 1, 1), "User unknown " + "x" * 1900)
    entry = verdict(Bounced(long, said(long))).suppression
    assert entry is not None
    assert entry.detail == str(long)[:500]


def test_an_entry_ends_by_its_causes_span_and_by_the_one_in_force() -> None:
    mine = verdicts({Cause.COMPLAINT: MONTH})
    assert (mine.expires(Cause.COMPLAINT, NOW), mine.expires(Cause.HARD_BOUNCE, NOW)) == (NOW + MONTH, None)
    mine.replace(Expiry({Cause.HARD_BOUNCE: MONTH}))
    entry = mine.entry(claimed(), Cause.HARD_BOUNCE, Origin.REPORT, "gone", NOW)
    assert entry.expires_at == NOW + MONTH
