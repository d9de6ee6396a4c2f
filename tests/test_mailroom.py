"""What the inbound door takes in reaches those who can act on it, and its sender learns nothing of what came of it."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.processor import Effect, Processor
from mta.bounces.report import Action, Classification, Hardness, Kind, Reason, Report, ReportedRecipient
from mta.errors import StoreUnavailable
from mta.inbound.returns import ReceivedReturn
from mta.inbound.rules import Addressee, Desk, Feedback, Letter, ReturnPath, SharedPath
from mta.mail import failures
from mta.mail.header import Header
from mta.mail.reply import EnhancedStatus
from mta.mail.report_token import REPORT_FIELD, ReportClaim, ReportTokens
from mta.mail.token import GroupPath, Keyring, ReturnPaths
from mta.mailroom import Mailroom
from mta.queue.returned import ReturnNote
from mta.smtp.client import Client

AT = datetime(2026, 11, 22, tzinfo=UTC)
KEYRING = Keyring.new(b"k" * 32, AT)
MINE, OTHER = "0123456789abcdef", "0123456789abcdeg"
HARD = Classification(Reason.BAD_MAILBOX, Hardness.HARD)
FAILED = ReportedRecipient("a@example.net", Action.FAILED, EnhancedStatus(5, 1, 1), 550, HARD)
BOUNCE = Report(Kind.BOUNCE, (FAILED,))
SHARED = GroupPath("message", "g1")
TOKEN = ReportTokens(KEYRING).seal(ReportClaim(MINE, "app", "bulk", "a@example.net"))
COMPLAINT = Report(Kind.COMPLAINT, returned=Header.parse(f"{REPORT_FIELD}: {TOKEN}\r\n".encode()))
LETTER = b"From: jane@example.net\r\nSubject: Your\r\n mail\r\n\r\nPlease stop it.\r\n"


@dataclass
class Back:
    """All that stands behind the mailroom: what it was told, and what it answers."""

    effects: dict[str, Effect] = field(default_factory=dict)
    failure: StoreUnavailable | None = None
    told: list[tuple[str, str | None]] = field(default_factory=list)
    letters: list[ReturnNote] = field(default_factory=list)

    async def failed(self, delivery_id: str, recipient: ReportedRecipient, report: Report) -> Effect:
        return self._tell("failed", delivery_id)

    async def complained(self, delivery_id: str, claim: ReportClaim | None, report: Report) -> Effect:
        return self._tell("complained", delivery_id)

    async def named(self, path: GroupPath, addresses: Collection[str]) -> Mapping[str, str]:
        self._fail()
        self.told.append(("named", path.queue_id))
        return dict.fromkeys(addresses, MINE)

    async def noted(self, delivery_id: str | None, report: Report, effect: Effect) -> None:
        self._tell("noted", delivery_id)

    def report_rejected(self, reason: str) -> None:
        self.told.append(("rejected", reason))

    async def keep(self, letter: ReturnNote) -> None:
        self._fail()
        self.letters.append(letter)

    def new_id(self) -> str:
        return f"letter-{len(self.letters)}"

    def _tell(self, what: str, delivery_id: str | None) -> Effect:
        self._fail()
        self.told.append((what, delivery_id))
        return self.effects.get(delivery_id or "", Effect.APPLIED)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def back() -> Back:
    return Back()


def mailroom(back: Back, report: Report = BOUNCE) -> Mailroom:
    processor = Processor(lambda _: report, back, ReturnPaths(KEYRING), ReportTokens(KEYRING), back)
    return Mailroom(processor, back)


def brought(*addressees: Addressee, octets: bytes = LETTER, reverse_path: str = "jane@example.net") -> ReceivedReturn:
    return ReceivedReturn(addressees, reverse_path, octets, len(octets), Client("mx.example.net", "192.0.2.1"), AT)


@pytest.mark.parametrize(
    ("report", "addressee", "told"),
    [
        pytest.param(BOUNCE, ReturnPath(MINE), [("failed", MINE)], id="a bounce"),
        pytest.param(COMPLAINT, ReturnPath(OTHER), [("complained", OTHER)], id="a complaint to a return path"),
        pytest.param(COMPLAINT, Feedback(), [("complained", MINE)], id="a complaint"),
        pytest.param(BOUNCE, Feedback(), [("rejected", "other"), ("noted", None)], id="a bounce without a token"),
        pytest.param(BOUNCE, SharedPath(SHARED), [("named", "message"), ("failed", MINE)], id="a bounce to a batch"),
        pytest.param(Report(Kind.AUTOREPLY), ReturnPath(MINE), [("noted", MINE)], id="a vacation"),
    ],
)
async def test_a_report_reaches_the_ledger_by_its_addressee(
    back: Back, report: Report, addressee: Addressee, told: list[tuple[str, str | None]]
) -> None:
    assert await mailroom(back, report).take(brought(addressee)) == failures.OK
    assert back.told == told
    assert back.letters == []


@pytest.mark.parametrize("effect", list(Effect))
async def test_whatever_comes_of_a_report_its_sender_hears_the_same(back: Back, effect: Effect) -> None:
    back.effects[MINE] = effect
    assert await mailroom(back).take(brought(ReturnPath(MINE))) == failures.OK


@pytest.mark.parametrize("desk", list(Desk))
async def test_a_letter_is_kept_with_its_subject_and_its_octets(back: Back, desk: Desk) -> None:
    assert await mailroom(back).take(brought(Letter(desk))) == failures.OK
    (letter,) = back.letters
    assert letter == ReturnNote(
        id="letter-0",
        at=AT,
        kind=desk.value,
        recipient="jane@example.net",
        text="Your mail",
        effect="kept",
        octets=LETTER,
    )
    assert back.told == [], "a letter is no report, whatever it looks like"


async def test_a_content_for_several_is_given_to_each_in_order(back: Back) -> None:
    content = brought(ReturnPath(MINE), ReturnPath(OTHER), Letter(Desk.ABUSE))
    assert await mailroom(back).take(content) == failures.OK
    assert back.told == [("failed", MINE), ("failed", OTHER)]
    assert [letter.kind for letter in back.letters] == ["abuse"]


@pytest.mark.parametrize("addressee", [ReturnPath(MINE), Feedback(), Letter(Desk.POSTMASTER)])
async def test_what_the_store_cannot_take_is_not_answered_with_250(back: Back, addressee: Addressee) -> None:
    back.failure = StoreUnavailable("disk on fire")
    with pytest.raises(StoreUnavailable):
        await mailroom(back, COMPLAINT).take(brought(addressee))
    assert back.letters == []


async def test_what_came_of_it_is_in_the_log_with_whom_it_came_from(
    back: Back, caplog: pytest.LogCaptureFixture
) -> None:
    back.effects[MINE] = Effect.REPEATED
    with caplog.at_level(logging.INFO):
        await mailroom(back).take(brought(ReturnPath(MINE), Letter(Desk.ABUSE)))
    assert [record.getMessage() for record in caplog.records] == [
        f"from 192.0.2.1 for the return path of {MINE}: repeated",
        "from 192.0.2.1 for abuse: noted",
    ]


@pytest.mark.parametrize(
    ("octets", "subject"),
    [
        (b"", ""),
        (b"no header at all", ""),
        (b"Subject: " + b"x" * 5000 + b"\r\n\r\n", "x" * 300),
        (b"Subject: red \x1b[31m\x00 and\xe2\x80\xae back\r\n\r\n", None),
        (b"Subject: one\nSubject: two\n\nbare line ends\n", None),
    ],
)
async def test_a_hostile_letter_is_kept_with_a_line_that_can_be_shown(
    back: Back, octets: bytes, subject: str | None
) -> None:
    await mailroom(back).take(brought(Letter(Desk.ABUSE), octets=octets, reverse_path="\x1b[2J" * 200))
    (letter,) = back.letters
    assert letter.octets == octets
    assert subject is None or letter.text == subject
    assert letter.text.isprintable()
    assert len(letter.text) <= 300
    assert letter.recipient is not None
    assert letter.recipient.isprintable()
    assert len(letter.recipient) <= 300


async def test_a_letter_from_nobody_names_nobody(back: Back) -> None:
    await mailroom(back).take(brought(Letter(Desk.ABUSE), reverse_path=""))
    assert back.letters[0].recipient is None


@given(octets=st.binary(max_size=300))
async def test_any_octets_are_a_letter(octets: bytes) -> None:
    back = Back()
    assert await mailroom(back).take(brought(Letter(Desk.POSTMASTER), octets=octets)) == failures.OK
    assert back.letters[0].octets == octets
