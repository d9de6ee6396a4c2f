"""Keys: what is read, what is refused and how, what is published."""

import base64
from collections.abc import Callable
from dataclasses import replace

import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from mta.dkim.keys import Algorithm, SigningKey, generate_ed25519, generate_rsa

# Verifiers refuse 512 bits, and so does the library that would make such a key: openssl genrsa -traditional 512.
RSA_512 = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOwIBAAJBALRrnEEruOtPBJp5znLRqcVVN2cv8LvaSObCm/VmME2jnO5MG/iV
JyIuDvKkzajeU1kknlo/F5O0BQiz/MHhfd0CAwEAAQJAORGY2Vx1H6lc8Wf6D4OW
Sd8MqU0WvrTrPmLsZhEu0j+YMbMiy/4uxPC9to+CVrNZmSXE6e+NX1pflUyW//lA
AQIhAOhnRXwBdwno/2+ccjhFwxtZvyu1Wu5mUHm69q7H+4XdAiEAxr0sW6j1n7dl
xB8Ug6z7v8isFbUQIfqWUA5WFfpKWAECIQCcMmSJ/rYR7A5Z5k0CMyj5pe0NpFsU
JaHq3tTTDcen5QIgaQ9WJLpj5mPYK15WxOksSI03013dQmkrDvUVMxcWOAECIQC+
zZEGaILPpo6GdSPmYUIbf32+QFFW1qZa/PO2R3DoHg==
-----END RSA PRIVATE KEY-----
"""
NONE = NoEncryption()


def pem(key: rsa.RSAPrivateKey, form: PrivateFormat, encryption: KeySerializationEncryption = NONE) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption)


def load_rsa(octets: bytes) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(octets, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def test_an_rsa_key_is_published_as_subject_public_key_info(rsa_key: SigningKey, rsa_pem: bytes) -> None:
    name, _, record = rsa_key.dns_name, *rsa_key.dns_record.rpartition("v=DKIM1; k=rsa; p=")[1:]
    assert name == "r1._domainkey.example.com"
    public = load_der_public_key(base64.b64decode(record, validate=True))
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.public_numbers() == load_rsa(rsa_pem).public_key().public_numbers()


def test_an_ed25519_key_is_published_as_its_32_octets(ed25519_key: SigningKey) -> None:
    head, _, record = ed25519_key.dns_record.rpartition("p=")
    assert head == "v=DKIM1; k=ed25519; "
    Ed25519PublicKey.from_public_bytes(base64.b64decode(record, validate=True)).verify(
        ed25519_key.sign_digest(bytes(32)), bytes(32)
    )


def test_the_example_key_of_rfc_8463_gives_its_example_record() -> None:
    """RFC 8463 §A.2."""
    seed = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    octets = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NONE)
    key = SigningKey.parse("football.example.com", "brisbane", octets)
    assert key.dns_name == "brisbane._domainkey.football.example.com"
    assert key.dns_record == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_rsa_keys_are_read_in_both_forms_and_with_any_line_ends(
    form: PrivateFormat, line_end: bytes, rsa_pem: bytes, rsa_key: SigningKey
) -> None:
    octets = pem(load_rsa(rsa_pem), form).replace(b"\n", line_end)
    assert SigningKey.parse("example.com", "r1", octets) == rsa_key


@pytest.mark.parametrize(("bits", "weak"), [(1024, True), (2048, False)])
def test_a_short_rsa_key_is_accepted_but_called_weak(bits: int, weak: bool) -> None:
    key = SigningKey.parse("example.com", "r1", pem(rsa.generate_private_key(65537, bits), PrivateFormat.PKCS8))
    assert (key.bits, key.weak) == (bits, weak)


def test_an_ed25519_key_is_not_weak(ed25519_key: SigningKey) -> None:
    assert (ed25519_key.algorithm, ed25519_key.bits, ed25519_key.weak) == (Algorithm.ED25519, 256, False)


def _public(_: bytes) -> bytes:
    return Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _pkcs8(make: Callable[[], ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey]) -> bytes:
    return make().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NONE)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda octets: RSA_512, "512 bits"),
        (lambda octets: b"", "no usable private key"),
        (lambda octets: b"hello", "no usable private key"),
        (lambda octets: octets[:400], "no usable private key"),
        (lambda octets: octets.replace(b"A", b"B", 3), "no usable private key"),
        (_public, "public key"),
        (lambda octets: pem(load_rsa(octets), PrivateFormat.PKCS8, BestAvailableEncryption(b"x")), "passphrase"),
        (
            lambda octets: pem(load_rsa(octets), PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")),
            "passp",
        ),
        (lambda octets: _pkcs8(lambda: ec.generate_private_key(ec.SECP256R1())), "RSA and Ed25519 only"),
        (lambda octets: _pkcs8(ed448.Ed448PrivateKey.generate), "RSA and Ed25519 only"),
        (lambda octets: _pkcs8(lambda: dsa.generate_private_key(1024)), "RSA and Ed25519 only"),
    ],
)
def test_other_keys_are_refused_in_plain_words(make: Callable[[bytes], bytes], words: str, rsa_pem: bytes) -> None:
    with pytest.raises(ValueError, match=words):
        SigningKey.parse("example.com", "r1", make(rsa_pem))


@given(octets=st.binary(max_size=200))
def test_any_octets_give_a_value_error_that_does_not_quote_them(octets: bytes) -> None:
    framed = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(b"secret" + octets) + b"\n-----END PRIVATE KEY-----\n"
    for candidate in (octets, framed):
        with pytest.raises(ValueError, match="private key") as caught:
            SigningKey.parse("example.com", "r1", candidate)
        assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("domain", "selector"),
    [
        ("", "r1"),
        ("example.com", ""),
        ("exa mple.com", "r1"),
        ("example..com", "r1"),
        ("-a.example.com", "r1"),
        ("exämple.com", "r1"),
        ("example.com; x=1", "r1"),
        ("example.com\r\nBcc: a", "r1"),
        ("example.com\n", "r1"),
        ("example.com", "r1;"),
        ("example.com", "a/../b"),
        ("a" * 64 + ".com", "r1"),
        (".".join(["a" * 60] * 4), "r1"),
    ],
)
def test_names_that_dns_or_a_header_could_not_carry_are_refused(domain: str, selector: str, rsa_pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"domain|selector"):
        SigningKey.parse(domain, selector, rsa_pem)


def test_names_are_kept_in_lower_case_without_a_final_dot(rsa_pem: bytes) -> None:
    assert SigningKey.parse("Example.COM.", "R1", rsa_pem).dns_name == "r1._domainkey.example.com"


def test_the_private_half_is_not_shown(rsa_key: SigningKey, rsa_pem: bytes) -> None:
    assert repr(rsa_key) == f"SigningKey(domain='example.com', selector='r1', algorithm={Algorithm.RSA!r})"


def test_two_keys_under_one_name_differ(ed25519_key: SigningKey) -> None:
    other = SigningKey.parse(ed25519_key.domain, ed25519_key.selector, generate_ed25519())
    assert other != ed25519_key
    assert replace(ed25519_key) == ed25519_key


@pytest.mark.parametrize("bits", [1024, 2047, 4097, 65536])
def test_no_rsa_key_is_made_that_receivers_may_refuse(bits: int) -> None:
    with pytest.raises(ValueError, match=str(bits)):
        generate_rsa(bits)


@pytest.mark.parametrize("ttl", [None, 300])
def test_a_zone_with_the_line_holds_the_record(ttl: int | None, rsa_key: SigningKey, ed25519_key: SigningKey) -> None:
    head = (
        "$ORIGIN example.com.\n$TTL 3600\n@ IN SOA ns.example.com. h.example.com. 1 1 1 1 1\n@ IN NS ns.example.com.\n"
    )
    lines = "".join(f"{key.zone_line(ttl)}\n" for key in (rsa_key, ed25519_key))
    zone = dns.zone.from_text(head + lines, relativize=False)
    for key in (rsa_key, ed25519_key):
        records = zone.find_rdataset(f"{key.dns_name}.", dns.rdatatype.TXT)
        assert records.ttl == ttl or (ttl is None and records.ttl == 3600)
        assert b"".join(records[0].strings) == key.dns_record.encode()


def test_a_record_longer_than_255_octets_is_cut_into_strings_of_255(rsa_key: SigningKey) -> None:
    strings = rsa_key.zone_line().split('"')[1::2]
    assert [len(part) for part in strings] == [255, len(rsa_key.dns_record) - 255]
