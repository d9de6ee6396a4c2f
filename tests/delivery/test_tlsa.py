"""TLSA records as values."""

from hashlib import sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.tlsa import TlsaRecord, public_key_info
from tests.delivery.pki import Identity, issue
from tests.fakes.clock import START

LEAF = issue("mx.example.net", START, names=("mx.example.net",))
OTHER = issue("mx.example.net", START, names=("mx.example.net",))


@pytest.mark.parametrize(
    ("record", "usable"),
    [
        (TlsaRecord(3, 1, 1, bytes(32)), True),
        (TlsaRecord(3, 0, 2, bytes(64)), True),
        (TlsaRecord(2, 0, 1, bytes(32)), True),
        (LEAF.tlsa(2, 0, 0), True),
        (LEAF.tlsa(3, 1, 0), True),
        (TlsaRecord(0, 0, 1, bytes(32)), False),  # of no use to SMTP
        (TlsaRecord(1, 1, 1, bytes(32)), False),
        (TlsaRecord(255, 1, 1, bytes(32)), False),
        (TlsaRecord(3, 2, 1, bytes(32)), False),
        (TlsaRecord(3, 1, 3, bytes(32)), False),
        (TlsaRecord(3, 1, 1, bytes(31)), False),  # no SHA-256
        (TlsaRecord(3, 1, 2, bytes(32)), False),
        (TlsaRecord(3, 1, 1, b""), False),
        (TlsaRecord(2, 0, 0, b"no certificate"), False),
        (TlsaRecord(3, 1, 0, b"no key"), False),
    ],
)
def test_a_record_is_usable_when_something_could_match(record: TlsaRecord, usable: bool) -> None:
    assert record.is_usable == usable


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_a_record_matches_its_own_certificate_only(selector: int, matching: int) -> None:
    selected = LEAF.spki if selector else LEAF.der
    record = (
        TlsaRecord(3, selector, 2, sha512(selected).digest()) if matching == 2 else LEAF.tlsa(3, selector, matching)
    )
    assert record.matches(LEAF.der)
    assert not record.matches(OTHER.der)


@pytest.mark.parametrize("identity", [LEAF, OTHER])
def test_the_key_is_the_one_in_the_certificate(identity: Identity) -> None:
    assert public_key_info(identity.der) == identity.spki


def test_a_record_shows_as_a_zone_file_has_it() -> None:
    assert str(TlsaRecord(3, 1, 1, b"\x0a\xff")) == "3 1 1 0aff"


def _key_or_nothing(octets: bytes) -> bytes:
    """Nothing else than ValueError may be raised."""
    try:
        return public_key_info(octets)
    except ValueError:
        return b""


@given(st.binary(max_size=300))
def test_any_octets_have_a_key_or_are_refused(octets: bytes) -> None:
    assert _key_or_nothing(octets) in octets


@given(st.integers(0, len(LEAF.der) - 1), st.integers(0, 255))
def test_a_broken_certificate_has_a_key_or_is_refused(at: int, octet: int) -> None:
    broken = LEAF.der[:at] + bytes([octet]) + LEAF.der[at + 1 :]
    assert _key_or_nothing(broken) in broken


@given(st.integers(0, len(LEAF.der) - 1))
def test_a_certificate_that_is_cut_short_matches_nothing(size: int) -> None:
    assert not LEAF.tlsa(3, 1).matches(LEAF.der[:size])
