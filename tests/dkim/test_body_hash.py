"""The body hash against dkimpy's canonicaliser and the examples of RFC 6376."""

import hashlib
import itertools
import time

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from mta.dkim.body_hash import RelaxedBodyHash

# Made of what the canonicaliser looks at. Runs of blanks are kept short: dkimpy is quadratic in them.
OCTETS = st.lists(
    st.sampled_from(
        [b"\r\n", b"\r\n\r\n", b" ", b"\t", b"  \t ", b"x", b"word", b"\xfc", b"\r", b"\n", b" \r\n", b"."]
    ),
    max_size=40,
).map(b"".join)
CUTS = st.lists(st.integers(0, 80), max_size=12)


def digest(*pieces: bytes) -> bytes:
    body_hash = RelaxedBodyHash()
    for piece in pieces:
        body_hash.update(piece)
    return body_hash.digest()


def sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n" * 4, b""),
        (b" \t\r\n \r\n", b""),
        (b" \t ", b""),
        (b"one", b"one\r\n"),
        (b"one \t", b"one\r\n"),
        (b"one\r\n \t", b"one\r\n"),
        (b"\r\n\r\none\r\n\r\ntwo\r\n\r\n", b"\r\n\r\none\r\n\r\ntwo\r\n"),
        (b"a\t\t b\t\r\n", b"a b\r\n"),
        (b"a\r\n\n", b"a\r\n\n\r\n"),
        (b"a\r\r\n", b"a\r\r\n"),
        (b"a \r", b"a \r\r\n"),
    ],
)
def test_a_body_is_hashed_in_its_relaxed_form(body: bytes, canonical: bytes) -> None:
    assert digest(body) == sha256(canonical)


@given(body=OCTETS, cuts=CUTS)
def test_any_pieces_hash_like_the_whole_does_in_dkimpy(body: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(bounds)]
    sent = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    assert digest(*pieces) == sha256(Relaxed.canonicalize_body(sent))


@given(body=OCTETS)
def test_octet_by_octet_hashes_like_the_whole(body: bytes) -> None:
    assert digest(*(body[i : i + 1] for i in range(len(body)))) == digest(body)


@given(first=OCTETS, second=OCTETS)
def test_asking_for_the_digest_changes_nothing(first: bytes, second: bytes) -> None:
    body_hash = RelaxedBodyHash()
    body_hash.update(first)
    assert body_hash.digest() == digest(first)
    body_hash.update(second)
    assert body_hash.digest() == digest(first, second)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1])
@pytest.mark.parametrize("turn", [b" \r\nx", b"\r\n\r\n\r\nx", b" \t x", b"\r\n"])
def test_a_body_larger_than_the_inner_window_is_hashed_alike(turn: bytes, offset: int) -> None:
    body = b"x" * (65536 + offset) + turn + b"y" * 70000 + b"\r\n"
    assert digest(body) == sha256(Relaxed.canonicalize_body(body))


@pytest.mark.parametrize("unit", [b" ", b"\t", b" \t", b"\r\n", b" \r\n", b" \r", b"\r", b"\n\r", b"  x", b" \r\nx"])
def test_hostile_bodies_cost_linear_time(unit: bytes) -> None:
    """Four times the octets cost about four times as much: sixteen would be quadratic. The best of some rounds."""
    small, large = unit * (250_000 // len(unit)), unit * (1_000_000 // len(unit))
    assert _best_seconds(large) < 9 * _best_seconds(small) + 0.002


def _best_seconds(body: bytes) -> float:
    def once() -> float:
        start = time.thread_time()
        digest(body)
        return time.thread_time() - start

    return min(once() for _ in range(5))
