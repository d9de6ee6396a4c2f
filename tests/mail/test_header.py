"""Header sections: the octets stay what they are, and no value of ours begins a field of somebody else's."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.mail.header import MAX_LINE, Field, Header, field, split

SAMPLE = (
    b"Received: from a\r\n\tby b\r\n"
    b"From: Shop <shop@example.com>\r\n"
    b"X-MTA-Tag: one\r\n"
    b"Bcc: secret@example.net\r\n"
    b"subject : folded\r\n  twice\r\n"
    b"From: second@example.com\r\n"
    b"x-mta-stream: bulk\r\n"
)
header_pieces = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"From", b"bcc", b"a", b"\x00", b"\xff", b""]
)
header_like = st.lists(st.one_of(header_pieces, st.binary(max_size=5)), max_size=30).map(b"".join)
values = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=300)
wordy = st.lists(st.sampled_from(["", "a", "word", "\t", "x" * 40, "y" * 90, "ü" * 50, " "]), max_size=30).map(" ".join)
names = st.from_regex(r"[!-9;-~]{1,30}", fullmatch=True)


@given(header_like)
@example(b" starts with a blank\r\nA: b\r\n")
@example(b"\r\n\r\n")
@example(b"A: b\r\n \r\n")
def test_reading_and_printing_any_header_is_the_identity(octets: bytes) -> None:
    printed = bytes(Header.parse(octets))
    assert printed in (octets, octets + b"\r\n")
    assert bytes(Header.parse(printed)) == printed


@given(header_like)
def test_every_field_of_any_header_is_whole(octets: bytes) -> None:
    fields = Header.parse(octets).fields
    assert not any(one.raw.startswith((b" ", b"\t")) for one in fields[1:])
    for one in fields:
        assert one.raw.endswith(b"\r\n")
        assert not re.search(rb"\r\n(?![ \t])", one.raw[:-2])
        assert one.name == one.name.lower()
        assert b"\r\n" not in one.value
        one.text.encode()


@pytest.mark.parametrize(
    ("raw", "name", "value"),
    [
        (b"From: a@example.com\r\n", "from", b"a@example.com"),
        (b"FROM:a@example.com\r\n", "from", b"a@example.com"),
        (b"From \t: a\r\n", "from", b"a"),
        (b"Subject:\r\n", "subject", b""),
        (b"Subject: \r\n", "subject", b""),
        (b"Subject: a\r\n b\r\n\tc\r\n", "subject", b"a b\tc"),
        (b"Subject:\r\n a: b\r\n", "subject", b"a: b"),
        (b"X: \xff\r\n", "x", b"\xff"),
        (b"no colon\r\n", "", b""),
        (b" From: continued\r\n", "", b"continued"),
        (b"Two words: x\r\n", "", b"x"),
        (b": no name\r\n", "", b"no name"),
        (b"Fr\xf6m: x\r\n", "", b"x"),
        (b"Bcc\r\n : x\r\n", "", b"x"),
        (b"\r\n", "", b""),
    ],
)
def test_a_field_has_a_name_and_an_unfolded_value(raw: bytes, name: str, value: bytes) -> None:
    assert (Field(raw).name, Field(raw).value) == (name, value)


def test_octets_that_are_no_utf8_become_replacement_characters_in_text() -> None:
    assert Field(b"Subject: Gr\xfc\xc3\x9fe\r\n").text == "Gr\ufffdße"


def test_fields_are_found_in_order_whatever_their_case() -> None:
    header = Header.parse(SAMPLE)
    assert [one.text for one in header.find("FROM")] == ["Shop <shop@example.com>", "second@example.com"]
    first = header.first("from")
    assert first is not None
    assert first.text == "Shop <shop@example.com>"
    assert header.first("Sender") is None
    assert [one.text for one in header.find("Subject")] == ["folded  twice"]


def test_leaving_fields_out_changes_no_octet_of_the_others() -> None:
    kept = Header.parse(SAMPLE).without(["Bcc", "return-path"], ("X-MTA-",))
    assert bytes(kept) == (
        b"Received: from a\r\n\tby b\r\n"
        b"From: Shop <shop@example.com>\r\n"
        b"subject : folded\r\n  twice\r\n"
        b"From: second@example.com\r\n"
    )


def test_junk_is_never_left_out_by_a_name_or_a_prefix() -> None:
    octets = b"junk\r\nA: b\r\n"
    assert bytes(Header.parse(octets).without([])) == octets
    assert bytes(Header.parse(octets).without(["A"])) == b"junk\r\n"


def test_fields_are_put_on_top_and_at_the_end_in_the_order_given() -> None:
    header = Header.parse(b"B: 2\r\n").prepended(b"A: 0\r\n", b"A: 1\r\n").appended(b"C: 3\r\n", b"C: 4\r\n")
    assert bytes(header) == b"A: 0\r\nA: 1\r\nB: 2\r\nC: 3\r\nC: 4\r\n"


@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        (b"", b"", b""),
        (b"\r\n", b"", b""),
        (b"\r\nbody", b"", b"body"),
        (b"\r\n\r\nbody", b"", b"\r\nbody"),
        (b"A: b\r\n\r\nbody\r\n", b"A: b\r\n", b"body\r\n"),
        (b"A: b\r\n\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\n\r\nbody", b"A: b\r\n", b"\r\nbody"),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"A: b", b"A: b", b""),
        (b"A: b\r\n \r\nc\r\n\r\nbody", b"A: b\r\n \r\nc\r\n", b"body"),
        (b"A: b\n\nno header\r\n", b"A: b\n\nno header\r\n", b""),
    ],
)
def test_a_message_is_split_at_its_first_blank_line(content: bytes, header: bytes, body: bytes) -> None:
    assert split(content) == (header, body)


@given(header_like, header_like)
def test_what_was_split_joins_to_the_same_octets(before: bytes, after: bytes) -> None:
    content = before + b"\r\n\r\n" + after
    header, body = split(content)
    assert header + b"\r\n" + body == content
    assert header == b"" or header.endswith(b"\r\n")


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Subject", "Your order", b"Subject: Your order\r\n"),
        ("Subject", "", b"Subject: \r\n"),
        ("Subject", "Grüße", "Subject: Grüße\r\n".encode()),
        ("X", "a\tb", b"X: a\tb\r\n"),
        ("X", "a " + "b" * 80 + " c", b"X: a\r\n " + b"b" * 80 + b"\r\n c\r\n"),
        ("X", "b" * 80, b"X: " + b"b" * 80 + b"\r\n"),
        ("X", " " + "b" * 80, b"X:  " + b"b" * 80 + b"\r\n"),
        ("X", "a" * 70 + "  \t  " + "b" * 20, b"X: " + b"a" * 70 + b"  \t \r\n " + b"b" * 20 + b"\r\n"),
        ("X", "b" * (MAX_LINE - 3), b"X: " + b"b" * (MAX_LINE - 3) + b"\r\n"),
    ],
)
def test_a_field_of_ours_is_folded_where_it_is_long(name: str, value: str, octets: bytes) -> None:
    assert field(name, value) == octets


@given(names, st.one_of(values, wordy))
def test_folding_never_changes_the_value_nor_makes_a_second_field(name: str, value: str) -> None:
    octets = field(name, value)
    assert octets.replace(b"\r\n", b"") == f"{name}: {value}".encode()
    (one,) = Header.parse(octets).fields
    assert one.name == name.lower()
    assert one.value == value.encode().strip()
    lines = octets[:-2].split(b"\r\n")
    assert all(line.strip() for line in lines)
    assert max(map(len, lines)) <= MAX_LINE


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nBcc: b@example.net",
        "a\nb",
        "a\rb",
        "a\r\n b",
        "a\x00b",
        "a\x0bb",
        "a\x1bb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\u2029b",
        "a\ud800b",
    ],
)
def test_a_value_that_could_begin_another_field_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        field("Subject", value)


def test_each_part_of_a_value_begins_a_line() -> None:
    assert field("X", "a", "b" * 90, "c " + "d" * 80) == b"X: a\r\n " + b"b" * 90 + b"\r\n c\r\n " + b"d" * 80 + b"\r\n"


@given(st.lists(values.filter(str.strip), min_size=1, max_size=5))
@example(["a", " " + "b" * 90])
def test_parts_say_the_same_as_their_sum(parts: list[str]) -> None:
    octets = field("X", *parts)
    assert octets.replace(b"\r\n", b"") == f"X: {' '.join(parts)}".encode()
    assert len(Header.parse(octets).fields) == 1
    assert all(line.strip() for line in octets[:-2].split(b"\r\n"))


@pytest.mark.parametrize("parts", [("a", ""), ("", "a"), ("a", " ", "b")])
def test_a_part_that_would_be_an_empty_line_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="empty part"):
        field("X", *parts)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "Sübject", "a\x00", "a\ud800", "a\n"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a field name"):
        field(name, "x")


@pytest.mark.parametrize("value", ["b" * (MAX_LINE - 2), "a " + "ü" * 600, "a\t" * 600])
def test_a_value_that_fits_on_no_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="does not fit on a line"):
        field("X", value)


@pytest.mark.parametrize(
    "octets",
    [b"\r\n" * 100_000, b"\r\n " * 100_000, b"\r" * 300_000, b" " * 300_000, b"a:\r\n" * 80_000, b"a" * 300_000],
)
def test_a_large_hostile_header_is_read_in_linear_time(octets: bytes) -> None:
    began = time.perf_counter()
    header = Header.parse(octets)
    header.without(["a", "bcc"], ("x-mta-",))
    assert sum(len(one.value) for one in header.fields) <= len(octets)
    assert time.perf_counter() - began < 3
