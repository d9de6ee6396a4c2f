"""The field itself: its form, what it covers, what it refuses. Whether others accept it: test_verifiers.py."""

import base64
import re
import time
from datetime import UTC, datetime, timedelta, timezone

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.dkim.keys import SigningKey
from mta.dkim.sign import DEFAULT_POLICY, HeaderPolicy, Signer, SigningError

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
HASH = bytes(range(32))
FROM = b"From: a@example.com\r\n"
NEVER_SIGNED = ("received", "return-path", "dkim-signature", "bcc", "resent-from", "precedence", "x-mailer")


def tags(field: bytes) -> dict[str, str]:
    """The tags of one DKIM-Signature field, without blanks."""
    name, _, value = field.partition(b":")
    assert name == b"DKIM-Signature"
    parts = re.sub(rb"\s", b"", value).decode("ascii").split(";")
    return {key: text for key, _, text in (part.partition("=") for part in parts)}


def covered(key: SigningKey, header: bytes) -> list[str]:
    return tags(Signer([key]).sign(header, HASH, NOW))["h"].split(":")


def test_the_tags_say_what_was_done(ed25519_key: SigningKey) -> None:
    found = tags(Signer([ed25519_key]).sign(FROM, HASH, NOW))
    assert {name: text for name, text in found.items() if name not in ("b", "h")} == {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "relaxed/relaxed",
        "d": "example.com",
        "s": "e1",
        "t": str(int(NOW.timestamp())),
        "bh": base64.b64encode(HASH).decode(),
    }
    assert len(base64.b64decode(found["b"], validate=True)) == 64


def test_rsa_comes_first_whatever_the_order_of_the_keys(rsa_key: SigningKey, ed25519_key: SigningKey) -> None:
    for keys in ([rsa_key, ed25519_key], [ed25519_key, rsa_key]):
        found = re.findall(rb"a=(\S+);", Signer(keys).sign(FROM, HASH, NOW))
        assert found == [b"rsa-sha256", b"ed25519-sha256"]


def test_the_time_is_that_of_the_argument_in_any_zone(rsa_key: SigningKey) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Signer([rsa_key]).sign(FROM, HASH, elsewhere) == Signer([rsa_key]).sign(FROM, HASH, NOW)


@pytest.mark.parametrize("repeats", [1, 30])
def test_lines_are_folded_within_78_columns_and_end_in_crlf(
    repeats: int, rsa_key: SigningKey, ed25519_key: SigningKey
) -> None:
    header = FROM + b"".join(b"%s: x\r\n" % name.encode() for name in DEFAULT_POLICY.signed) * repeats
    fields = Signer([rsa_key, ed25519_key]).sign(header, HASH, NOW)
    assert fields.endswith(b"\r\n")
    lines = fields.removesuffix(b"\r\n").split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert all(line.startswith((b" ", b"DKIM-Signature: v=1;")) and line.strip() for line in lines)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", fields)


def test_a_name_too_long_for_a_line_is_not_cut(rsa_pem: bytes) -> None:
    domain = ".".join(["a" * 60] * 3 + ["example"])
    assert f" d={domain};\r\n".encode() in Signer([SigningKey.parse(domain, "r1", rsa_pem)]).sign(FROM, HASH, NOW)


@pytest.mark.parametrize("name", DEFAULT_POLICY.signed)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_field_is_named_as_often_as_it_occurs_and_once_more_if_oversigned(
    name: str, count: int, ed25519_key: SigningKey
) -> None:
    header = (b"" if name == "from" and count else FROM) + f"{name.title()}: x\r\n".encode() * count
    present = 1 if name == "from" and not count else count
    more = name in DEFAULT_POLICY.oversigned or (name in DEFAULT_POLICY.oversigned_if_present and count > 0)
    assert covered(ed25519_key, header).count(name) == present + more


@pytest.mark.parametrize("name", NEVER_SIGNED)
def test_what_relays_change_is_never_covered(name: str, ed25519_key: SigningKey) -> None:
    assert name not in covered(ed25519_key, FROM + f"{name}: x\r\n".encode())


def test_both_one_click_fields_are_covered(ed25519_key: SigningKey) -> None:
    """RFC 8058 §4."""
    header = (
        FROM + b"List-Unsubscribe: <https://example.com/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(covered(ed25519_key, header))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "no From"),
        (b"To: b@example.net\r\n", "no From"),
        (b"To: b@example.net\r\n From: a@example.com\r\n", "no From"),
        (b" folded\r\n" + FROM, "continuation"),
        (b"\tfolded\r\n" + FROM, "continuation"),
        (FROM + b"nonsense\r\n", "'nonsense'"),
        (FROM + b"Sub ject: x\r\n", "'Sub ject: x'"),
        (FROM + b"Subject : x\r\n", "'Subject : x'"),
        (FROM + b": x\r\n", "': x'"),
        (FROM + "Sübject: x\r\n".encode(), r"S\\\\xc3\\\\xbcbject"),
        (FROM + b"x" * 100_000, "x{60}'"),
        (b"From a@example.com Mon Jun  2\r\n" + FROM, "From "),
        (FROM + b"From a@example.com\r\n", "From "),
        (FROM + b"\r\n", "empty line"),
        (FROM + b"\r\nSubject: x\r\n", "empty line"),
        (b"\r\n" + FROM, "empty line"),
        (FROM + b"Subject: a\nb\r\n", "bare"),
        (FROM + b"Subject: a\rb\r\n", "bare"),
        (FROM + b"Subject: a\n\r\r\n", "bare"),
    ],
)
def test_a_header_that_is_no_sequence_of_fields_is_refused(header: bytes, words: str, ed25519_key: SigningKey) -> None:
    with pytest.raises(SigningError, match=words):
        Signer([ed25519_key]).sign(header, HASH, NOW)


@given(header=st.binary(max_size=200) | st.text("Fr:om \r\n\tx", max_size=60).map(str.encode))
def test_any_octets_are_signed_or_refused(header: bytes, ed25519_key: SigningKey) -> None:
    for candidate in (header, FROM + header, header + b"\r\n" + FROM):
        try:
            fields = Signer([ed25519_key]).sign(candidate, HASH, NOW)
        except SigningError:
            continue
        assert fields.startswith(b"DKIM-Signature: ")


def test_the_last_field_may_lack_its_crlf(ed25519_key: SigningKey) -> None:
    signer = Signer([ed25519_key])
    assert signer.sign(FROM.removesuffix(b"\r\n"), HASH, NOW) == signer.sign(FROM, HASH, NOW)


def test_a_body_hash_of_another_length_is_refused(ed25519_key: SigningKey) -> None:
    with pytest.raises(ValueError, match="20 octets"):
        Signer([ed25519_key]).sign(FROM, bytes(20), NOW)


def test_a_time_without_zone_is_refused(ed25519_key: SigningKey) -> None:
    with pytest.raises(ValueError, match="no zone"):
        Signer([ed25519_key]).sign(FROM, HASH, NOW.replace(tzinfo=None))


def test_a_signer_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Signer([])


@pytest.mark.parametrize(
    ("signed", "oversigned", "if_present", "words"),
    [(["to"], [], [], "From"), (["from"], ["subject"], [], "subject"), (["from"], [], ["cc"], "cc")],
)
def test_a_policy_that_contradicts_itself_is_refused(
    signed: list[str], oversigned: list[str], if_present: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        HeaderPolicy(tuple(signed), frozenset(oversigned), frozenset(if_present))


def test_a_policy_of_ones_own_is_obeyed(ed25519_key: SigningKey) -> None:
    policy = HeaderPolicy(("from", "subject"), frozenset(["subject"]), frozenset())
    fields = Signer([ed25519_key], policy).sign(FROM + b"Subject: x\r\nTo: b@example.net\r\n", HASH, NOW)
    assert tags(fields)["h"] == "from:subject:subject"


def test_dkimpy_is_left_as_it_came(rsa_key: SigningKey) -> None:
    """It judges our signatures in the other tests, so nothing of it may be ours."""
    Signer([rsa_key]).sign(FROM, HASH, NOW)
    own = [value for value in vars(dkim).values() if getattr(value, "__module__", "").startswith("mta.")]
    assert own == []


@pytest.mark.parametrize("unit", [b"\r\n a", b"\r\nTo: a", b"\r\nX: a", b" ", b"\r\n\t", b"\t \r\n b"])
def test_hostile_headers_cost_linear_time(unit: bytes, ed25519_key: SigningKey) -> None:
    """Four times the octets cost about four times as much: sixteen would be quadratic. The best of some rounds."""
    signer = Signer([ed25519_key])

    def seconds(count: int) -> float:
        header = FROM + b"Subject: x" + unit * count + b"y\r\n"
        start = time.thread_time()
        signer.sign(header, HASH, NOW)
        return time.thread_time() - start

    small, large = (min(seconds(count) for _ in range(3)) for count in (10_000, 40_000))
    assert large < 9 * small + 0.002
