"""Codes and addresses in free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.quoted import addresses, quote, typed_address


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("550 5.1.1 User unknown", 550, "5.1.1"),
        ("host mx.example [192.0.2.1] said: 450-4.2.2 full", 450, "4.2.2"),
        ("Remote host said: 550 no", 550, None),
        ("sorry (#5.1.1)", None, "5.1.1"),
        ("Remote Server returned '550 5.7.1 no'", 550, "5.7.1"),
        ("see DSN 5.1.10, and: 552 5.2.2 full", 552, "5.2.2"),
        ("250 2.0.0 Ok\n452 4.3.1 disk", 452, "4.3.1"),
        ("554 554 5.7.0 Header error", 554, "5.7.0"),
        ("192.0.2.550 after 450 bytes in 500 seconds", None, None),
        ("version 5.1.1.2 of 5.1.1x", None, None),
        ("", None, None),
    ],
)
def test_the_first_reply_in_a_text_is(text: str, code: int | None, status: str | None) -> None:
    quoted = quote(text)
    assert (quoted.code, str(quoted.status) if quoted.status else None) == (code, status)


def test_a_reply_ends_where_the_next_one_begins() -> None:
    text = "<<< 550-5.1.1 no such\n<<< 550 5.1.1 user\n421 example.net Connection timed out\n"
    assert quote(text).text == "550-5.1.1 no such"
    assert quote("550 5.1.1 no\n  such user\n\nWhat now?").text == "550 5.1.1 no such user"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; kay@dest.example", "kay@dest.example"),
        ("rfc822;<kay@dest.example> (Kay)", "kay@dest.example"),
        ("kay@dest.example", "kay@dest.example"),
        ('rfc822;"kay lou"@dest.example', '"kay lou"@dest.example'),
        (r"utf-8; k\x{E4}y@dest.example", "käy@dest.example"),
        ("utf-8;käy@dest.example", "käy@dest.example"),
        (r"utf-8; k\x{110000}y@dest.example", "k?y@dest.example"),
        ("x400; /C=us", ""),
        ("rfc822; /var/spool/kay", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_typed_field_is(value: str, address: str) -> None:
    assert typed_address(value) == address


def test_addresses_are_found_once_and_without_their_punctuation() -> None:
    text = "To <kay@dest.example>, lou@dest.example. (kay@dest.example) mailto:mo@dest.example?"
    assert addresses(text) == ["kay@dest.example", "lou@dest.example", "mo@dest.example"]


@given(st.text(max_size=400))
def test_any_text_gives_a_quote_on_one_line(text: str) -> None:
    assert "\n" not in quote(text).text
    assert all("@" in address for address in addresses(text))
