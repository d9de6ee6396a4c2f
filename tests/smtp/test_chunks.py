import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.chunks import Chunk, ChunkReader
from mta.smtp.data import DataReader

CUTS: list[list[int]] = [[], list(range(60)), [1], [998, 999, 1000]]


def read(content: bytes, cuts: list[int], *, limit: int = 10**7, as_it_is: bool = False) -> ChunkReader:
    """Feed a content cut into chunks at some places, and finish it."""
    reader = ChunkReader(limit, as_it_is=as_it_is)
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        reader.feed(content[start:end])
    reader.finish()
    return reader


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", Chunk(0, False)),
        ("1000", Chunk(1000, False)),
        ("007 LAST", Chunk(7, True)),
        ("0 last", Chunk(0, True)),
        ("9" * 18, Chunk(10**18 - 1, False)),
    ],
)
def test_a_chunk_is_announced_by_its_size(argument: str, chunk: Chunk) -> None:
    assert Chunk.parse(argument) == chunk


@pytest.mark.parametrize(
    "argument",
    [
        *("", " ", "x", "-1", "+1", "1.0", "0x10", "1 ", " 1", "９", "9" * 19),
        *("1  LAST", "1 LAST LAST", "LAST", "1LAST", "1 FIRST"),
    ],
)
def test_what_is_no_size_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match="is not the size of a chunk"):
        Chunk.parse(argument)


@given(st.text(max_size=30))
def test_any_argument_is_a_chunk_or_a_value_error(argument: str) -> None:
    try:
        chunk = Chunk.parse(argument)
    except ValueError:
        return
    assert chunk.octets == int(argument.split()[0])


@pytest.mark.parametrize(
    "content",
    [b"", b"a\r\n", b"\r\n", b".\r\n", b"a\r\n.\r\nb\r\n", b"..a\r\n", b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n"],
)
@pytest.mark.parametrize("cuts", CUTS)
def test_the_content_is_what_the_chunks_hold(content: bytes, cuts: list[int]) -> None:
    reader = read(content, cuts)
    assert (b"".join(reader.pieces()), reader.size, reader.refusal) == (content, len(content), None)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"a\nb\r\n", failures.BARE_LINE_END),
        (b"a\rb\r\n", failures.BARE_LINE_END),
        (b"a\r\r\n", failures.BARE_LINE_END),
        (b"a\r", failures.BARE_LINE_END),
        (b"\n", failures.BARE_LINE_END),
        (b"a\0\r\n", failures.BARE_LINE_END),
        (b"x" * 999, failures.LONG_LINE),
        (b"a\r\n" + b"x" * 999 + b"\r\n", failures.LONG_LINE),
        (b"ab\r\n" * 2501, failures.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("cuts", CUTS)
def test_a_flaw_is_found_wherever_the_chunks_end(content: bytes, refusal: Reply, cuts: list[int]) -> None:
    reader = read(content, cuts, limit=10_000)
    assert (reader.refusal, reader.pieces()) == (refusal, ())


@pytest.mark.parametrize("content", [b"a", b"a\r\nb", b"x" * 998])
@pytest.mark.parametrize("cuts", CUTS)
def test_a_last_line_without_an_end_is_given_one(content: bytes, cuts: list[int]) -> None:
    reader = read(content, cuts)
    assert (b"".join(reader.pieces()), reader.size) == (content + b"\r\n", len(content) + 2)


@pytest.mark.parametrize("content", [b"a\rb\nc\0\r\n", b"\r\r\n"])
def test_what_is_taken_as_it_is_has_any_octets(content: bytes) -> None:
    assert b"".join(read(content, [1, 2], as_it_is=True).pieces()) == content


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"a", b"\0", b"x" * 500])),
    st.lists(st.integers(0, 5000)),
)
@example([b"\r\n", b"."], [1, 2, 3, 4])
def test_however_it_is_cut_the_same_is_read(parts: list[bytes], cuts: list[int]) -> None:
    content = b"".join(parts)
    whole, cut = read(content, []), read(content, cuts)
    assert (b"".join(cut.pieces()), cut.refusal is None) == (b"".join(whole.pieces()), whole.refusal is None)


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\0", b"x" * 500])))
def test_data_and_chunks_take_the_same_contents(parts: list[bytes]) -> None:
    content = b"".join(parts) + b"\r\n"
    data = DataReader(10**7)
    assert data.feed((b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n") == b""
    chunks = read(content, [])
    assert (data.pieces(), data.size, data.refusal is None) == (chunks.pieces(), chunks.size, chunks.refusal is None)
