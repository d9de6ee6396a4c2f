"""What hosts offer and what is said to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.content import Shape
from mta.delivery.esmtp import Offers, mail_command, rcpt_command, xtext
from mta.mail.address import Mailbox
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from tests.delivery.world import letter

ALL = Offers(pipelining=True, eight_bit=True, smtputf8=True, dsn=True, size=0)


@pytest.mark.parametrize(
    ("value", "size"),
    [("1000", 1000), ("0", 0), ("", 0), ("10M", 0), ("-1", 0), ("٣", 0), ("9" * 5000, 0), (None, None)],
)
def test_a_size_that_makes_no_sense_is_no_limit(value: str | None, size: int | None) -> None:
    assert Offers.parse({} if value is None else {"size": value}, []).size == size


def test_what_ehlo_lists_is_offered() -> None:
    offers = Offers.parse({"pipelining": "", "8bitmime": "", "smtputf8": "", "dsn": "", "starttls": ""}, ["plain"])
    assert offers == Offers(
        pipelining=True,
        eight_bit=True,
        smtputf8=True,
        dsn=True,
        starttls=True,
        auth=frozenset({"plain"}),
        keywords=("8BITMIME", "DSN", "PIPELINING", "SMTPUTF8", "STARTTLS"),
    )


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        (Offers(), b"MAIL FROM:<b00return@bounces.example.com>"),
        (
            ALL,
            b"MAIL FROM:<b00return@bounces.example.com> SIZE=113 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=+2Bx",
        ),
    ],
)
def test_mail_carries_the_parameters_that_are_offered(offers: Offers, expected: bytes) -> None:
    one = letter(ret=Return.FULL, envid="+x", smtputf8=True, body_type=BodyType.EIGHT_BIT)
    assert mail_command(one, Shape.of(one), offers) == expected


@pytest.mark.parametrize(
    ("notify", "orcpt", "expected"),
    [
        (frozenset({Notify.FAILURE, Notify.DELAY}), None, ""),
        (frozenset({Notify.NEVER}), None, " NOTIFY=NEVER"),
        (frozenset({Notify.DELAY, Notify.SUCCESS}), None, " NOTIFY=SUCCESS,DELAY"),
        (frozenset({Notify.FAILURE, Notify.DELAY}), "rfc822;a b@example.net", " ORCPT=rfc822;a+20b@example.net"),
        (frozenset({Notify.FAILURE, Notify.DELAY}), "rfc822;ü@example.net", ""),
        (frozenset({Notify.FAILURE, Notify.DELAY}), "rfc822;a\r\nDATA", " ORCPT=rfc822;a+0D+0ADATA"),
    ],
)
def test_rcpt_carries_what_the_client_asked_for(notify: frozenset[Notify], orcpt: str | None, expected: str) -> None:
    recipient = Recipient(Mailbox("a", "example.net"), notify, orcpt)
    assert rcpt_command(recipient, ALL).decode() == "RCPT TO:<a@example.net>" + expected
    assert rcpt_command(recipient, Offers()) == b"RCPT TO:<a@example.net>"


@given(st.text(st.characters(max_codepoint=127)))
def test_xtext_is_printable_and_can_be_decoded(text: str) -> None:
    encoded = xtext(text)
    assert all("!" <= letter <= "~" and letter != "=" for letter in encoded)
    parts = encoded.split("+")
    assert parts[0] + "".join(chr(int(part[:2], 16)) + part[2:] for part in parts[1:]) == text
