"""Keyed tokens: the return path and the report field of each delivery, and the keyring they are made with.

A return path is proof that a bounce is about a delivery of ours: nobody else can make one (BATV's idea, with an
identifier inside). Its final form: the letter `b`, the key's id (2), the delivery's id (16) and a MAC of 100 bits (20),
in lower-case base 32: 39 octets, compared after case-folding, since some hosts change the case of a local part.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from mta.mail import ids

_MAC_LETTERS = 20
_KEY_LETTERS = 2
_SECRET_OCTETS = 32
_MAX_KEYS = 1024


@dataclass(frozen=True, slots=True)
class Key:
    """One secret of the keyring."""

    id: str
    """Two letters of the identifiers' alphabet."""
    created: datetime
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.id) != _KEY_LETTERS or any(letter not in ids.ALPHABET for letter in self.id):
            raise ValueError(f"{self.id!r} is not a key id: two of {ids.ALPHABET}")
        if self.created.tzinfo is None:
            raise ValueError(f"key {self.id!r} has a time without a zone: {self.created.isoformat()}")
        if len(self.secret) < _SECRET_OCTETS:
            raise ValueError(f"key {self.id!r} has a secret of {len(self.secret)} octets; {_SECRET_OCTETS} are needed")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The secrets, oldest first. The newest makes tokens, all of them prove tokens."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("the keyring has no key")
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("the keyring has two keys of one id")

    @property
    def newest(self) -> Key:
        """The key that new tokens are made with."""
        return self.keys[-1]

    def find(self, key_id: str) -> Key | None:
        """Return the key of an id, or None."""
        return next((key for key in self.keys if key.id == key_id), None)

    def with_new(self, secret: bytes, at: datetime) -> Self:
        """Return a keyring in which a new key makes the tokens."""
        taken = {key.id for key in self.keys}
        if len(taken) >= _MAX_KEYS:
            raise ValueError(f"the keyring has {_MAX_KEYS} keys, which is all there can be: remove the oldest")
        number = (ids.decode(self.newest.id) + 1) % _MAX_KEYS
        while ids.encode(number, _KEY_LETTERS) in taken:
            number = (number + 1) % _MAX_KEYS
        return type(self)((*self.keys, Key(ids.encode(number, _KEY_LETTERS), at, secret)))

    @classmethod
    def new(cls, secret: bytes, at: datetime) -> Self:
        """Return a keyring with one key, made of 32 random octets."""
        return cls((Key("00", at, secret),))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the keyring's file (JSON).

        Raises:
            ValueError: it is no keyring; the message says why and shows no secret.
        """
        try:
            entries = json.loads(text)["keys"]
            keys: Iterable[Key] = [
                Key(
                    str(entry["id"]),
                    datetime.fromisoformat(entry["created"]),
                    base64.b64decode(entry["secret"], validate=True),
                )
                for entry in entries
            ]
        except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"not a keyring: {type(error).__name__}") from None
        return cls(tuple(keys))

    def dump(self) -> str:
        """Return what `parse` reads."""
        entries = [
            {"id": key.id, "created": key.created.isoformat(), "secret": base64.b64encode(key.secret).decode()}
            for key in self.keys
        ]
        return json.dumps({"keys": entries}, indent=2) + "\n"


class ReturnPaths:
    """Makes and proves the local parts of return paths."""

    LETTER = "b"

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def make(self, delivery_id: str) -> str:
        """Return the local part for a delivery, 39 octets."""
        key = self._keyring.newest
        return self.LETTER + key.id + delivery_id + self._mac(key, delivery_id)

    def prove(self, local_part: str) -> str:
        """Return the delivery's id that a local part names.

        Raises:
            ValueError: it was not made with a key of this keyring.
        """
        # only ASCII is folded: Unicode has letters that become ASCII ones, and no host made those of ours
        text = local_part.lower() if local_part.isascii() else ""
        key_id, delivery_id, mac = text[1:3], text[3:19], text[19:]
        key = self._keyring.find(key_id) if text[:1] == self.LETTER else None
        if key is None or not hmac.compare_digest(mac, self._mac(key, delivery_id)):
            raise ValueError("not a return path of ours")
        return delivery_id

    def _mac(self, key: Key, delivery_id: str) -> str:
        # the label keeps this use of the secret apart from every other
        digest = hmac.digest(key.secret, f"return-path:{key.id}:{delivery_id}".encode(), hashlib.sha256)
        return ids.encode(int.from_bytes(digest[:13], "big") >> 4, _MAC_LETTERS)


REPORT_FIELD = "X-Report-Token"
"""Outside the signed fields, since every delivery has its own; feedback reports send it back with the message."""

_MAX_REPORT_TOKEN = 2000


@dataclass(frozen=True, slots=True)
class ReportClaim:
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
        plain = json.dumps([claim.delivery_id, claim.account, claim.stream, claim.recipient], ensure_ascii=False)
        sealed = self._cipher(key).encrypt(plain.encode("utf-8"), [key.id.encode()])
        return key.id + base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, token: str) -> ReportClaim:
        """Return what a token says.

        Raises:
            ValueError: it was not made with a key of this keyring.
        """
        # mail systems fold long fields anywhere
        text = "".join(token.split())[:_MAX_REPORT_TOKEN]
        key = self._keyring.find(text[:_KEY_LETTERS])
        if key is None or not text.isascii():
            raise ValueError("not a report token of ours")
        encoded = text[_KEY_LETTERS:]
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
