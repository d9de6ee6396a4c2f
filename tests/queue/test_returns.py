"""What follows from a report that is proved: told of a delivery that was delivered, in a store in memory."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.bounces.processor import Effect
from mta.bounces.report import Action, Classification, Feedback, Hardness, Kind, Reason, Report, ReportedRecipient
from mta.errors import StoreUnavailable
from mta.events import EventType
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify, Return
from mta.mail.header import Header
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.mail.reply import EnhancedStatus, Reply
from mta.mail.report_token import ReportClaim
from mta.mail.token import GroupPath
from mta.queue.model import Claimed, Delivery, Message, NewMessage, State, Stream
from mta.queue.records import Records
from mta.queue.returned import ReturnNote
from mta.queue.returns import Returns
from mta.queue.schedule import Schedule
from mta.queue.settle import Settlement, settle
from mta.reputation.rates import Tally
from mta.reputation.suppression import Cause, Origin, Suppression
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.memory_store import MemoryStore
from tests.fakes.world import Notes, said, verdicts

OK = Reply.of(250, "2.0.0", "Taken")
LATER = Reply.of(450, "4.7.1", "Greylisted")
NEVER = Reply.of(550, "5.1.1", "No such user")
MOMENT = timedelta(milliseconds=1)
SCHEDULE = Schedule((timedelta(minutes=5),), dict.fromkeys(Stream, timedelta(days=4)), timedelta(hours=4))
MONTH = timedelta(days=30)

HARD = Classification(Reason.BAD_MAILBOX, Hardness.HARD)
SOFT = Classification(Reason.MAILBOX_FULL, Hardness.SOFT)
HEADER = Header.parse(b"From: app@example.com\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n")


class Doorbell:
    """Hears that something is due."""

    def __init__(self) -> None:
        self.rung = 0

    def places(self, message: Message, domains: Sequence[str], promised: int = 0) -> int:
        return 0

    def hand_over(self, claimed: Sequence[Claimed]) -> None:
        raise AssertionError("nothing is handed over")

    def wake(self, message: Message | None = None) -> None:
        self.rung += 1


@dataclass
class Office:
    """The queue's half of the way back with everything around it."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)
        self.letters = Letters(self.clock)
        self.records = Records("mail.example.com", Letters(self.clock, worker=1).ids, self.clock.now)
        self.notes, self.bell = Notes(), Doorbell()
        self.returns = Returns(
            self.store, self.records, verdicts({Cause.COMPLAINT: MONTH}), [self.notes], self.bell, MOMENT
        )

    async def submitted(self, new: NewMessage, outcome: Outcome) -> Delivery:
        """Accept a message and let its only delivery be attempted once."""
        await self.store.accept(new, [])
        (claimed,) = await self.store.claim(1)
        await self.store.settle(self.records.of(settled(claimed, outcome, self.clock), None))
        return new.deliveries[0]

    async def delivered(self, recipient: str = "a@example.net", sender: str = "app@example.com") -> Delivery:
        new = self.letters.new([recipient], sender=sender, stream=Stream.BULK)
        return await self.submitted(new, Delivered(OK, said(OK, "dot")))

    def dsns(self) -> list[bytes]:
        """The notifications that wait, whole."""
        found = [id for id, one in self.store.memory.messages.items() if one.reverse_path.is_null]
        contents = [self.store.memory.contents[id] for id in found]
        return [content.header + b"\r\n" + b"".join(content.body) for content in contents]

    def listed(self, address: str = "a@example.net") -> Suppression | None:
        return self.store.memory.suppressions.get(("app", address))

    def counted(self) -> Tally:
        return sum(self.store.memory.tallies.values(), Tally())


def settled(claimed: Claimed, outcome: Outcome, clock: FakeClock) -> Settlement:
    return settle(claimed, outcome, SCHEDULE, clock.now(), random.Random(1))


@pytest.fixture
def office() -> Office:
    return Office()


def failure(
    *,
    address: str = "a@example.net",
    action: Action | None = Action.FAILED,
    status: str | None = "5.1.1",
    code: int | None = 550,
    meaning: Classification = HARD,
    diagnostic: str = "No such user here",
    host: str | None = "mx.example.net",
) -> ReportedRecipient:
    parsed = EnhancedStatus.parse(status) if status else None
    return ReportedRecipient(address, action, parsed, code, meaning, diagnostic, host)


def report(*recipients: ReportedRecipient, returned: Header = HEADER) -> Report:
    return Report(Kind.BOUNCE, recipients, returned=returned)


async def told(office: Office, delivery: Delivery, recipient: ReportedRecipient | None = None) -> Effect:
    one = recipient or failure()
    return await office.returns.failed(delivery.id, one, report(one))


def spam(user_agent: str | None = "SomeProvider/1.0") -> Report:
    return Report(Kind.COMPLAINT, reason="abuse", feedback=Feedback("abuse", user_agent))


# a late bounce


async def test_a_late_bounce_moves_its_delivery_and_suppresses_the_recipient(office: Office) -> None:
    delivery = await office.delivered()
    assert await told(office, delivery) is Effect.APPLIED
    assert office.store.state_of(delivery.id) is State.BOUNCED
    entry = office.listed()
    assert entry == Suppression(
        "app",
        Mailbox.parse("a@example.net"),
        Cause.HARD_BOUNCE,
        Origin.REPORT,
        office.clock.now(),
        None,
        "550 5.1.1 No such user here",
        delivery.id,
    )


async def test_a_late_bounce_is_told_as_an_event_and_moves_the_counts(office: Office) -> None:
    delivery = await office.delivered()
    assert office.counted() == Tally(delivered=1, ended=1)
    await told(office, delivery)
    assert office.notes.types == ["bounced", "accepted", "suppression_added"]
    bounced = office.notes.events[0]
    assert (bounced.delivery_id, bounced.recipient, bounced.attempt) == (delivery.id, "a@example.net", None)
    assert (bounced.klass, bounced.hardness, bounced.detail["late"]) == ("bad_mailbox", "hard", "report")
    assert bounced.reply == Reply.of(550, "5.1.1", "No such user here")
    assert office.counted() == Tally(delivered=0, ended=1, hard_bounced=1)


async def test_the_submitter_hears_of_a_late_bounce_with_the_header_that_came_back(office: Office) -> None:
    delivery = await office.delivered()
    await told(office, delivery)
    (dsn,) = office.dsns()
    assert b"To: <app@example.com>\r\n" in dsn
    assert b"Subject: Undelivered mail: Hello\r\n" in dsn
    assert b"Final-Recipient: rfc822;a@example.net\r\n" in dsn
    assert b"Remote-MTA: dns; mx.example.net\r\n" in dsn
    assert b"Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n" in dsn
    assert bytes(HEADER) in dsn
    assert office.bell.rung == 1


async def test_a_header_that_no_mail_may_hold_does_not_leave_as_it_came(office: Office) -> None:
    delivery = await office.delivered()
    hostile = Header.parse(b"Subject: \x00\xff" + b"x" * 5000 + b"\r\nBcc: \x80\nX: y\r\n")
    await office.returns.failed(delivery.id, failure(), report(failure(), returned=hostile))
    (dsn,) = office.dsns()
    assert max(map(len, dsn.split(b"\r\n"))) <= 998
    assert dsn.isascii()
    assert b"\0" not in dsn
    assert b"\n" not in dsn.replace(b"\r\n", b"")


async def test_a_report_without_a_header_is_no_whole_message_for_who_asked_for_it(office: Office) -> None:
    new = office.letters.new(["a@example.net"])
    new = replace(new, message=replace(new.message, ret=Return.FULL))
    delivery = await office.submitted(new, Delivered(OK, said(OK, "dot")))
    await office.returns.failed(delivery.id, failure(), report(failure(), returned=Header(())))
    (dsn,) = office.dsns()
    assert b"message/rfc822" not in dsn


async def test_a_report_that_names_no_host_comes_from_the_one_that_took_the_message(office: Office) -> None:
    delivery = await office.delivered()
    await told(office, delivery, failure(host=None))
    assert b"Remote-MTA: dns; mx.example.net\r\n" in office.dsns()[0]


@pytest.mark.parametrize(
    ("one", "suppresses"),
    [
        pytest.param(failure(), True, id="failed, 5.1.1, hard"),
        pytest.param(failure(code=None), True, id="status alone"),
        pytest.param(failure(status=None), True, id="reply code alone"),
        pytest.param(failure(meaning=SOFT, status="5.2.2"), False, id="soft"),
        pytest.param(failure(meaning=Classification()), False, id="unknown"),
        pytest.param(failure(status="4.1.1"), False, id="4.x.x"),
        pytest.param(failure(status="4.1.1", code=450), False, id="4.x.x and 4yz"),
        pytest.param(failure(status=None, code=450), False, id="4yz"),
        pytest.param(failure(status="2.1.5", code=250), False, id="2.x.x"),
        pytest.param(failure(status=None, code=None), False, id="words alone"),
        pytest.param(failure(action=None), False, id="no action"),
        pytest.param(failure(action=Action.DELAYED), False, id="delayed"),
    ],
)
async def test_only_failed_hard_and_5xx_suppresses(office: Office, one: ReportedRecipient, suppresses: bool) -> None:
    delivery = await office.delivered()
    assert await told(office, delivery, one) is Effect.APPLIED
    assert office.store.state_of(delivery.id) is State.BOUNCED
    assert (office.listed() is not None) == suppresses
    assert ("suppression_added" in office.notes.types) == suppresses


async def test_whoever_a_report_names_only_the_deliverys_own_recipient_is_concerned(office: Office) -> None:
    victim = await office.delivered("victim@example.org")
    delivery = await office.delivered()
    await told(office, delivery, failure(address="victim@example.org"))
    assert office.store.state_of(victim.id) is State.DELIVERED
    assert set(office.store.memory.suppressions) == {("app", "a@example.net")}
    assert all(event.recipient != "victim@example.org" for event in office.notes.events)


async def test_the_same_report_told_again_counts_once(office: Office) -> None:
    delivery = await office.delivered()
    await told(office, delivery)
    before = (office.notes.types, office.counted(), office.dsns(), office.bell.rung)
    assert await told(office, delivery) is Effect.REPEATED
    assert (office.notes.types, office.counted(), office.dsns(), office.bell.rung) == before
    assert len(office.store.notes) == 1


async def test_two_late_bounces_of_one_address_put_it_on_the_list_once(office: Office) -> None:
    for delivery in (await office.delivered(), await office.delivered()):
        assert await told(office, delivery) is Effect.APPLIED
    assert office.notes.types.count("bounced") == 2
    assert office.notes.types.count("suppression_added") == 1


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Bounced(NEVER, said(NEVER)), State.BOUNCED), (Deferred(LATER, said(LATER)), State.QUEUED)],
)
async def test_what_was_not_delivered_cannot_bounce_late(office: Office, outcome: Outcome, state: State) -> None:
    delivery = await office.submitted(office.letters.new(["a@example.net"]), outcome)
    assert await told(office, delivery) is Effect.REPEATED
    assert office.store.state_of(delivery.id) is state
    assert office.listed() is None
    assert office.notes.events == []


async def test_a_report_about_a_delivery_that_nothing_is_known_of_changes_nothing(office: Office) -> None:
    assert await office.returns.failed("0123456789abcdef", failure(), report(failure())) is Effect.UNKNOWN
    assert office.notes.events == []
    assert office.store.memory.suppressions == {}
    (note,) = office.store.notes
    assert (note.delivery_id, note.account, note.effect) == ("0123456789abcdef", None, "unknown delivery")


async def test_nobody_is_told_and_nobody_suppressed_for_mail_from_the_null_reverse_path(office: Office) -> None:
    delivery = await office.delivered(sender="")
    assert await told(office, delivery) is Effect.APPLIED
    assert len(office.store.memory.messages) == 1
    assert office.listed() is None
    assert office.bell.rung == 0


@pytest.mark.parametrize(("notify", "notices"), [({Notify.NEVER}, 0), ({Notify.SUCCESS}, 0), ({Notify.FAILURE}, 1)])
async def test_the_clients_notify_is_kept_to(office: Office, notify: set[Notify], notices: int) -> None:
    new = office.letters.new(["a@example.net"])
    asked = replace(new.deliveries[0].recipient, notify=frozenset(notify))
    new = replace(new, deliveries=(replace(new.deliveries[0], recipient=asked),))
    delivery = await office.submitted(new, Delivered(OK, said(OK, "dot"), will_notify=True))
    await told(office, delivery)
    assert len(office.dsns()) == office.bell.rung == notices
    assert office.listed() is not None


@pytest.mark.parametrize(
    ("one", "reply"),
    [
        (failure(), "550 5.1.1 No such user here"),
        (failure(code=None), "550 5.1.1 No such user here"),
        (failure(status=None), "550 5.0.0 No such user here"),
        (failure(status="5.4.7", code=451), "451 4.0.0 No such user here"),
        (failure(status="4.4.7", code=None), "450 4.4.7 No such user here"),
        (failure(status="2.0.0", code=250), "550 5.0.0 No such user here"),
        (failure(code=999), "550 5.1.1 No such user here"),
        (failure(diagnostic="two\nlines\x07"), "550 5.1.1 two?lines?"),
        (failure(diagnostic=""), "550 5.1.1 The receiving server reported a failure after it had accepted"),
        (failure(diagnostic="x" * 5000), "550 5.1.1 " + "x" * 1000),
    ],
)
async def test_what_a_report_quotes_becomes_a_reply(office: Office, one: ReportedRecipient, reply: str) -> None:
    delivery = await office.delivered()
    await told(office, delivery, one)
    assert str(office.notes.events[0].reply) == reply


# a complaint


async def test_a_complaint_suppresses_and_is_counted(office: Office) -> None:
    delivery = await office.delivered()
    assert await office.returns.complained(delivery.id, None, spam()) is Effect.APPLIED
    assert office.notes.types == ["complained", "suppression_added"]
    complained = office.notes.events[0]
    assert (complained.account, complained.stream, complained.recipient) == ("app", "bulk", "a@example.net")
    assert complained.detail == {"feedback_type": "abuse", "user_agent": "SomeProvider/1.0"}
    assert office.counted() == Tally(delivered=1, ended=1, complained=1)
    entry = office.listed()
    assert entry is not None
    assert (entry.cause, entry.origin, entry.delivery_id) == (Cause.COMPLAINT, Origin.FEEDBACK, delivery.id)
    assert entry.expires_at == office.clock.now() + MONTH
    assert office.store.state_of(delivery.id) is State.DELIVERED
    assert office.dsns() == []


async def test_a_complaint_told_again_counts_once(office: Office) -> None:
    delivery = await office.delivered()
    await office.returns.complained(delivery.id, None, spam())
    assert await office.returns.complained(delivery.id, None, spam(user_agent=None)) is Effect.REPEATED
    assert office.notes.types == ["complained", "suppression_added"]
    assert office.counted().complained == 1


async def test_a_claim_stands_in_for_rows_that_are_gone(office: Office) -> None:
    claim = ReportClaim("0123456789abcdef", "shop", "bulk", '"a@b"@example.net')
    assert await office.returns.complained(claim.delivery_id, claim, spam()) is Effect.APPLIED
    assert office.notes.types == ["complained", "suppression_added"]
    assert {(event.account, event.stream, event.recipient) for event in office.notes.events} == {
        ("shop", "bulk", '"a@b"@example.net')
    }
    entry = office.store.memory.suppressions["shop", '"a@b"@example.net']
    assert entry.address == Mailbox.parse('"a@b"@example.net')
    assert await office.returns.complained(claim.delivery_id, claim, spam()) is Effect.REPEATED


async def test_rows_go_before_a_claim(office: Office) -> None:
    delivery = await office.delivered()
    claim = ReportClaim(delivery.id, "other", "transactional", "b@example.net")
    await office.returns.complained(delivery.id, claim, spam())
    assert set(office.store.memory.suppressions) == {("app", "a@example.net")}


async def test_a_complaint_about_a_delivery_that_nothing_is_known_of_changes_nothing(office: Office) -> None:
    assert await office.returns.complained("0123456789abcdef", None, spam()) is Effect.UNKNOWN
    assert office.notes.events == []
    assert office.store.memory.suppressions == {}


async def test_what_never_reached_anybody_cannot_be_complained_of(office: Office) -> None:
    delivery = await office.submitted(office.letters.new(["a@example.net"]), Deferred(LATER, said(LATER)))
    assert await office.returns.complained(delivery.id, None, spam()) is Effect.REPEATED
    assert office.listed() is None


async def test_what_a_stranger_says_of_himself_is_cleaned_and_cut(office: Office) -> None:
    delivery = await office.delivered()
    hostile = Report(Kind.COMPLAINT, reason="abuse\r\nX: y" + "z" * 500, feedback=Feedback("", "\x1b[31m" * 500))
    await office.returns.complained(delivery.id, None, hostile)
    detail = office.notes.events[0].detail
    for value in detail.values():
        assert isinstance(value, str)
        assert value.isprintable()
        assert len(value) <= 200


# notes


async def test_a_note_says_what_came_back_and_what_it_did(office: Office) -> None:
    delivery = await office.delivered()
    await told(office, delivery)
    (note,) = office.store.notes
    assert note == ReturnNote(
        id=note.id,
        at=office.clock.now(),
        kind="bounce",
        delivery_id=delivery.id,
        queue_id=delivery.message_id,
        account="app",
        stream="bulk",
        recipient="a@example.net",
        reason="bad_mailbox",
        hardness="hard",
        text="No such user here",
        effect="applied",
    )


@pytest.mark.parametrize(
    ("came", "reason", "text"),
    [
        (Report(Kind.AUTOREPLY, reason="vacation"), "vacation", ""),
        (Report(Kind.DELAYED, (failure(action=Action.DELAYED, meaning=SOFT),)), "mailbox_full", "No such user here"),
        (Report(Kind.OTHER, note="more than 200 parts\r\n"), None, "more than 200 parts??"),
    ],
)
async def test_what_changes_nothing_is_noted(office: Office, came: Report, reason: str | None, text: str) -> None:
    delivery = await office.delivered()
    await office.returns.noted(delivery.id, came, Effect.NOTED)
    (note,) = office.store.notes
    assert (note.kind, note.reason, note.text, note.effect) == (came.kind, reason, text, "noted")
    assert note.recipient == "a@example.net"
    assert office.notes.events == []


async def test_a_report_without_a_token_is_noted_without_a_delivery(office: Office) -> None:
    await office.returns.noted(None, spam(), Effect.REJECTED)
    (note,) = office.store.notes
    assert (note.delivery_id, note.account, note.effect) == (None, None, "rejected")


async def test_a_letter_to_postmaster_is_kept_as_it_is(office: Office) -> None:
    letter = ReturnNote(office.returns.new_id(), office.clock.now(), "postmaster", octets=b"Subject: x\r\n\r\n")
    await office.returns.keep(letter)
    assert office.store.notes == [letter]


# trouble


class NoNotes(MemoryStore):
    """A store that has room for everything but notes."""

    async def note(self, note: ReturnNote) -> None:
        raise StoreUnavailable("no room for notes")


async def test_what_is_done_is_announced_though_its_note_is_lost(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = await office.delivered()
    store = NoNotes(office.clock, memory=office.store.memory)
    returns = Returns(store, office.records, verdicts(), [office.notes], office.bell)
    assert await returns.failed(delivery.id, failure(), report(failure())) is Effect.APPLIED
    assert office.notes.types[0] == EventType.BOUNCED
    assert f"a report about {delivery.id} was not noted: no room for notes" in caplog.text


async def test_a_store_that_fails_is_the_senders_to_try_again_and_nothing_is_announced(office: Office) -> None:
    delivery = await office.delivered()
    office.store.failure = StoreUnavailable("disk on fire")
    for trial in (
        office.returns.failed(delivery.id, failure(), report(failure())),
        office.returns.complained(delivery.id, None, spam()),
        office.returns.noted(delivery.id, Report(Kind.OTHER), Effect.NOTED),
    ):
        with pytest.raises(StoreUnavailable):
            await trial
    assert office.notes.events == []
    assert office.bell.rung == 0


async def test_a_report_that_overtakes_the_commit_of_its_delivery_waits_for_it(office: Office) -> None:
    new = office.letters.new(["a@example.net"])
    await office.store.accept(new, [])
    (claimed,) = await office.store.claim(1)
    telling = asyncio.create_task(told(office, new.deliveries[0]))
    await asyncio.sleep(0)
    assert office.notes.events == []
    delivered = settled(claimed, Delivered(OK, said(OK, "dot")), office.clock)
    await office.store.settle(office.records.of(delivered, None))
    assert await telling is Effect.APPLIED


async def test_a_report_of_a_delivery_that_is_attempted_for_long_must_come_again(office: Office) -> None:
    new = office.letters.new(["a@example.net"])
    await office.store.accept(new, [])
    await office.store.claim(1)
    with pytest.raises(StoreUnavailable):
        await told(office, new.deliveries[0])
    with pytest.raises(StoreUnavailable):
        await office.returns.complained(new.deliveries[0].id, None, spam())


# who shares a return path


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"a@example.net"}, {"a@example.net": "a@example.net"}),
        ({"A@Example.NET"}, {"A@Example.NET": "a@example.net"}),
        ({"stranger@example.net"}, {}),
        ({"own@example.net"}, {}),
        (set(), {}),
        # two that differ in nothing but case are told apart, and one that is neither is none of them
        (
            {"Up@example.net", "UP@EXAMPLE.NET"},
            {"Up@example.net": "Up@example.net", "UP@EXAMPLE.NET": "UP@example.net"},
        ),
        ({"uP@example.net"}, {}),
        ({"\u212a@example.net", "no address"}, {}),
    ],
)
async def test_an_address_names_a_delivery_of_the_batch_only(
    office: Office, asked: set[str], found: dict[str, str]
) -> None:
    sharing = office.letters.new(["a@example.net", "k@example.net", "Up@example.net", "UP@example.net"], shared="g1")
    other = office.letters.new(["stranger@example.net"], shared="g1")
    alone = office.letters.new(["own@example.net"])
    both = replace(
        sharing,
        deliveries=sharing.deliveries + tuple(replace(one, message_id=sharing.message.id) for one in alone.deliveries),
    )
    for new in (both, other):
        await office.store.accept(new, [])
    ids = {str(one.recipient.mailbox): one.id for one in sharing.deliveries}
    named = await office.returns.named(GroupPath(sharing.message.id, "g1"), asked)
    assert named == {address: ids[mailbox] for address, mailbox in found.items()}
