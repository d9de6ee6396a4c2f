"""Checks DKIM signatures the way a receiver does: with dkimpy and the keys found in DNS.

dkimpy checks Ed25519 with a library that the server does not need; here `cryptography` stands in for it, in a subclass.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LookUp = Callable[[str], str | None]
"""From a name to the text of its TXT record."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What one DKIM-Signature field is worth."""

    algorithm: str
    domain: str
    selector: str
    valid: bool


class _Ed25519Key:
    def __init__(self, public: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
        except InvalidSignature:
            raise dkim.ValidationError("ed25519 signature does not verify") from None


class _Dkim(dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    def verify_sig(
        self,
        sig: dict[bytes, bytes],
        include_headers: list[bytes],
        sig_header: tuple[bytes, bytes],
        dnsfunc: Callable[..., bytes | None],
    ) -> bool:
        if sig[b"a"] != b"ed25519-sha256":
            return bool(super().verify_sig(sig, include_headers, sig_header, dnsfunc))
        record = dnsfunc(sig[b"s"] + b"._domainkey." + sig[b"d"] + b".") or b""
        tags = dict(part.strip().split(b"=", 1) for part in record.split(b";") if b"=" in part)
        self.pk, self.keysize, self.ktag = _Ed25519Key(base64.b64decode(tags[b"p"])), 256, b"ed25519"
        self.seqtlsrpt = False
        return bool(self.verify_sig_process(sig, include_headers, sig_header, dnsfunc))


def verify(message: bytes, look_up: LookUp) -> list[Verified]:
    """Return what each signature of a message is worth, top to bottom; nothing for what is no message."""

    def dnsfunc(name: bytes, timeout: int = 5) -> bytes | None:
        record = look_up(name.decode("ascii").rstrip("."))
        return record.encode("ascii") if record is not None else None

    try:
        count = sum(1 for name, _ in _Dkim(message).headers if name.lower() == b"dkim-signature")
    except (dkim.MessageFormatError, IndexError):
        return []
    return [_one(message, index, dnsfunc) for index in range(count)]


def _one(message: bytes, index: int, dnsfunc: Callable[..., bytes | None]) -> Verified:
    checked = _Dkim(message)
    try:
        valid = bool(checked.verify(index, dnsfunc))
    except (dkim.DKIMException, KeyError, ValueError):
        valid = False
    fields = checked.signature_fields
    algorithm, domain, selector = (fields.get(tag, b"?").decode("ascii", "replace") for tag in (b"a", b"d", b"s"))
    return Verified(algorithm, domain, selector, valid)
