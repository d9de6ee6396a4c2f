"""What comes back, by what proves it: only our tokens act, on the delivery they name, whatever the text says."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.processor import Effect, Processor
from mta.bounces.report import Action, Classification, Feedback, Hardness, Kind, Reason, Report, ReportedRecipient
from mta.errors import StoreUnavailable
from mta.mail.header import Header
from mta.mail.reply import EnhancedStatus
from mta.mail.report_token import REPORT_FIELD, ReportClaim, ReportTokens
from mta.mail.token import GroupPath, Keyring, ReturnPaths

AT = datetime(2026, 11, 22, tzinfo=UTC)
OLD = Keyring.new(b"o" * 32, AT)
OURS = OLD.with_new(b"n" * 32, AT)
FOREIGN = Keyring.new(b"x" * 32, AT).with_new(b"y" * 32, AT)

MINE, OTHER = "0123456789abcdef", "0123456789abcdeg"
MESSAGE = "00000000000000mm"
CLAIM = ReportClaim(MINE, "app", "bulk", "a@example.net")
HARD = Classification(Reason.BAD_MAILBOX, Hardness.HARD)


@dataclass
class Told:
    """A ledger, and who counts: what they were told."""

    answer: Effect = Effect.APPLIED
    failure: StoreUnavailable | None = None
    failed_: list[tuple[str, ReportedRecipient]] = field(default_factory=list)
    complained_: list[tuple[str, ReportClaim | None]] = field(default_factory=list)
    noted_: list[tuple[str | None, Kind, Effect]] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)
    """Who shares a return path, by address."""

    async def failed(self, delivery_id: str, recipient: ReportedRecipient, report: Report) -> Effect:
        self._fail()
        self.failed_.append((delivery_id, recipient))
        return self.answer

    async def complained(self, delivery_id: str, claim: ReportClaim | None, report: Report) -> Effect:
        self._fail()
        self.complained_.append((delivery_id, claim))
        return self.answer

    async def named(self, path: GroupPath, addresses: Collection[str]) -> Mapping[str, str]:
        self._fail()
        assert path.queue_id == MESSAGE
        return {one: self.members[one] for one in addresses if one in self.members}

    async def noted(self, delivery_id: str | None, report: Report, effect: Effect) -> None:
        self._fail()
        self.noted_.append((delivery_id, report.kind, effect))

    def report_rejected(self, reason: str) -> None:
        self.rejected.append(reason)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def told() -> Told:
    return Told()


def processor(told: Told, report: Report | Callable[[bytes], Report], seconds: float = 10) -> Processor:
    read = (lambda _: report) if isinstance(report, Report) else report
    return Processor(read, told, ReturnPaths(OURS), ReportTokens(OURS), told, timedelta(seconds=seconds))


def recipient(
    address: str = "a@example.net", action: Action | None = Action.FAILED, diagnostic: str = "550 no such user"
) -> ReportedRecipient:
    return ReportedRecipient(address, action, EnhancedStatus(5, 1, 1), 550, HARD, diagnostic)


def complaint(*fields: str, mail_from: str | None = None) -> Report:
    """A feedback report with the header of a message that came back with it."""
    header = Header.parse("".join(f"{one}\r\n" for one in fields).encode())
    return Report(Kind.COMPLAINT, feedback=Feedback("abuse", original_mail_from=mail_from), returned=header)


def stamped(keyring: Keyring = OURS, claim: ReportClaim = CLAIM) -> str:
    return f"{REPORT_FIELD}: {ReportTokens(keyring).seal(claim)}"


def path(keyring: Keyring = OURS, delivery_id: str = MINE) -> str:
    return f"{ReturnPaths(keyring).make(delivery_id)}@bounces.example.com"


# to the return path of a delivery


@pytest.mark.parametrize("answer", [Effect.APPLIED, Effect.REPEATED, Effect.UNKNOWN])
async def test_a_failure_is_about_the_delivery_whose_return_path_it_came_to(told: Told, answer: Effect) -> None:
    told.answer = answer
    somebody_else = recipient("victim@example.org")
    assert await processor(told, Report(Kind.BOUNCE, (somebody_else,))).returned(MINE, b"") is answer
    assert told.failed_ == [(MINE, somebody_else)]
    assert told.noted_ == []
    counted = {Effect.UNKNOWN: ["delivery"], Effect.REPEATED: ["repeated"]}
    assert told.rejected == counted.get(answer, [])


async def test_of_several_failed_recipients_one_acts_once_on_the_tokens_delivery(told: Told) -> None:
    many = (
        recipient("list@example.net", Action.EXPANDED),
        recipient("late@example.net", Action.DELAYED),
        recipient("b@example.net"),
        recipient("c@example.net"),
    )
    await processor(told, Report(Kind.BOUNCE, many)).returned(MINE, b"")
    assert told.failed_ == [(MINE, many[2])]


async def test_a_failure_without_an_action_is_a_failure(told: Told) -> None:
    silent = recipient(action=None)
    await processor(told, Report(Kind.BOUNCE, (silent,))).returned(MINE, b"")
    assert told.failed_ == [(MINE, silent)]


@pytest.mark.parametrize(
    "report",
    [
        Report(Kind.BOUNCE),
        Report(Kind.BOUNCE, (recipient(action=Action.DELAYED), recipient(action=Action.RELAYED))),
        Report(Kind.DELAYED, (recipient(action=Action.DELAYED),)),
        # failed, says the field, and yet the report as a whole tells of a delay or a success
        Report(Kind.DELAYED, (recipient(),)),
        Report(Kind.DELIVERED, (recipient(action=Action.DELIVERED),)),
        Report(Kind.AUTOREPLY, reason="vacation"),
        Report(Kind.UNSUBSCRIBE),
        Report(Kind.OTHER),
    ],
    ids=lambda report: f"{report.kind}-{len(report.recipients)}",
)
async def test_what_is_no_failure_is_noted_and_changes_nothing(told: Told, report: Report) -> None:
    assert await processor(told, report).returned(MINE, b"") is Effect.NOTED
    assert told.noted_ == [(MINE, report.kind, Effect.NOTED)]
    assert (told.failed_, told.complained_) == ([], [])


async def test_a_complaint_that_comes_to_the_return_path_is_about_its_delivery(told: Told) -> None:
    # what came back with it may be of another delivery: the return path is what was proved
    other = complaint(stamped(claim=ReportClaim(OTHER, "app", "bulk", "b@example.net")))
    assert await processor(told, other).returned(MINE, b"") is Effect.APPLIED
    assert told.complained_ == [(MINE, None)]


# to the feedback address


@pytest.mark.parametrize(
    ("report", "proved"),
    [
        pytest.param(complaint(stamped()), (MINE, CLAIM), id="report field"),
        pytest.param(complaint(stamped(OLD)), (MINE, CLAIM), id="report field of an older key"),
        pytest.param(complaint(stamped(FOREIGN), stamped()), (MINE, CLAIM), id="ours behind a foreign one"),
        pytest.param(complaint(stamped(), mail_from=path(delivery_id=OTHER)), (MINE, CLAIM), id="the field goes first"),
        pytest.param(complaint(mail_from=path()), (MINE, None), id="Original-Mail-From"),
        pytest.param(complaint(mail_from=f"<{path()}>"), (MINE, None), id="Original-Mail-From in brackets"),
        pytest.param(complaint(mail_from=path().upper()), (MINE, None), id="its case was changed"),
        pytest.param(complaint(f"Return-Path: <{path()}>"), (MINE, None), id="Return-Path that came back"),
        pytest.param(complaint(f"Return-Path: {path()}", mail_from="x@example.net"), (MINE, None), id="one of two"),
        pytest.param(
            complaint("Return-Path: <>", f"return-path: <{path()}>"), (MINE, None), id="the second Return-Path"
        ),
        pytest.param(complaint(stamped(FOREIGN), mail_from=path()), (MINE, None), id="a foreign field, our path"),
    ],
)
async def test_a_complaint_is_proved_by_what_comes_back_of_ours(
    told: Told, report: Report, proved: tuple[str, ReportClaim | None]
) -> None:
    assert await processor(told, report).fed_back(b"") is Effect.APPLIED
    assert told.complained_ == [proved]
    assert (told.noted_, told.rejected) == ([], [])


async def test_a_report_field_is_read_however_it_was_folded(told: Told) -> None:
    token = ReportTokens(OURS).seal(CLAIM)
    folded = f"{REPORT_FIELD}:\r\n {token[:20]}\r\n\t{token[20:60]} \r\n {token[60:]}"
    await processor(told, complaint(folded)).fed_back(b"")
    assert told.complained_ == [(MINE, CLAIM)]


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(complaint(), id="nothing of ours"),
        pytest.param(complaint(stamped(FOREIGN)), id="a foreign report field"),
        pytest.param(complaint(stamped()[:-4]), id="a cut report field"),
        pytest.param(complaint(f"{REPORT_FIELD}: "), id="an empty report field"),
        pytest.param(complaint(f"{REPORT_FIELD}: {OURS.newest.id}"), id="a key and nothing else"),
        pytest.param(complaint(f"Subject: {ReportTokens(OURS).seal(CLAIM)}"), id="the token in another field"),
        pytest.param(complaint(mail_from=path(FOREIGN)), id="a foreign return path"),
        pytest.param(complaint(mail_from=path()[1:]), id="a cut return path"),
        pytest.param(complaint(mail_from=path().replace(MINE, OTHER)), id="the MAC of another delivery"),
        pytest.param(complaint(mail_from=ReturnPaths(OURS).make(MINE)), id="a local part without a domain"),
        pytest.param(complaint("Return-Path: <>"), id="the null return path"),
        pytest.param(complaint(f"Received: for {path()}"), id="the path in another field"),
    ],
)
async def test_a_complaint_without_a_token_of_ours_is_counted_and_dropped(told: Told, report: Report) -> None:
    assert await processor(told, report).fed_back(b"") is Effect.REJECTED
    assert told.complained_ == []
    assert told.rejected == ["token"]
    assert told.noted_ == [(None, Kind.COMPLAINT, Effect.REJECTED)]


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.COMPLAINT}))
async def test_what_is_no_complaint_is_counted_and_dropped_at_the_feedback_address(told: Told, kind: Kind) -> None:
    proved = complaint(stamped(), mail_from=path())
    report = Report(kind, (recipient(),), feedback=proved.feedback, returned=proved.returned)
    assert await processor(told, report).fed_back(b"") is Effect.REJECTED
    assert told.rejected == ["other"]
    assert (told.failed_, told.complained_) == ([], [])


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_proves_anything_or_does_any_harm(token: str, mail_from: str) -> None:
    told = Told()
    raw = f"{REPORT_FIELD}: {OURS.newest.id}{token}\r\nReturn-Path: {mail_from}\r\n".encode("utf-8", "replace")
    report = Report(
        Kind.COMPLAINT, feedback=Feedback("abuse", original_mail_from=mail_from), returned=Header.parse(raw)
    )
    assert asyncio.run(processor(told, report).fed_back(b"")) is Effect.REJECTED
    assert told.complained_ == []


async def test_with_another_keyring_only_its_tokens_prove_anything(told: Told) -> None:
    mine = processor(told, complaint(stamped(), mail_from=path()))
    mine.replace_keys(ReturnPaths(FOREIGN), ReportTokens(FOREIGN))
    assert await mine.fed_back(b"") is Effect.REJECTED


# trouble


async def test_a_replayed_complaint_is_the_ledgers_to_recognise(told: Told) -> None:
    mine = processor(told, complaint(stamped()))
    assert await mine.fed_back(b"") is Effect.APPLIED
    told.answer = Effect.REPEATED
    assert await mine.fed_back(b"") is Effect.REPEATED
    assert told.rejected == ["repeated"]


def breaks(octets: bytes) -> Report:
    raise RecursionError("too deep")


async def test_a_report_on_which_the_reader_breaks_is_counted_once_and_noted(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    mine = processor(told, breaks)
    assert await mine.returned(MINE, b"junk") is Effect.NOTED
    assert await mine.fed_back(b"junk") is Effect.REJECTED
    assert told.rejected == ["unreadable", "unreadable"]
    assert told.noted_ == [(MINE, Kind.OTHER, Effect.NOTED), (None, Kind.OTHER, Effect.REJECTED)]
    assert "a report of 4 octets could not be read" in caplog.text
    assert "RecursionError: too deep" in caplog.text


async def test_a_stack_that_a_stranger_made_overflow_is_not_written_into_the_log(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    await processor(told, breaks).fed_back(b"junk")
    assert len(caplog.text.splitlines()) == 1


async def test_a_content_outside_the_readers_limits_is_counted_once_wherever_it_came_to(told: Told) -> None:
    mine = processor(told, Report(Kind.OTHER, note="unreadable: parts nested more than 20 deep"))
    assert await mine.returned(MINE, b"junk") is Effect.NOTED
    assert await mine.fed_back(b"junk") is Effect.REJECTED
    assert told.rejected == ["unreadable", "unreadable"]


async def test_a_report_that_takes_too_long_is_given_up_counted_and_noted(told: Told) -> None:
    release = threading.Event()

    def hangs(octets: bytes) -> Report:
        release.wait(30)
        return Report(Kind.BOUNCE, (recipient(),))

    try:
        assert await processor(told, hangs, seconds=0.02).returned(MINE, b"junk") is Effect.NOTED
    finally:
        release.set()
    assert told.rejected == ["unreadable"]
    assert told.failed_ == []


async def test_a_flood_of_reports_is_read_a_few_at_a_time_and_off_the_loop(told: Told) -> None:
    lock, release = threading.Lock(), threading.Event()
    now = most = 0

    def slow(octets: bytes) -> Report:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        release.wait(30)
        with lock:
            now -= 1
        return Report(Kind.BOUNCE, (recipient(),))

    mine = processor(told, slow)
    flood = [asyncio.create_task(mine.returned(MINE, b"")) for _ in range(20)]
    async with asyncio.timeout(30):
        while now < 2:  # noqa: ASYNC110  a thread moves it
            await asyncio.sleep(0.001)
    release.set()
    await asyncio.gather(*flood)
    assert most == 2
    assert len(told.failed_) == 20


@pytest.mark.parametrize("report", [Report(Kind.BOUNCE, (recipient(),)), complaint(), Report(Kind.OTHER)])
async def test_a_store_that_fails_is_the_senders_to_try_again(told: Told, report: Report) -> None:
    told.failure = StoreUnavailable("disk on fire")
    mine = processor(told, report)
    with pytest.raises(StoreUnavailable):
        await mine.returned(MINE, b"")
    with pytest.raises(StoreUnavailable):
        await mine.fed_back(b"")


# to a return path that several share


GROUP = GroupPath(MESSAGE, ReturnPaths(OURS).make_shared(MESSAGE, 0))
SHARING = {"a@example.net": MINE, "b@example.net": OTHER}


async def test_a_failure_in_a_batch_is_about_those_whom_the_report_names_and_who_are_in_it(told: Told) -> None:
    told.members = dict(SHARING)
    named = (
        recipient("stranger@example.org"),
        recipient("b@example.net"),
        recipient("a@example.net", Action.DELIVERED),
    )
    assert await processor(told, Report(Kind.BOUNCE, named)).returned_to_group(GROUP, b"") is Effect.APPLIED
    assert told.failed_ == [(OTHER, named[1])]
    assert told.noted_ == []


async def test_a_failure_in_a_batch_is_about_each_who_is_named(told: Told) -> None:
    told.members = dict(SHARING)
    named = (recipient("a@example.net"), recipient("b@example.net", action=None))
    await processor(told, Report(Kind.BOUNCE, named)).returned_to_group(GROUP, b"")
    assert told.failed_ == [(MINE, named[0]), (OTHER, named[1])]


@pytest.mark.parametrize(
    "report",
    [
        Report(Kind.BOUNCE),
        Report(Kind.BOUNCE, (recipient("stranger@example.org"),)),
        Report(Kind.BOUNCE, (recipient("a@example.net", Action.DELAYED), recipient("stranger@example.org"))),
        Report(Kind.COMPLAINT, feedback=Feedback("abuse")),
        Report(Kind.COMPLAINT, (ReportedRecipient("stranger@example.org"),), feedback=Feedback("abuse")),
    ],
)
async def test_a_report_to_a_batch_that_names_nobody_of_it_changes_nothing(told: Told, report: Report) -> None:
    told.members = dict(SHARING)
    assert await processor(told, report).returned_to_group(GROUP, b"") is Effect.STRANGER
    assert (told.failed_, told.complained_) == ([], [])
    assert told.noted_ == [(None, report.kind, Effect.STRANGER)]
    assert told.rejected == ["recipient"]


async def test_a_complaint_about_a_batch_is_that_of_whom_it_names(told: Told) -> None:
    told.members = dict(SHARING)
    report = Report(Kind.COMPLAINT, (ReportedRecipient("b@example.net"),), feedback=Feedback("abuse"))
    assert await processor(told, report).returned_to_group(GROUP, b"") is Effect.APPLIED
    assert told.complained_ == [(OTHER, None)]


async def test_a_complaint_at_the_feedback_address_is_proved_by_a_shared_return_path_too(told: Told) -> None:
    told.members = dict(SHARING)
    header = Header.parse(f"Return-Path: <{GROUP.local_part}@bounces.example.com>\r\n".encode())
    named = (ReportedRecipient("b@example.net"), ReportedRecipient("stranger@example.org"))
    report = Report(Kind.COMPLAINT, named, feedback=Feedback("abuse"), returned=header)
    assert await processor(told, report).fed_back(b"") is Effect.APPLIED
    assert told.complained_ == [(OTHER, None)]


async def test_a_vacation_to_a_batch_is_noted(told: Told) -> None:
    assert await processor(told, Report(Kind.AUTOREPLY)).returned_to_group(GROUP, b"") is Effect.NOTED
    assert told.noted_ == [(None, Kind.AUTOREPLY, Effect.NOTED)]


async def test_a_store_that_fails_makes_the_host_of_a_batch_try_again(told: Told) -> None:
    told.failure = StoreUnavailable("no")
    with pytest.raises(StoreUnavailable):
        await processor(told, Report(Kind.BOUNCE, (recipient(),))).returned_to_group(GROUP, b"")
