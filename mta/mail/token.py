"""The return path of each delivery, and the keyring that it and other tokens are made with.

A return path is proof that a bounce is about a delivery of ours: nobody else can make one (BATV's idea, with an
identifier inside). Its final form: the letter `b`, the key's id (2), the delivery's id (16) and a MAC of 100 bits (20),
in lower-case base 32: 39 octets, compared after case-folding, since some hosts change the case of a local part.

Deliveries that may share a transaction share a return path, which proves less: that a report is about one of them. It
is the letter `g`, the key's id (2), the message's id (16), the number of the group in it (2) and a MAC of 90 bits (18):
as long.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from mta.mail import ids

_MAC_LETTERS = 20
_GROUP_LETTERS = 2
_GROUP_MAC_LETTERS = 18
KEY_LETTERS = 2
"""Of a key's id, with which tokens begin."""
_SECRET_OCTETS = 32
_MAX_KEYS = 1024
MAX_GROUPS = 1024
"""Groups of one message that can have a return path of their own."""


@dataclass(frozen=True, slots=True)
class Key:
    """One secret of the keyring."""

    id: str
    """Two letters of the identifiers' alphabet."""
    created: datetime
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.id) != KEY_LETTERS or any(letter not in ids.ALPHABET for letter in self.id):
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
        while ids.encode(number, KEY_LETTERS) in taken:
            number = (number + 1) % _MAX_KEYS
        return type(self)((*self.keys, Key(ids.encode(number, KEY_LETTERS), at, secret)))

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


@dataclass(frozen=True, slots=True)
class GroupPath:
    """A return path that several deliveries of one message share; it was proved."""

    queue_id: str
    local_part: str
    """As it was made, whatever case it came back in."""


class ReturnPaths:
    """Makes and proves the local parts of return paths."""

    LETTER = "b"
    GROUP_LETTER = "g"

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._macs: dict[str, hmac.HMAC] = {}

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

    def make_shared(self, queue_id: str, group: int) -> str:
        """Return the local part for a group of a message's deliveries, which are numbered from 0; 39 octets.

        Raises:
            ValueError: there are no more than `MAX_GROUPS`.
        """
        if not 0 <= group < MAX_GROUPS:
            raise ValueError(f"group {group} is not one of {MAX_GROUPS}")
        key = self._keyring.newest
        named = queue_id + ids.encode(group, _GROUP_LETTERS)
        return self.GROUP_LETTER + key.id + named + self._group_mac(key, named)

    def prove_shared(self, local_part: str) -> GroupPath:
        """Return what a local part that `make_shared` made names.

        Raises:
            ValueError: it was not made with a key of this keyring.
        """
        text = local_part.lower() if local_part.isascii() else ""
        key_id, named, mac = text[1:3], text[3:21], text[21:]
        key = self._keyring.find(key_id) if text[:1] == self.GROUP_LETTER else None
        if key is None or not hmac.compare_digest(mac, self._group_mac(key, named)):
            raise ValueError("not a return path of ours")
        return GroupPath(named[: ids.LENGTH], text)

    def _mac(self, key: Key, delivery_id: str) -> str:
        # the label keeps this use of the secret apart from every other
        mac = self._macs.get(key.id)
        if mac is None:
            mac = self._macs[key.id] = hmac.new(key.secret, digestmod=hashlib.sha256)
        # a copy, since `hmac.digest` gives the interpreter's lock away, and getting it back takes twenty times longer
        mac = mac.copy()
        mac.update(f"return-path:{key.id}:{delivery_id}".encode())
        return ids.encode(int.from_bytes(mac.digest()[:13], "big") >> 4, _MAC_LETTERS)

    def _group_mac(self, key: Key, named: str) -> str:
        digest = hmac.digest(key.secret, f"shared-return-path:{key.id}:{named}".encode(), hashlib.sha256)
        return ids.encode(int.from_bytes(digest[:12], "big") >> 6, _GROUP_MAC_LETTERS)


def is_shared(local_part: str) -> bool:
    """Whether a return path that we made is a group's."""
    return local_part.startswith(ReturnPaths.GROUP_LETTER)
