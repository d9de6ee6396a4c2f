"""Taking messages apart within limits."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.letter import MAX_HEADER, MAX_LINES, MAX_SIZE, Letter, Unreadable, decoded

REPORT = b"""Content-Type: multipart/report; report-type=Delivery-Status; boundary="b"
Subject: =?utf-8?q?Unzustellbar=3A_K=C3=A4se?=
X-Two: one
X-Two: two

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

K=E4se
--b
Content-Type: message/delivery-status
Content-Transfer-Encoding: base64

RmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGtheUBkZXN0LmV4YW1wbGUKCg==
--b
Content-Type: message/rfc822

Message-ID: <x@send.example.org>
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: text/plain

not looked at
--c--
--b--
"""


def test_a_report_is_taken_apart_but_not_the_message_in_it() -> None:
    letter = Letter.parse(REPORT)
    assert (letter.kind, letter.report_type) == ("multipart/report", "delivery-status")
    assert [body.kind for body in letter.bodies] == ["text/plain", "message/delivery-status", "message/rfc822"]
    assert letter.field("subject") == "Unzustellbar: Käse"
    assert letter.fields("X-Two") == ["one", "two"]
    assert letter.prose.strip() == "Käse"
    assert letter.first("message/delivery-status") == "Final-Recipient: rfc822; kay@dest.example\n\n"
    message_id = letter.returned.first("Message-ID")
    assert message_id is not None
    assert message_id.text == "<x@send.example.org>"


@pytest.mark.parametrize("ends", [b"\r\n", b"\r"])
def test_line_ends_make_no_difference(ends: bytes) -> None:
    assert Letter.parse(REPORT.replace(b"\n", ends)) == Letter.parse(REPORT)


def test_markup_is_read_when_there_is_no_plain_text() -> None:
    letter = Letter.parse(
        b"Content-Type: text/html\n\n<style>p { }</style><p>Mail to\n <b>kay@dest.example</b><br>failed &amp; so"
    )
    assert [line.strip() for line in letter.prose.strip().split("\n")] == ["Mail to kay@dest.example", "failed & so"]


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        (b"iso-2022-jp", "容量".encode("iso-2022-jp"), "容量"),
        (b"us-ascii", "Käse".encode(), "Käse"),
        (b"utf-8", "Käse".encode("latin-1"), "K\ufffdse"),
        (b"nonsense", "Käse".encode("latin-1"), "Käse"),
        (b"punycode", b"a-b", "a-b"),
        (b"unicode_escape", rb"\x41", r"\x41"),
    ],
)
def test_text_is_decoded_as_declared_or_as_it_can_be(charset: bytes, octets: bytes, text: str) -> None:
    assert Letter.parse(b"Content-Type: text/plain; charset=" + charset + b"\n\n" + octets).prose == text


def nested(depth: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at) for at in range(depth))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"a" * (MAX_SIZE + 1), "octets"),
        (b"\n" + b"a\n" * (MAX_LINES + 1), "lines"),
        (b"A: " + b"a" * MAX_HEADER + b"\n\n", "a header of more than"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 300, "parts"),
        (nested(30), "nested more than 20 deep"),
    ],
    ids=["size", "lines", "header", "parts", "depth"],
)
def test_what_is_outside_the_limits_is_unreadable(octets: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        Letter.parse(octets)


def test_what_is_inside_the_limits_is_read() -> None:
    assert Letter.parse(nested(20) + b"\n").bodies


@pytest.mark.parametrize(
    "octets",
    [
        nested(20) + b"\n" + b"x\n" * (MAX_LINES - 100),
        b'Content-Type: text/plain; a="' + b";" * 60_000 + b'"\n\n',
        b"Content-Type: multipart/mixed; " + b"".join(b"boundary*%d*=x;" % number for number in range(3000)) + b"\n\n",
        b"Subject: " + b"=?a?q?" * 10_000 + b"\n\n",
        b"Content-Type: text/html\n\n" + b"<style " * 140_000,
        b"X:\n" + b" a\n" * 20_000 + b"\n",
    ],
    ids=["boundaries", "semicolons", "rfc2231", "encoded words", "markup", "folds"],
)
def test_the_worst_that_the_limits_allow_takes_little_time(octets: bytes) -> None:
    started = time.perf_counter()
    letter = Letter.parse(octets)
    assert letter.field("Subject") is not None
    assert letter.prose is not None
    assert time.perf_counter() - started < 2


@given(st.binary(max_size=2000) | st.text(max_size=500).map(str.encode))
def test_any_octets_give_a_letter_or_are_unreadable(octets: bytes) -> None:
    try:
        letter = Letter.parse(octets)
    except Unreadable:
        return
    letter.prose.encode("utf-8")
    bytes(letter.returned)


@given(st.text(max_size=200), st.sampled_from(["q", "b", "Q", "x"]), st.sampled_from(["utf-8", "idna", "zlib", "x"]))
def test_any_encoded_word_gives_text_on_one_line(text: str, encoding: str, charset: str) -> None:
    assert "\n" not in decoded(f"=?{charset}?{encoding}?{text}?= {text}")
