"""The report field of each delivery: what a feedback report brings back says whose mail it is about, sealed."""

import base64
import hashlib
import hmac
import json

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import Struct

from mta.mail.token import KEY_LETTERS, Key, Keyring

REPORT_FIELD = "X-Report-Token"
"""Outside the signed fields, since every delivery has its own; feedback reports send it back with the message."""

_MAX_REPORT_TOKEN = 2000
# made once: `json.dumps` makes one a call for what is not its default
_JSON = json.JSONEncoder(ensure_ascii=False)


class ReportClaim(Struct, frozen=True):
    """What a report token says: enough to act when the delivery's rows are gone."""

    delivery_id: str
    account: str
    stream: str
    recipient: str
    """The mailbox as it was accepted."""


class ReportTokens:
    """Seals claims so that nobody else can make, change or read them (AES-SIV, RFC 5297, under a key of its own)."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._ciphers: dict[str, AESSIV] = {}

    def seal(self, claim: ReportClaim) -> str:
        """Return the token: the key's id, then base64url."""
        key = self._keyring.newest
        plain = _JSON.encode([claim.delivery_id, claim.account, claim.stream, claim.recipient])
        sealed = self._cipher(key).encrypt(plain.encode("utf-8"), [key.id.encode()])
        return key.id + base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, token: str) -> ReportClaim:
        """Return what a token says.

        Raises:
            ValueError: it was not made with a key of this keyring.
        """
        # mail systems fold long fields anywhere
        text = "".join(token.split())[:_MAX_REPORT_TOKEN]
        key = self._keyring.find(text[:KEY_LETTERS])
        if key is None or not text.isascii():
            raise ValueError("not a report token of ours")
        encoded = text[KEY_LETTERS:]
        try:
            sealed = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            plain = self._cipher(key).decrypt(sealed, [key.id.encode()])
            return ReportClaim(*map(str, json.loads(plain)))
        except (InvalidTag, ValueError, TypeError):
            raise ValueError("not a report token of ours") from None

    def _cipher(self, key: Key) -> AESSIV:
        cipher = self._ciphers.get(key.id)
        if cipher is None:
            cipher = self._ciphers[key.id] = AESSIV(hmac.digest(key.secret, b"report-token", hashlib.sha512))
        return cipher
