"""Content on its way to the wire: nothing but dots changes, and nothing that could be read twice passes."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.content import Shape, blocks, is_canonical, stuffed
from mta.mail.envelope import BodyType
from tests.delivery.world import HEADER, SIGNATURE, letter

_LINES = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a.", b"a", b"\xc3\xa9"]), max_size=12)
_CUTS = st.lists(st.integers(0, 60), max_size=6)
_OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\r\n"]), max_size=12).map(b"".join)


def _cut(octets: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    return [octets[start:end] for start, end in pairwise(borders)]


@given(_LINES, _CUTS)
def test_undoing_the_dots_gives_back_the_content_however_it_was_cut(lines: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(line + b"\r\n" for line in lines)
    wire = b"".join(stuffed(_cut(octets, cuts)))
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    assert (b"\r\n" + wire).replace(b"\r\n.", b"\r\n")[2:] == octets


@given(_OCTETS, _CUTS)
def test_canonical_means_the_same_however_the_octets_were_cut(octets: bytes, cuts: list[int]) -> None:
    assert is_canonical(_cut(octets, cuts)) == (re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets) is None)


def test_what_a_cut_hides_is_seen() -> None:
    assert is_canonical([b"a\r", b"", b"\nb\r\n"])
    assert not is_canonical([b"a\r", b"b\nc\r\n"])
    assert not is_canonical([b"a\r\n", b"\nb\r", b"c\r\n"])


@pytest.mark.parametrize(
    ("octets", "expected"),
    [(b"", True), (b"a\r\n", True), (b"\r\r\n\n", False), (b"\n", False), (b"\r", False), (b"a\0b\r\n", False)],
)
def test_bare_line_ends_and_nul_are_not_canonical(octets: bytes, expected: bool) -> None:
    assert is_canonical([octets]) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER, True),
        (b"", True),
        (b"Subject: no line end", False),
        (b"Subject: a\r\n\r\nbody\r\n", False),
        (b"\r\nSubject: a\r\n", False),
    ],
)
def test_a_header_that_would_begin_the_body_too_early_is_not_canonical(header: bytes, expected: bool) -> None:
    assert Shape.of(letter(header=header)).canonical is expected


def test_the_size_counts_every_octet_once() -> None:
    assert Shape.of(letter(body=(b".\r\n", b".\r\n"))).size == len(SIGNATURE) + len(HEADER) + 2 + 6


@pytest.mark.parametrize(
    ("header", "to", "declared", "expected"),
    [
        (HEADER, "a@example.net", False, False),
        (HEADER, "a@example.net", True, False),
        (HEADER, "jürgen@example.net", False, True),
        ("Subject: Grüße\r\n".encode(), "a@example.net", True, True),
        ("Subject: Grüße\r\n".encode(), "a@example.net", False, False),
    ],
)
def test_smtputf8_is_needed_only_for_what_really_has_it(header: bytes, to: str, declared: bool, expected: bool) -> None:
    assert Shape.of(letter(to, header=header, smtputf8=declared)).smtputf8 is expected


def test_eight_bit_is_what_the_octets_are_not_what_was_declared() -> None:
    assert not Shape.of(letter(body_type=BodyType.EIGHT_BIT)).eight_bit
    assert Shape.of(letter(body=b"\xff\r\n")).eight_bit


def test_a_small_letter_is_one_write_and_a_large_one_is_never_copied_whole() -> None:
    assert len(list(blocks(letter()))) == 1
    large = letter(body=(b"x" * 70 + b"\r\n",) * 5 + ((b"y" * 70 + b"\r\n") * 3000,))
    sizes = [len(block) for block in blocks(large)]
    assert max(sizes) == 72 * 3000
