import pytest

from mta.accounts.account import Account, Login
from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.header import Header
from mta.mail.intake import Control, Intake
from mta.mail.reply import Reply
from mta.submission import rules

SHOP = Account("shop", frozenset({"own.example"}))
OWN, EVIL = Mailbox("a", "own.example"), Mailbox("x", "evil.example")
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
