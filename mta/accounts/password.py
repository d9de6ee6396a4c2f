"""Passwords as argon2id hashes (RFC 9106), and secrets that people type. Slow on purpose: call it off the loop."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from mta.errors import MtaError
from mta.mail import ids

MAX_PASSWORD = 1024
"""Octets; longer ones are refused, so that hashing them is no way to keep us busy."""

# 19 MiB, two passes, one lane: OWASP's advice for argon2id, some 20 ms here
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
_SECRET_LETTERS = 32
_LEAST_OCTETS = 20  # 160 bits, what the letters hold


class CannotVerify(MtaError):
    """A password could not be compared with its hash: no memory, or a damaged hash."""


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return the PHC string of a password. Without a salt (16 octets) argon2 draws one.

    Raises:
        ValueError: the password is empty, or longer than `MAX_PASSWORD` octets.
    """
    octets = password.encode("utf-8")
    if not 0 < len(octets) <= MAX_PASSWORD:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} octets, not {len(octets)}")
    return _HASHER.hash(octets, salt=salt)


def verify_password(password_hash: str | None, password: bytes, decoy: str | None = None) -> bool:
    """Return whether a password belongs to a hash.

    Without a hash (unknown account, no password set) the same work is done on the decoy, and the answer is no.

    Raises:
        CannotVerify: for want of memory, or since the hash is none.
    """
    try:
        _HASHER.verify(password_hash or decoy or _DUMMY, password[:MAX_PASSWORD])
    except VerifyMismatchError:
        return False
    except (VerificationError, InvalidHashError) as error:
        raise CannotVerify(f"argon2: {error}") from None
    return password_hash is not None and len(password) <= MAX_PASSWORD


def generate_secret(octets: bytes) -> str:
    """Return 32 letters that are easy to type and need no quoting, made of at least 20 random octets.

    Raises:
        ValueError: too few octets.
    """
    if len(octets) < _LEAST_OCTETS:
        raise ValueError(f"a secret needs {_LEAST_OCTETS} random octets, not {len(octets)}")
    return ids.encode(int.from_bytes(octets[:_LEAST_OCTETS], "big"), _SECRET_LETTERS)
