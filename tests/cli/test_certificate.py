"""A self-signed certificate is what a verifying client of that name, trusting it, accepts."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mta.cli.certificate import Certificate, self_signed

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_LONG = f"{'a' * 60}.{'b' * 60}.example.com"


def _handshake(certificate: Certificate, hostname: str, folder: Path) -> None:
    """TLS through memory, the client verifying strictly; raises ssl.SSLError where it does not like what it sees."""
    file = folder / "both.pem"
    file.write_bytes(certificate.key_pem + certificate.cert_pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    asking = ssl.create_default_context(cadata=certificate.cert_pem.decode())
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=hostname)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("hostname", ["mail.example.com", "127.0.0.1", "::1", _LONG])
def test_a_client_that_trusts_it_accepts_the_hostname(hostname: str, tmp_path: Path) -> None:
    _handshake(self_signed(hostname, now=datetime.now(UTC), days=1), hostname, tmp_path)


def test_another_hostname_is_not_accepted(tmp_path: Path) -> None:
    certificate = self_signed("mail.example.com", now=datetime.now(UTC), days=1)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _handshake(certificate, "other.example.com", tmp_path)


def test_it_is_good_from_a_little_before_now_for_the_days_asked() -> None:
    cert = x509.load_pem_x509_certificate(self_signed("mail.example.com", now=_NOW, days=90).cert_pem)
    assert cert.not_valid_before_utc < _NOW
    assert cert.not_valid_after_utc == _NOW + timedelta(days=90)


def test_the_key_is_p256_and_each_one_is_new() -> None:
    first, second = (self_signed("mail.example.com", now=_NOW, days=1) for _ in range(2))
    public = x509.load_pem_x509_certificate(first.cert_pem).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    assert first.key_pem != second.key_pem


def test_the_private_key_is_not_shown_when_printed() -> None:
    assert "PRIVATE" not in repr(self_signed("mail.example.com", now=_NOW, days=1))


@pytest.mark.parametrize(("hostname", "days"), [("bücher.example", 1), ("", 1), ("mail.example.com", 0)])
def test_what_cannot_be_certified_is_refused(hostname: str, days: int) -> None:
    with pytest.raises(ValueError, match="certificate"):
        self_signed(hostname, now=_NOW, days=days)
