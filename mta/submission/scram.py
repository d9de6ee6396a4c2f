"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side of the exchange (RFC 5802, RFC 7677). Pure: no octets move.

Who a name is, and whether it may log in, is asked of a `Judge`. No message tells more than that the proof was wrong:
an unknown name, a name from the wrong place and a wrong password get the same answers after the same work.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, Self

from mta.accounts.saslprep import prepare
from mta.accounts.scram import Verifier
from mta.submission.sasl import Malformed, Proof

PLAIN_NAME = "SCRAM-SHA-256"
PLUS_NAME = "SCRAM-SHA-256-PLUS"
BINDING = "tls-server-end-point"
"""The one channel binding we can make (RFC 5929 §4): Python 3.11's ssl exports no keys."""

_FIRST = re.compile(
    r"(?P<header>(?P<flag>n|y|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<acts_as>[^,\0]+))?,)"
    r"(?P<bare>n=(?P<name>[^,\0]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^,\0]+)*)"
)
_FINAL = re.compile(
    r"(?P<without_proof>c=(?P<channel>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?P<more>(?:,[A-Za-z]=[^,\0]+)*))"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)


class Judge(Protocol):
    """Who knows the accounts."""

    def verifier(self, login: str) -> Verifier | None:
        """Return what a login is proven by, or a decoy; None when nothing is looked at now."""
        ...

    def admits(self, login: str, acts_as: str) -> bool:
        """Return whether somebody with the right password may log in so."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """What the exchange runs in."""

    wants_binding: bool
    """Whether the client chose the mechanism with -PLUS."""
    end_point: bytes | None
    """Its channel binding's data; None: -PLUS is not offered."""
    nonce: str
    """Printable letters without a comma that nobody can guess."""


@dataclass(frozen=True, slots=True)
class _First:
    """client-first-message."""

    header: str
    bare: str
    login: str
    acts_as: str
    nonce: str

    @classmethod
    def parse(cls, octets: bytes, channel: Channel) -> Self:
        found = _FIRST.fullmatch(_text(octets))
        # m= is reserved for extensions that must be understood: none is, and the grammar has no place for it
        if found is None:
            raise Malformed
        _check_binding(found["flag"], found["binding"], channel)
        acts_as = _name(found["acts_as"]) if found["acts_as"] else ""
        return cls(found["header"], found["bare"], _name(found["name"]), acts_as, found["nonce"])


def exchange(channel: Channel, judge: Judge) -> Generator[bytes, bytes, Proof]:
    """Carry it through: yields challenges, is sent answers, returns what was proven (RFC 5802 §3).

    Raises:
        Malformed: a message that no client makes, or a channel binding that was tampered with (RFC 5802 §6).
    """
    first = _First.parse((yield b""), channel)
    verifier = judge.verifier(first.login)
    if verifier is None:
        return Proof(first.login, first.acts_as, proves=False)
    nonce = first.nonce + channel.nonce
    challenge = f"r={nonce},s={_b64(verifier.salt)},i={verifier.iterations}"
    final = _FINAL.fullmatch(_text((yield challenge.encode("ascii"))))
    if final is None or ",m=" in final["more"]:
        raise Malformed
    data = channel.end_point if channel.wants_binding and channel.end_point is not None else b""
    fits = hmac.compare_digest(_unb64(final["channel"]), first.header.encode("utf-8") + data)
    fits &= hmac.compare_digest(final["nonce"].encode("ascii"), nonce.encode("ascii"))
    said = f"{first.bare},{challenge},{final['without_proof']}".encode()
    fits &= _is_proof(_unb64(final["proof"]), verifier, said)
    # the last word proves our side, and so that the password was right: it is for those alone who may log in
    if not judge.admits(first.login, first.acts_as) or not fits:
        return Proof(first.login, first.acts_as, proves=False)
    signature = hmac.digest(verifier.server_key, said, hashlib.sha256)
    # in a challenge of its own, which the client answers with nothing (RFC 4954 §4)
    if (yield f"v={_b64(signature)}".encode("ascii")):
        raise Malformed
    return Proof(first.login, first.acts_as, proves=True)


def _check_binding(flag: str, binding: str | None, channel: Channel) -> None:
    """Refuse what a client cannot truly say of channel binding (RFC 5802 §6)."""
    if (binding is not None) is not channel.wants_binding:
        raise Malformed("its mechanism and what it says of channel binding do not agree")
    if binding is not None and (binding != BINDING or channel.end_point is None):
        raise Malformed(f"it wants another channel binding than {BINDING}: let it use SCRAM-SHA-256 or PLAIN")
    if flag == "y" and channel.end_point is not None:
        raise Malformed("it was told that there is no channel binding: somebody between changed what we offer")


def _is_proof(proof: bytes, verifier: Verifier, said: bytes) -> bool:
    signature = hmac.digest(verifier.stored_key, said, hashlib.sha256)
    if len(proof) != len(signature):
        return False
    key = bytes(ours ^ theirs for ours, theirs in zip(signature, proof, strict=True))
    return hmac.compare_digest(hashlib.sha256(key).digest(), verifier.stored_key)


def _name(escaped: str) -> str:
    """Return a saslname as it was before its commas were escaped, prepared (RFC 5802 §5.1)."""
    if re.search("=(?!2C|3D)", escaped):
        raise Malformed
    try:
        name = prepare(escaped.replace("=2C", ",").replace("=3D", "="))
    except ValueError:
        raise Malformed from None
    if not name:
        raise Malformed
    return name


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed from None


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except binascii.Error:
        raise Malformed from None
