"""Signing: the header octets and the body's hash become DKIM-Signature fields (RFC 6376 §5, RFC 8463).

The only module that calls dkimpy, which reads, selects and canonicalises header fields; it is called as it is and
never patched. Its RSA (pure Python), its body canonicaliser (quadratic) and its clock are not used. Adding Date,
Message-ID and the like belongs before this; nothing may change a signed field or the body after it.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Self

from dkim import DKIMException, rfc822_parse, select_headers
from dkim.canonicalization import Relaxed

from mta.dkim.keys import Algorithm, SigningKey

_COLUMNS = 76  # RFC 5322 §2.1.1 asks for 78 at most; fold with room to spare
_QUOTED_MAX = 60
_REMEMBERED = 256
"""Sets of field names."""
# as long as what takes their place; neither can stand in a domain or a selector
_TIME = b"{{{time}}}"
_HASH = b"{" * 20 + b"hash" + b"}" * 20
_FIELD_NAME = re.compile(rb"[\x21-\x7e]+?:|\Z")


class SigningError(ValueError):
    """The header section cannot be signed; says why, and quotes the start of the offending line."""


@dataclass(frozen=True, slots=True)
class HeaderPolicy:
    """Which fields a signature covers; all names in lower case.

    Every occurrence of a `signed` field is covered. An *oversigned* field is named once more than it occurs, so that
    none can be added either, nor an absent one put in, without breaking the signature (RFC 6376 §5.4.2, §8.15).
    """

    signed: tuple[str, ...]
    """In the order in which h= names them; From is among them."""
    oversigned: frozenset[str]
    """Oversigned whether present or not."""
    oversigned_if_present: frozenset[str]
    """Oversigned only where the message has one."""

    def __post_init__(self) -> None:
        """Refuse a policy that no verifier would accept, or that silently does less than it says."""
        if "from" not in self.signed:
            raise ValueError("a DKIM signature must cover From (RFC 6376 §5.4)")
        if unsigned := (self.oversigned | self.oversigned_if_present) - set(self.signed):
            raise ValueError(f"oversigned but not signed: {', '.join(sorted(unsigned))}")

    def names(self, present: Iterable[bytes]) -> list[bytes]:
        """The names for h=, repeated as needed, given the lower-case name of each field present."""
        counts = Counter(present)
        names: list[bytes] = []
        for text in self.signed:
            name = text.encode("ascii")
            more = text in self.oversigned or (text in self.oversigned_if_present and counts[name] > 0)
            names += [name] * (counts[name] + more)
        return names


DEFAULT_POLICY = HeaderPolicy(
    # Not here, for relays change or add them: Received, Return-Path, Resent-*, Bcc, Precedence, Auto-Submitted, X-*.
    signed=(
        *("from", "to", "cc", "subject", "date", "message-id", "reply-to", "sender", "in-reply-to", "references"),
        *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
        *("content-description", "content-id", "list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post"),
        *("list-subscribe", "list-post", "list-owner", "list-archive", "feedback-id"),
    ),
    # What a replayed message would be dressed up with: what readers see, and what says how the body is to be read.
    oversigned=frozenset(
        (
            *("from", "to", "cc", "subject", "date", "message-id", "reply-to"),
            *("mime-version", "content-type", "content-transfer-encoding"),
        )
    ),
    # A second way out beside ours would be an attack, but a mailing list may put its own where we had none
    # (RFC 8058 §4 wants both covered where they stand).
    oversigned_if_present=frozenset(("list-unsubscribe", "list-unsubscribe-post")),
)
"""The fields that carry meaning for the reader; see the comments for what is left out and why."""


class Signer:
    """Signs with each of its keys, by relaxed/relaxed, without l= and x=. Threads may share it."""

    def __init__(self, keys: Sequence[SigningKey], policy: HeaderPolicy = DEFAULT_POLICY) -> None:
        if not keys:
            raise ValueError("a signer needs at least one DKIM key")
        self._keys = tuple(sorted(keys, key=lambda key: key.algorithm is not Algorithm.RSA))
        self._policy = policy
        self._wanted = frozenset(name.encode("ascii") for name in policy.signed)
        self._plan = lru_cache(_REMEMBERED)(self._planned)

    def sign(self, header: bytes, body_hash: bytes, at: datetime) -> bytes:
        """The DKIM-Signature fields, one a key and RSA first, each with its CRLF, to be put on top of the message.

        `header` is the header section with CRLF line ends and without the empty line; `body_hash` the 32 octets of
        `RelaxedBodyHash`; `at` an aware time. SigningError when the header is no sequence of fields or has no From.
        A repeated field is covered from the bottom up (RFC 6376 §5.4.2).
        """
        if len(body_hash) != hashlib.sha256().digest_size:
            raise ValueError(f"a body hash of {len(body_hash)} octets; SHA-256 has 32")
        if at.tzinfo is None:
            raise ValueError(f"time {at.isoformat()} has no zone")
        wanted = [(name, value) for name, value in _fields(header) if name.lower() in self._wanted]
        canonical = Relaxed.canonicalize_headers(wanted)
        plan = self._plan(tuple(name for name, _ in canonical))
        hashed = hashlib.sha256(b"".join(b"%b:%b" % canonical[place] for place in plan.places))
        return b"".join(
            _signature(key, form, body_hash, int(at.timestamp()), hashed.copy())
            for key, form in zip(self._keys, plan.forms, strict=True)
        )

    def _planned(self, present: tuple[bytes, ...]) -> "_Plan":
        """What follows from the names of the fields alone: the same for all letters of an application."""
        if b"from" not in present:
            raise SigningError("the header has no From field; a DKIM signature must cover one")
        names = self._policy.names(present)
        numbered = [(name, place) for place, name in enumerate(present)]
        places = tuple(place for _, place in select_headers(numbered, names))
        return _Plan(places, tuple(_Form.of(key, names) for key in self._keys))


@dataclass(frozen=True, slots=True)
class _Form:
    """A DKIM-Signature field up to its b=, with room for the time and the body's hash, whose lengths are known."""

    as_sent: bytes
    canonical: bytes

    @classmethod
    def of(cls, key: SigningKey, names: Sequence[bytes]) -> Self:
        tags = [
            *("v=1;", f" a={key.algorithm};", " c=relaxed/relaxed;", f" d={key.domain};", f" s={key.selector};"),
            f" t={_TIME.decode('ascii')};",
            *_header_names(names),
            f" bh={_HASH.decode('ascii')};",
        ]
        # b= has a line of its own, so that its length does not move what was hashed before it.
        unsigned = b"DKIM-Signature: " + _fold(tags, len("DKIM-Signature: ")) + b"\r\n b="
        ((name, value),) = Relaxed.canonicalize_headers([unsigned.split(b":", 1)])
        return cls(unsigned, name + b":" + value.removesuffix(b"\r\n"))


@dataclass(frozen=True, slots=True)
class _Plan:
    places: tuple[int, ...]
    """Of the fields that are hashed, in their order, among those that the policy wants signed."""
    forms: tuple[_Form, ...]
    """One a key."""


def _fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """Name and value of each field, in order. dkimpy is lenient where another verifier is not: those cases first."""
    if not header.count(b"\r\n") == header.count(b"\n") == header.count(b"\r"):
        raise SigningError("the header has a bare CR or LF")
    if b"\r\n\r\n" in header or header.startswith(b"\r\n"):
        raise SigningError("the header has an empty line inside or after it")
    if header.startswith((b" ", b"\t")):
        raise SigningError(f"the header begins with a continuation line: {_quoted(header)}")
    if header.startswith(b"From ") or b"\r\nFrom " in header:
        raise SigningError('a line begins with "From " where a field name and a colon belong')
    # Unfolded beforehand, which relaxed does anyway: dkimpy joins continuation lines in quadratic time.
    unfolded = header.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    try:
        fields, _ = rfc822_parse(unfolded)
    except DKIMException:
        bad = next(line for line in unfolded.split(b"\r\n") if not _FIELD_NAME.match(line))
        raise SigningError(f"not a header field: {_quoted(bad)}") from None
    return [(name, value) for name, value in fields]


def _quoted(line: bytes) -> str:
    return repr(line[:_QUOTED_MAX].decode("ascii", "backslashreplace"))


def _signature(key: SigningKey, form: _Form, body_hash: bytes, at: int, hashed: "hashlib._Hash") -> bytes:
    """One field. `hashed` has the signed fields; this one follows with an empty b= and no CRLF (RFC 6376 §3.7)."""
    when, body = b"%010d" % at, base64.b64encode(body_hash)
    hashed.update(form.canonical.replace(_TIME, when).replace(_HASH, body))
    text = base64.b64encode(key.sign_digest(hashed.digest()))
    chunks = [text[start : start + _COLUMNS - 4] for start in range(0, len(text), _COLUMNS - 4)]
    return form.as_sent.replace(_TIME, when).replace(_HASH, body) + b"\r\n ".join(chunks) + b"\r\n"


def _header_names(names: Sequence[bytes]) -> Iterator[str]:
    """The h= tag in pieces between which it may be folded."""
    for position, name in enumerate(names):
        yield (" h=" if position == 0 else "") + name.decode("ascii") + (";" if position == len(names) - 1 else ":")


def _fold(pieces: Iterable[str], column: int) -> bytes:
    """The pieces in a row, folded before one that would pass the right margin; none is ever cut."""
    text: list[str] = []
    for piece in pieces:
        if column + len(piece) > _COLUMNS and text:
            piece = piece.lstrip(" ")
            text.append("\r\n ")
            column = 1
        text.append(piece)
        column += len(piece)
    return "".join(text).encode("ascii")
