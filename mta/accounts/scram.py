"""What a SCRAM-SHA-256 password is proven with: a verifier, kept instead of the password (RFC 5802 §3, RFC 7677).

Who holds a verifier can imitate the server, and can guess at the password quicker than with argon2; it cannot log in.
The exchange itself is the submission listener's.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Self

from mta.accounts.saslprep import prepare

ITERATIONS = 4096
"""Rounds of PBKDF2 in verifiers that we make: the least that RFC 7677 §4 allows; passwords of ours are random."""
SALT_OCTETS = 16

_SCHEME = "SCRAM-SHA-256"
_KEY_OCTETS = 32
_MAX_ITERATIONS = 10_000_000
"""Clients have to do them: more is a mistake, or a way to keep them busy."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What the server keeps of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not ITERATIONS <= self.iterations <= _MAX_ITERATIONS:
            raise ValueError(f"a verifier has {ITERATIONS} to {_MAX_ITERATIONS} iterations, not {self.iterations}")
        if not self.salt:
            raise ValueError("a verifier without a salt")
        if (len(self.stored_key), len(self.server_key)) != (_KEY_OCTETS, _KEY_OCTETS):
            raise ValueError(f"a verifier's keys have {_KEY_OCTETS} octets each")

    @classmethod
    def make(cls, password: str, salt: bytes, iterations: int = ITERATIONS) -> Self:
        """Return the verifier of a password; `salt` are 16 random octets. Takes some milliseconds.

        Raises:
            ValueError: the password is empty or has characters that clients cannot send.
        """
        prepared = prepare(password, stored=True)
        if not prepared:
            raise ValueError("an empty password")
        salted = hashlib.pbkdf2_hmac("sha256", prepared.encode("utf-8"), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", hashlib.sha256)
        stored_key = hashlib.sha256(client_key).digest()
        return cls(iterations, salt, stored_key, hmac.digest(salted, b"Server Key", hashlib.sha256))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`, as PostgreSQL writes it too.

        Raises:
            ValueError: it is no verifier; the text is not quoted.
        """
        try:
            scheme, head, keys = text.split("$")
            iterations, salt = head.split(":")
            stored_key, server_key = keys.split(":")
            if scheme != _SCHEME or not (iterations.isascii() and iterations.isdigit() and len(iterations) < 10):
                raise ValueError
            octets = [
                binascii.a2b_base64(part.encode("ascii"), strict_mode=True) for part in (salt, stored_key, server_key)
            ]
        except ValueError:
            raise ValueError(
                f"not a verifier, which looks like {_SCHEME}$4096:…; make it with: mta account passwd"
            ) from None
        return cls(int(iterations), *octets)

    def dump(self) -> str:
        """Return what `parse` reads."""
        salt, stored_key, server_key = (
            base64.b64encode(octets).decode("ascii") for octets in (self.salt, self.stored_key, self.server_key)
        )
        return f"{_SCHEME}${self.iterations}:{salt}${stored_key}:{server_key}"


class Decoys:
    """Verifiers for names that nobody has: the same one for a name each time, so that nobody learns who exists."""

    def __init__(self, secret: bytes) -> None:
        """`secret` outlives a restart and is the same in all workers: the answer for a name must not change."""
        self._secret = secret

    def verifier(self, name: str, like: Verifier) -> Verifier:
        """Return a verifier that no password proves, of the same looks as another."""
        size = len(like.salt)
        octets = self._octets("salt", name)
        while len(octets) < size:
            octets += self._octets(f"salt {len(octets)}", name)
        return Verifier(like.iterations, octets[:size], self._octets("stored", name), self._octets("server", name))

    def _octets(self, use: str, name: str) -> bytes:
        # the label keeps this use of the secret apart from every other
        return hmac.digest(self._secret, f"scram-decoy:{use}:{name}".encode("utf-8", "surrogatepass"), hashlib.sha256)
