import pytest

from fuzz.reference import Read, read


@pytest.mark.parametrize(
    ("octets", "content", "behind", "flaws"),
    [
        (b".\r\n", b"", b"", set()),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n", set()),
        (b"..\r\n.a\r\n...\r\n.\r\n", b".\r\na\r\n..\r\n", b"", set()),
        (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", b"", {"line end"}),
        (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", b"", {"line end"}),
        (b"\0\r\n.\r\n", b"\0\r\n", b"", {"line end"}),
        (b"." + b"x" * 998 + b"\r\n.\r\n", b"x" * 998 + b"\r\n", b"", set()),
        (b"x" * 999 + b"\r\n.\r\n", b"x" * 999 + b"\r\n", b"", {"long line", "size"}),
    ],
)
def test_the_obvious_reader_reads_as_the_rfc_says(
    octets: bytes, content: bytes, behind: bytes, flaws: set[str]
) -> None:
    assert read(octets, 1000) == Read(content, behind, frozenset(flaws))


@pytest.mark.parametrize("octets", [b"", b".", b".\r", b"a\r\n", b"a\r\n.", b"a.\r\n", b"a\n.\r", b"a\r.\r"])
def test_without_its_end_nothing_is_read(octets: bytes) -> None:
    assert read(octets, 1000) is None
