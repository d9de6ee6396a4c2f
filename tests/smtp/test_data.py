import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.mail import failures
from mta.mail.reply import Reply
from mta.queue.model import Content
from mta.smtp.data import DataReader, split_header


def read(octets: bytes, cuts: list[int] | None = None, *, limit: int = 10**7, long_lines: bool = False) -> DataReader:
    """Feed octets that hold the end, cut at some places; check that what stands behind it comes back."""
    reader = DataReader(limit, take_long_lines=long_lines)
    edges = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts or [])})
    for start, end in itertools.pairwise(edges):
        behind = reader.feed(octets[start:end])
        if behind is not None:
            assert octets.endswith(behind + octets[end:])
            return reader
    raise AssertionError("the end was not found")


@pytest.mark.parametrize(
    ("octets", "content"),
    [
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n"),
        (b"a\r\n.\r\nb\r\n.\r\n", b"a\r\n"),
        ("é\r\n.\r\n".encode(), "é\r\n".encode()),
    ],
)
@pytest.mark.parametrize("cuts", [[], list(range(40))])
def test_the_content_is_what_stands_before_the_dot(octets: bytes, content: bytes, cuts: list[int]) -> None:
    reader = read(octets, cuts)
    assert (b"".join(reader.pieces()), reader.size, reader.refusal) == (content, len(content), None)


# the end that a smuggler hopes for stands in the middle; it must not be one, and the message must not be taken
@pytest.mark.parametrize(
    "smuggled",
    [
        pytest.param(b"\n.\n", id="CVE-2023-51764 LF.LF"),
        pytest.param(b"\n.\r\n", id="CVE-2023-51764 LF.CRLF"),
        pytest.param(b"\r\n.\n", id="CVE-2023-51766 CRLF.LF"),
        pytest.param(b"\r.\r", id="CVE-2024-27305 CR.CR"),
        pytest.param(b"\r\n.\r", id="CRLF.CR"),
        pytest.param(b"\r.\r\n", id="CR.CRLF"),
        pytest.param(b"\r\n\x00.\r\n", id="NUL before the dot"),
        pytest.param(b"\r\n.\x00\r\n", id="NUL behind the dot"),
        pytest.param(b"\r\r\n.\r\r\n", id="CRCRLF"),
    ],
)
@pytest.mark.parametrize("cuts", [[], list(range(60))])
def test_nothing_but_crlf_dot_crlf_ends_the_content(smuggled: bytes, cuts: list[int]) -> None:
    reader = read(b"a" + smuggled + b"MAIL FROM:<x@evil.example>\r\n.\r\n", cuts)
    assert reader.refusal == failures.BARE_LINE_END
    assert reader.pieces() == ()


@pytest.mark.parametrize(
    ("octets", "long_lines", "refusal"),
    [
        (b"x" * 998 + b"\r\n", False, None),
        (b"x" * 999 + b"\r\n", False, failures.LONG_LINE),
        (b"a\r\n" + b"x" * 998 + b"\r\nb\r\n", False, None),
        (b"a\r\n" + b"x" * 999 + b"\r\nb\r\n", False, failures.LONG_LINE),
        (b"." + b"." * 998 + b"\r\n", False, None),
        (b"." + b"." * 999 + b"\r\n", False, failures.LONG_LINE),
        ((b"x" * 998 + b"\r\n") * 50, False, None),
        ((b"x" * 998 + b"\r\n") * 50 + b"x" * 999 + b"\r\n", False, failures.LONG_LINE),
        (b"x" * 100_000 + b"\r\n", False, failures.LONG_LINE),
        (b"x" * 100_000 + b"\r\n", True, None),
        (b"x" * 100_000 + b"\n", True, failures.BARE_LINE_END),
    ],
)
@pytest.mark.parametrize("cuts", [[], list(range(0, 3000, 7)), [998, 999, 1000, 1001]])
def test_lines_have_998_octets_at_most(octets: bytes, long_lines: bool, refusal: Reply | None, cuts: list[int]) -> None:
    assert (
        read(octets + (b"" if octets.endswith(b"\r\n") else b"\r\n") + b".\r\n", cuts, long_lines=long_lines).refusal
        == refusal
    )


@pytest.mark.parametrize(("size", "refusal"), [(1000, None), (1001, failures.TOO_LARGE)])
@pytest.mark.parametrize("cuts", [[], list(range(1100))])
def test_the_size_is_counted_without_stuffing_and_end(size: int, refusal: Reply | None, cuts: list[int]) -> None:
    line = b"..23456789\r\n"  # eleven octets of content
    content = line * 90 + b"x" * (size - 990 - 2) + b"\r\n"
    assert read(content + b".\r\n", cuts, limit=1000).refusal == refusal


def test_a_refused_content_is_not_stored() -> None:
    reader = DataReader(1000)
    for _ in range(1000):
        assert reader.feed(b"x" * 500 + b"\r\n") is None
    assert reader.pieces() == ()
    assert reader.feed(b".\r\nQUIT\r\n") == b"QUIT\r\n"


def test_pieces_are_as_large_as_rows_may_be() -> None:
    content = (b"x" * 98 + b"\r\n") * 10_000
    pieces = read(content + b".\r\n", list(range(0, 10**6, 65536))).pieces()
    assert b"".join(pieces) == content
    assert [len(piece) for piece in pieces] == [Content.PIECE, Content.PIECE, Content.PIECE, 10**6 - 3 * Content.PIECE]


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\0", b"\r\n..", b"x" * 500])),
    st.lists(st.integers(0, 5000)),
)
@example([b"\r\n", b"."], [1, 2, 3, 4])
def test_however_it_is_cut_the_same_is_read(parts: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(parts) + b"\r\n.\r\nbehind"
    whole, cut = read(octets), read(octets, cuts)
    # of two flaws, which one is told depends on which is seen first
    assert (b"".join(cut.pieces()), cut.refusal is None) == (b"".join(whole.pieces()), whole.refusal is None)


@given(st.lists(st.binary(max_size=80).filter(lambda line: not set(line) & set(b"\r\n\0")), max_size=20))
def test_what_was_stuffed_comes_back(lines: list[bytes]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert b"".join(read(stuffed + b".\r\n").pieces()) == content


@pytest.mark.parametrize("unit", [b"x", b"\r", b"\n", b".", b"\r\n.", b"..\r\n", b"x\r\n"])
def test_hostile_contents_take_linear_time(unit: bytes) -> None:
    reader = DataReader(10**8, take_long_lines=True)
    start = time.perf_counter()
    for _ in range(200_000 // len(unit)):
        reader.feed(unit)
    reader.feed(unit * (2_000_000 // len(unit)))
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("pieces", "header", "body"),
    [
        ((), b"", ()),
        ((b"A: b\r\n\r\nbody\r\n",), b"A: b\r\n", (b"body\r\n",)),
        ((b"A: b\r\n\r\n",), b"A: b\r\n", ()),
        ((b"A: b\r\n",), b"A: b\r\n", ()),
        ((b"\r\nbody\r\n",), b"", (b"body\r\n",)),
        ((b"\r\n", b"body\r\n"), b"", (b"body\r\n",)),
        ((b"A: b\r\n\r", b"\nbody", b"more"), b"A: b\r\n", (b"body", b"more")),
        ((b"A: b", b"\r\n", b"\r\nbody"), b"A: b\r\n", (b"body",)),
        ((b"x" * 90 + b"\r\n\r\n" + b"y" * Content.PIECE + b"z",), b"x" * 90 + b"\r\n", (b"y" * Content.PIECE, b"z")),
    ],
)
def test_the_header_ends_at_the_first_blank_line(
    pieces: tuple[bytes, ...], header: bytes, body: tuple[bytes, ...]
) -> None:
    assert split_header(pieces, 100) == Content(header, body)


@pytest.mark.parametrize("content", [b"x" * 99 + b"\r\n\r\n", b"x" * 200])
def test_a_header_over_the_limit_is_refused(content: bytes) -> None:
    assert split_header((content,), 100) == failures.HEADER_TOO_LARGE


@given(
    st.binary(max_size=200) | st.text(alphabet="\r\n.a\0", max_size=200).map(str.encode),
    st.integers(0, 60),
    st.lists(st.integers(0, 400)),
)
@example(b"a\nb\r.\r\n\n.\n", 5, [])
def test_what_is_taken_as_it_is_comes_out_as_it_went_in_and_its_head_is_kept(
    content: bytes, keep: int, cuts: list[int]
) -> None:
    content += b"" if content.endswith(b"\r\n") or not content else b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    for limit in (None, keep):
        reader = DataReader(10**6, as_it_is=True, keep=limit)
        edges = sorted({0, len(stuffed), *(cut % (len(stuffed) + 1) for cut in cuts)})
        behind = [reader.feed(stuffed[start:end]) for start, end in itertools.pairwise(edges)]
        assert behind[-1] == b""
        assert behind.count(None) == len(behind) - 1
        assert (b"".join(reader.pieces()), reader.size, reader.refusal) == (content[:limit], len(content), None)


def test_a_head_takes_no_more_room_than_it_has() -> None:
    reader = DataReader(10**7, as_it_is=True, keep=10_000)
    for _ in range(100):
        assert reader.feed(b"x" * 50_000) is None
    assert reader.feed(b"\r\n.\r\n") == b""
    assert (reader.pieces(), reader.size) == ((b"x" * 10_000,), 5_000_002)


def test_a_content_over_the_limit_is_refused_though_only_its_head_was_wanted() -> None:
    reader = DataReader(100, as_it_is=True, keep=10)
    assert reader.feed(b"x\n" * 100 + b"\r\n.\r\n") == b""
    assert (reader.refusal, reader.pieces()) == (failures.TOO_LARGE, ())
