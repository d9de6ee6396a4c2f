"""Hashing in slices: the digest is that of the whole."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.digest import absorb


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 4094, 4095, 16 * 1024, 16 * 1024 + 1, 300_000])
def test_every_octet_is_hashed_once_and_in_its_order(size: int) -> None:
    octets = bytes(number * 31 % 251 for number in range(size))
    digest = hashlib.sha256(b"before")
    absorb(digest, octets)
    assert digest.digest() == hashlib.sha256(b"before" + octets).digest()


@given(st.lists(st.binary(max_size=5000), max_size=5))
def test_however_it_is_cut(pieces: list[bytes]) -> None:
    digest = hashlib.sha256()
    for piece in pieces:
        absorb(digest, piece)
    assert digest.digest() == hashlib.sha256(b"".join(pieces)).digest()
