"""Keys for the DKIM tests, made once a session, for RSA keys take their time."""

import pytest

from mta.dkim.keys import SigningKey, generate_ed25519, generate_rsa


@pytest.fixture(scope="session")
def rsa_pem() -> bytes:
    return generate_rsa()


@pytest.fixture(scope="session")
def rsa_key(rsa_pem: bytes) -> SigningKey:
    return SigningKey.parse("example.com", "r1", rsa_pem)


@pytest.fixture(scope="session")
def ed25519_key() -> SigningKey:
    return SigningKey.parse("example.com", "e1", generate_ed25519())
