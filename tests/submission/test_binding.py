import base64
import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from mta.submission.binding import BoundContext, end_point_at, end_point_of

KEY = rsa.generate_private_key(65537, 2048)
# signed with SHA-1, which today's libraries read but do not make any more
SHA1_CERTIFICATE = base64.b64decode(
    "MIIBijCCATCgAwIBAgIURtQSRg2uKkUquHl2+xvQQD3ToKMwCQYHKoZIzj0EATAbMRkwFwYDVQQDDBBtYWlsLmV4YW1wbGUuY29tMB4XDTI2MT"
    "EyMjA2MTIyMVoXDTM2MTExOTA2MTIyMVowGzEZMBcGA1UEAwwQbWFpbC5leGFtcGxlLmNvbTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCjk"
    "3Gz4/zLyA7jHVLMb5alqPbyZMrzcgGNzR7eqy+8IMffnmk3Qx3LxqdeYUd+EnylYBqUgNxjvXThlmJH19mijUzBRMB0GA1UdDgQWBBQ3xF/SnG"
    "u/oOruxf02S9crE94KgjAfBgNVHSMEGDAWgBQ3xF/SnGu/oOruxf02S9crE94KgjAPBgNVHRMBAf8EBTADAQH/MAkGByqGSM49BAEDSQAwRgIh"
    "AJ48vdlRFb9sa/nxhQecB77vRElXuQy9yfiwE3j5KVY/AiEAvvFRLNCP20IEBZDdrjLbI8A11Djiqael1PaBp3Xi34w="
)


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
    *,
    pss: bool = False,
) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example.com")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    kind = padding.PSS(padding.MGF1(hashes.SHA512()), padding.PSS.DIGEST_LENGTH) if pss else None
    return builder.sign(key, algorithm, rsa_padding=kind).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("der", "algorithm"),
    [
        (certificate(KEY, hashes.SHA256()), "sha256"),
        (SHA1_CERTIFICATE, "sha256"),
        (certificate(KEY, hashes.SHA384()), "sha384"),
        (certificate(KEY, hashes.SHA512(), pss=True), "sha512"),
        (certificate(ec.generate_private_key(ec.SECP384R1()), hashes.SHA512()), "sha512"),
    ],
    ids=["rsa-sha256", "rsa-sha1", "rsa-sha384", "rsa-pss-sha512", "ecdsa-sha512"],
)
def test_the_end_point_is_the_certificates_hash_by_its_own_algorithm(der: bytes, algorithm: str) -> None:
    assert end_point_of(der) == hashlib.new(algorithm, der).digest()


def test_a_signature_without_a_hash_of_its_own_binds_nothing() -> None:
    assert end_point_of(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ASN|DER|parsing|certificate"):
        end_point_of(b"no certificate")


def test_a_connection_is_bound_to_the_context_it_was_begun_with() -> None:
    context = BoundContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mail.example.com").configure_cert(context)
    context.end_point = b"hash"
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def tls(using: ssl.SSLContext) -> ssl.SSLObject:
        return using.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)

    assert end_point_at(tls(context)) == b"hash"
    assert end_point_at(tls(plain)) is None
    assert end_point_at(None) is None
