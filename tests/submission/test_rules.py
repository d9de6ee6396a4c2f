from datetime import UTC, datetime, timedelta

import pytest

from mta.accounts.account import Account, Login, Rate
from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.header import Header
from mta.mail.intake import Control, Intake
from mta.mail.reply import Reply
from mta.submission import rules
from mta.submission.parameters import MailArguments

SHOP = Account("shop", frozenset({"own.example"}))
OWN, EVIL = Mailbox("a", "own.example"), Mailbox("x", "evil.example")
NOW, SECOND, HOUR = datetime(2026, 11, 22, 12, tzinfo=UTC), timedelta(seconds=1), timedelta(hours=1)
NOT_YOURS = failures.sender_not_yours("evil.example", "shop")


@pytest.mark.parametrize(
    ("mailbox", "refusal"),
    [(OWN, None), (None, None), (EVIL, NOT_YOURS), (Mailbox("a@own.example", "evil.example"), NOT_YOURS)],
)
def test_mail_is_from_ones_own_domains_or_from_nobody(mailbox: Mailbox | None, refusal: Reply | None) -> None:
    assert rules.may_send_from(SHOP, ReversePath(mailbox)) == refusal


@pytest.mark.parametrize(
    ("originators", "sender", "refusal"),
    [
        ((OWN,), None, None),
        ((OWN, OWN), OWN, None),
        ((EVIL,), None, NOT_YOURS),
        ((OWN, EVIL), None, NOT_YOURS),
        ((OWN,), EVIL, NOT_YOURS),
    ],
)
def test_all_authors_must_be_ones_own(
    originators: tuple[Mailbox, ...], sender: Mailbox | None, refusal: Reply | None
) -> None:
    intake = Intake(Header(()), originators, sender, "<1@own.example>", Control())
    assert rules.may_write_as(SHOP, intake) == refusal


@pytest.mark.parametrize(
    ("domain", "is_refused"), [("example.net", False), ("internal", False), ("localhost", True), ("com", True)]
)
def test_a_single_label_needs_a_route(domain: str, is_refused: bool) -> None:
    refusal = rules.may_write_to(Mailbox("b", domain), lambda name: name == "internal")
    assert (refusal is not None) is is_refused


@pytest.mark.parametrize(("size", "refusal"), [(0, None), (100, None), (101, failures.TOO_LARGE)])
def test_the_declared_size_is_held_against_the_limit(size: int, refusal: Reply | None) -> None:
    assert rules.fits(size, 100) == refusal


@pytest.mark.parametrize(("count", "refusal"), [(0, None), (99, None), (100, failures.TOO_MANY_RECIPIENTS)])
def test_recipients_are_counted(count: int, refusal: Reply | None) -> None:
    assert rules.one_more(count, 100) == refusal


@pytest.mark.parametrize(("limit", "own", "least"), [(10, None, 10), (10, 5, 5), (10, 10, 10), (10, 50, 10)])
def test_the_smaller_limit_holds(limit: int, own: int | None, least: int) -> None:
    assert rules.least(limit, own) == least


@pytest.mark.parametrize(
    ("hold_for", "hold_until", "release"),
    [
        (None, None, None),
        (SECOND, None, NOW + SECOND),
        (HOUR, None, NOW + HOUR),
        (HOUR + SECOND, None, "HOLDFOR may be 3600 at most"),
        (None, NOW + SECOND, NOW + SECOND),
        (None, NOW + HOUR, NOW + HOUR),
        (None, NOW + HOUR + SECOND, "HOLDUNTIL may be 2026-11-22T13:00:00Z at most"),
        (None, NOW, "HOLDUNTIL is over; here it is 2026-11-22T12:00:00Z"),
        (None, NOW - HOUR, "HOLDUNTIL is over; here it is 2026-11-22T12:00:00Z"),
    ],
)
def test_a_release_lies_between_now_and_the_longest_hold(
    hold_for: timedelta | None, hold_until: datetime | None, release: datetime | str | None
) -> None:
    arguments = MailArguments(ReversePath(OWN), hold_for=hold_for, hold_until=hold_until)
    expected = failures.bad_release(release) if isinstance(release, str) else release
    assert rules.release_of(arguments, NOW, HOUR) == expected


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (Rate(5, timedelta(seconds=1)), "5 recipients per second"),
        (Rate(5, timedelta(minutes=1)), "5 recipients per minute"),
        (Rate(10_000, HOUR), "10000 recipients per hour"),
        (Rate(1, timedelta(days=1)), "1 recipients per day"),
        (Rate(7, timedelta(days=7)), "7 recipients per 7 days"),
    ],
)
def test_a_rate_is_told_in_words(rate: Rate, words: str) -> None:
    assert rules.in_words(rate) == words


@pytest.mark.parametrize(
    ("wanted", "pools", "is_refused"),
    [(None, {"a"}, False), ("a", {"a"}, False), ("b", {"a"}, True), ("b", set(), False), ("A", {"a"}, True)],
)
def test_a_pool_must_be_there_where_there_are_some(wanted: str | None, pools: set[str], is_refused: bool) -> None:
    assert (rules.may_use_pool(wanted, pools) is not None) is is_refused


@pytest.mark.parametrize(
    ("fixed", "wanted", "stream"),
    [
        (None, None, "transactional"),
        (None, "bulk", "bulk"),
        ("bulk", None, "bulk"),
        ("bulk", "bulk", "bulk"),
        ("bulk", "transactional", None),
    ],
)
def test_a_field_names_the_stream_unless_the_login_fixed_another(
    fixed: str | None, wanted: str | None, stream: str | None
) -> None:
    found = rules.stream_of(Login(SHOP, fixed), wanted)
    assert (found if isinstance(found, str) else None) == stream
