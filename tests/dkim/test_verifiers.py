"""Signatures judged by programs that are not ours: dkimpy, opendkim and Perl's Mail::DKIM."""

import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import dkim
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.dkim.body_hash import RelaxedBodyHash
from mta.dkim.keys import Algorithm, SigningKey, generate_ed25519, generate_rsa
from mta.dkim.sign import Signer

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
BASIC = b"From: Shop <news@example.com>\r\nTo: b@example.net\r\nSubject: Your order\r\nMessage-ID: <1@example.com>\r\n"
BODY = b"Thank you.\r\n\r\nIt will come soon.\r\n"

HARD_MESSAGES = {
    "plain": BASIC + b"\r\n" + BODY,
    "folded fields": BASIC + b"References: <1@example.com>\r\n <2@example.com>\r\n\t<3@example.com>\r\n\r\n" + BODY,
    "a field folded before its text": BASIC + b"Content-Type:\r\n text/plain;\r\n\tcharset=utf-8\r\n\r\n" + BODY,
    "a blank line inside a field": BASIC + b"Reply-To: c@example.com,\r\n \t\r\n d@example.com\r\n\r\n" + BODY,
    "8-bit fields": "From: Müller <m@example.com>\r\nSubject: Grüße\r\n\r\n".encode() + BODY,
    "latin-1 octets": b"From: M\xfcller <m@example.com>\r\nSubject: Gr\xfc\xdfe\r\n\r\n\xe4\xf6\xfc\r\n",
    "tabs and runs of blanks": b"From:\ta@example.com\r\nSubject:  two \t words\t \r\n\r\n\ta \t b\t\r\n",
    "empty body": BASIC + b"\r\n",
    "body of empty lines": BASIC + b"\r\n" + b"\r\n" * 5,
    "body of blanks": BASIC + b"\r\n \t \r\n  \r\n",
    "body without a last CRLF": BASIC + b"\r\none\r\ntwo",
    "body that ends with blanks and no CRLF": BASIC + b"\r\none\r\ntwo \t ",
    "blanks at line ends": BASIC + b"\r\none  \r\n\t\r\n two\t\r\n\r\n \r\n",
    "dots and dashes": BASIC + b"\r\n.\r\n..\r\n-- \r\nFrom here on\r\n",
    "odd case": b"fROM: a@example.com\r\nSUBJECT: x\r\nmessage-id: <2@example.com>\r\n\r\n" + BODY,
    "no blank after the colon": b"From:a@example.com\r\nTo:b@example.net\r\nSubject:\r\n\r\n" + BODY,
    "30 To fields": b"From: a@example.com\r\n"
    + b"".join(b"To: r%d@example.net\r\n" % i for i in range(30))
    + b"\r\nx\r\n",
    "a long subject": b"From: a@example.com\r\nSubject: " + b"word " * 196 + b"end\r\n\r\n" + BODY,
    "bulk": BASIC + b"List-Unsubscribe: <https://example.com/u/1>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: c:s:example\r\n\r\n" + BODY,
    "fields that stay unsigned": b"Received: from a by b; now\r\nX-One: 1\r\n"
    + BASIC
    + b"Bcc: z@example.net\r\n\r\nx\r\n",
}

ATTACKS: dict[str, Callable[[bytes], bytes]] = {
    "one octet of the body": lambda message: message.replace(b"Thank", b"Tha\xeek"),
    "text after the body": lambda message: message + b"and more\r\n",
    "one octet of Subject": lambda message: message.replace(b"Your order", b"Your 0rder"),
    "a second From on top": lambda message: b"From: ceo@example.com\r\n" + message,
    "a second From at the end": lambda message: message.replace(b"\r\n\r\n", b"\r\nFrom: ceo@example.com\r\n\r\n", 1),
    "a second Subject": lambda message: b"Subject: Urgent\r\n" + message,
    "a Reply-To where none was": lambda message: b"Reply-To: thief@example.net\r\n" + message,
    "a Content-Type where none was": lambda message: b"Content-Type: text/html\r\n" + message,
    "another way out": lambda message: b"List-Unsubscribe: <https://example.net/>\r\n" + message,
    "From taken away": lambda message: message.replace(b"From: Shop <news@example.com>\r\n", b"", 1),
    "another time of signing": lambda message: message.replace(b" t=1748865600;", b" t=1748865601;"),
}

TRANSIT: dict[str, Callable[[bytes], bytes]] = {
    "trace fields on top": lambda message: b"Received: from mail.example.com by mx.example.net; now\r\n" + message,
    "fields folded anew": lambda message: message.replace(b"Your order", b"Your\r\n\t order"),
    "our own field folded anew": lambda message: message.replace(b" d=", b"\r\n\t d=", 1),
    "names in another case": lambda message: message.replace(b"\r\nSubject:", b"\r\nSUBJECT:"),
    "blanks at line ends": lambda message: message.replace(b"you.\r\n", b"you. \t\r\n"),
    "empty lines at the end": lambda message: message + b"\r\n\r\n",
}


class Verifier(Protocol):
    """Whether the topmost signature is good, by the keys that "DNS" has."""

    def __call__(self, message: bytes, keys: Sequence[SigningKey], folder: Path) -> bool: ...


def by_dkimpy(message: bytes, keys: Sequence[SigningKey], folder: Path, index: int = 0) -> bool:
    records = {f"{key.dns_name}.".encode(): key.dns_record.encode() for key in keys}
    try:
        return bool(dkim.DKIM(message).verify(index, dnsfunc=lambda name, timeout: records.get(name)))
    except dkim.DKIMException:
        return False


def by_opendkim(message: bytes, keys: Sequence[SigningKey], folder: Path) -> bool:
    (folder / "keys").write_text("".join(f"{key.dns_name} {key.dns_record}\n" for key in keys))
    (folder / "conf").write_text(f"Mode v\nSyslog no\nTestPublicKeys {folder / 'keys'}\n")
    (folder / "message").write_bytes(message)
    done = subprocess.run(
        ["opendkim", "-x", folder / "conf", "-t", folder / "message"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return ") succeeded" in done.stdout


def by_mail_dkim(message: bytes, keys: Sequence[SigningKey], folder: Path) -> bool:
    (folder / "zone").write_text("".join(f"{key.zone_line()}\n" for key in keys))
    script = Path(__file__).with_name("verify.pl")
    done = subprocess.run(["perl", script, folder / "zone"], input=message, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.startswith((b"rsa-sha256 pass", b"ed25519-sha256 pass"))


OPENDKIM, MAIL_DKIM = pytest.mark.peer("opendkim"), pytest.mark.peer("libmail-dkim-perl")
VERIFIERS = pytest.mark.parametrize(
    ("verify", "algorithm"),
    [
        pytest.param(by_dkimpy, Algorithm.RSA, id="dkimpy-rsa"),
        pytest.param(by_dkimpy, Algorithm.ED25519, id="dkimpy-ed25519"),
        pytest.param(by_opendkim, Algorithm.RSA, id="opendkim-rsa", marks=OPENDKIM),
        pytest.param(by_opendkim, Algorithm.ED25519, id="opendkim-ed25519", marks=OPENDKIM),
        pytest.param(by_mail_dkim, Algorithm.RSA, id="mail-dkim-rsa", marks=MAIL_DKIM),  # it knows no Ed25519 yet
    ],
)


@pytest.fixture(scope="session")
def keys(rsa_key: SigningKey, ed25519_key: SigningKey) -> dict[Algorithm, SigningKey]:
    return {key.algorithm: key for key in (rsa_key, ed25519_key)}


def signed(message: bytes, keys: Iterable[SigningKey]) -> bytes:
    """The message as it arrives: signed as it is, and a last CRLF added where it had none, as transmission does."""
    header, _, body = message.partition(b"\r\n\r\n")
    end = b"" if message.endswith(b"\r\n") else b"\r\n"
    body_hash = RelaxedBodyHash()
    body_hash.update(body)
    return Signer(tuple(keys)).sign(header + b"\r\n", body_hash.digest(), NOW) + message + end


@VERIFIERS
@pytest.mark.parametrize("name", HARD_MESSAGES)
def test_verifiers_accept_what_we_sign(
    verify: Verifier, algorithm: Algorithm, name: str, keys: dict[Algorithm, SigningKey], tmp_path: Path
) -> None:
    sent = signed(HARD_MESSAGES[name], [keys[algorithm]])
    assert verify(sent, list(keys.values()), tmp_path)


@VERIFIERS
@pytest.mark.parametrize("name", ATTACKS)
def test_verifiers_refuse_a_message_changed_by_an_attacker(
    verify: Verifier, algorithm: Algorithm, name: str, keys: dict[Algorithm, SigningKey], tmp_path: Path
) -> None:
    sent = signed(HARD_MESSAGES["bulk"], [keys[algorithm]])
    changed = ATTACKS[name](sent)
    assert changed != sent
    assert not verify(changed, list(keys.values()), tmp_path)


@VERIFIERS
@pytest.mark.parametrize("name", TRANSIT)
def test_verifiers_accept_what_relays_do_in_passing(
    verify: Verifier, algorithm: Algorithm, name: str, keys: dict[Algorithm, SigningKey], tmp_path: Path
) -> None:
    sent = signed(HARD_MESSAGES["bulk"], [keys[algorithm]])
    changed = TRANSIT[name](sent)
    assert changed != sent
    assert verify(changed, list(keys.values()), tmp_path)


@VERIFIERS
def test_verifiers_refuse_a_signature_by_another_key(
    verify: Verifier, algorithm: Algorithm, keys: dict[Algorithm, SigningKey], tmp_path: Path
) -> None:
    sent = signed(HARD_MESSAGES["plain"], [keys[algorithm]])
    others = [SigningKey.parse("example.com", key.selector, pem) for key, pem in _other_keys(keys.values())]
    assert not verify(sent, others, tmp_path)


def _other_keys(keys: Iterable[SigningKey]) -> list[tuple[SigningKey, bytes]]:
    return [(key, generate_rsa() if key.algorithm is Algorithm.RSA else generate_ed25519()) for key in keys]


@pytest.mark.parametrize("name", HARD_MESSAGES)
def test_both_signatures_of_a_message_verify(name: str, keys: dict[Algorithm, SigningKey], tmp_path: Path) -> None:
    sent = signed(HARD_MESSAGES[name], keys.values())
    assert all(by_dkimpy(sent, list(keys.values()), tmp_path, index) for index in (0, 1))


@pytest.mark.peer("libmail-dkim-perl")
def test_a_verifier_without_ed25519_still_finds_the_rsa_signature_first(
    keys: dict[Algorithm, SigningKey], tmp_path: Path
) -> None:
    assert by_mail_dkim(signed(HARD_MESSAGES["plain"], keys.values()), list(keys.values()), tmp_path)


FIELD_NAMES = st.sampled_from([b"To", b"cc", b"SUBJECT", b"Content-Type", b"X-Other", b"References", b"List-Id"])
FIELD_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from(" \t"), max_size=60
)
FOLDS = st.sampled_from([b"", b"\r\n ", b"\r\n\t", b"\r\n  \t"])
FIELDS = st.tuples(FIELD_NAMES, FIELD_TEXT, FOLDS, FIELD_TEXT).map(
    lambda parts: parts[0] + b":" + parts[1].encode() + parts[2] + parts[3].encode() + b"\r\n"
)
LINES = st.text(st.sampled_from("ab.= \t"), max_size=12).map(lambda line: line.encode() + b"\r\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(fields=st.lists(FIELDS, max_size=12), lines=st.lists(LINES, max_size=8))
def test_any_well_formed_message_verifies(
    fields: list[bytes], lines: list[bytes], ed25519_key: SigningKey, tmp_path: Path
) -> None:
    message = b"From: a@example.com\r\n" + b"".join(fields) + b"\r\n" + b"".join(lines)
    assert by_dkimpy(signed(message, [ed25519_key]), [ed25519_key], tmp_path)
