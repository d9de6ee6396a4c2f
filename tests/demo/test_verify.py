"""Signatures checked the way a receiver does."""

import base64
from datetime import UTC, datetime

import pytest

from mta.demo.verify import Verified, verify
from mta.dkim.body_hash import RelaxedBodyHash
from mta.dkim.keys import SigningKey, generate_ed25519, generate_rsa
from mta.dkim.sign import Signer

HEADER = b"From: app@example.com\r\nTo: a@example.net\r\nSubject: Hello\r\n"
BODY = b"Good morning.\r\n"
RSA = SigningKey.parse("example.com", "r1", generate_rsa())
ED25519 = SigningKey.parse("example.com", "e1", generate_ed25519())
OTHER = SigningKey.parse("example.com", "e1", generate_ed25519())
PUBLISHED = {key.dns_name: key.dns_record for key in (RSA, ED25519)}


def signed(header: bytes = HEADER, body: bytes = BODY) -> bytes:
    body_hash = RelaxedBodyHash()
    body_hash.update(body)
    fields = Signer([RSA, ED25519]).sign(header, body_hash.digest(), datetime.now(UTC))
    return fields + header + b"\r\n" + body


def test_both_signatures_are_confirmed_by_the_published_keys() -> None:
    assert verify(signed(), PUBLISHED.get) == [
        Verified("rsa-sha256", "example.com", "r1", True),
        Verified("ed25519-sha256", "example.com", "e1", True),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject: Hello", b"Subject: Hallo"),
        (b"Good morning", b"Good evening"),
        (b"From: app", b"From: ceo"),
        (b"From: app", b"From: ceo@bank.example\r\nFrom: app"),
        (b"bh=", b"bh=AAAA"),
    ],
)
def test_a_changed_message_is_not_confirmed(old: bytes, new: bytes) -> None:
    message = signed()
    assert old in message
    assert [each.valid for each in verify(message.replace(old, new), PUBLISHED.get)] == [False, False]


def test_a_body_that_grew_is_not_confirmed() -> None:
    assert [each.valid for each in verify(signed() + b"more\r\n", PUBLISHED.get)] == [False, False]


@pytest.mark.parametrize(
    "record",
    [
        None,
        "",
        "v=DKIM1; k=ed25519; p=",
        "v=DKIM1; k=ed25519",
        "v=DKIM1; k=ed25519; p=!!!",
        "v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(31)).decode(),
        OTHER.dns_record,
        "nonsense",
    ],
    ids=["none", "empty", "revoked", "no p=", "no base64", "too short", "another key", "nonsense"],
)
def test_without_the_right_key_in_dns_nothing_is_confirmed(record: str | None) -> None:
    published = {**PUBLISHED, ED25519.dns_name: record}
    assert [each.valid for each in verify(signed(), published.get)] == [True, False]


def test_a_message_without_signatures_has_none() -> None:
    assert verify(HEADER + b"\r\n" + BODY, PUBLISHED.get) == []


@pytest.mark.parametrize(
    "message", [b"", b"no header at all", b"DKIM-Signature: nonsense\r\n\r\n", b"\xff: \xff\r\n\r\n"]
)
def test_what_is_no_message_is_confirmed_by_nobody(message: bytes) -> None:
    assert not any(each.valid for each in verify(message, PUBLISHED.get))
