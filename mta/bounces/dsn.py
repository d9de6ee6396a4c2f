"""Delivery status notifications that we write (RFC 3464, RFC 6522, RFC 6533): facts in, octets out.

When one is due, to whom it goes and that its reverse-path is null is the queue's to decide; the words for people are in
`wording`. Nearly everything in here is text that a stranger chose (a host's reply, a subject, an ENVID): it is cleaned,
cut and folded on its way in, so that it can begin neither a field nor a part.
"""

import base64
import binascii
import hashlib
import re
import textwrap
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header
from email.utils import format_datetime

from msgspec import Struct

from mta.bounces.wording import Explanation, explain, span
from mta.mail.address import Mailbox
from mta.mail.envelope import BodyType, Recipient, Return
from mta.mail.header import MAX_LINE, Header, field
from mta.mail.reply import Reply, clean

RETURN_LIMIT = 64 * 1024
"""Octets of a message that are sent back: a larger one comes back as its header, and of a larger header the top."""

_MAX_VALUE = 2000
_MAX_WORD = 240  # letters; as UTF-8 and behind the longest field name they still fit on a line
_MAX_SUBJECT = 150
_MAX_ADDRESS = 900
_WIDTH = 72
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,240}>")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


class DsnFacts(Struct, frozen=True):
    """Everything that a notification about one delivery tells."""

    hostname: str
    """Ours: the reporting MTA."""
    dsn_id: str
    """The left side of the notification's own Message-ID; new each time."""
    reverse_path: Mailbox
    """Where the notification goes."""
    recipient: Recipient
    reply: Reply
    """The last reply, whoever gave it."""
    arrived_at: datetime
    attempted_at: datetime
    original_header: bytes
    delayed: bool = False
    """Late, and still tried; else it failed for good."""
    relayed: bool = False
    """It went to a host that will not notify: as far as we can follow it, all is well (RFC 3461 §5.2.2)."""
    expired: bool = False
    """It failed by being given up after its time."""
    will_retry_until: datetime | None = None
    remote_mta: str | None = None
    """The host that gave the reply; None when the reply is our own."""
    envid: str | None = None
    """As the client meant it, xtext decoded."""
    smtputf8: bool = False
    """Whether the original was submitted with SMTPUTF8, so that its sender can read UTF-8."""
    ret: Return | None = None
    original_body: tuple[bytes, ...] | None = None
    """The body in pieces; None when it is not at hand. Looked at only when `ret` asks for all of the message."""


@dataclass(frozen=True, slots=True)
class DsnMessage:
    """A notification, ready for the queue. All line ends are CRLF; its reverse-path must be null."""

    header: bytes
    """Without the blank line behind it."""
    body: bytes
    message_id: str
    body_type: BodyType
    """`8BITMIME` only when UTF-8 or 8-bit content is sent back."""
    smtputf8: bool
    """Whether the address that it goes to needs SMTPUTF8."""


def compose(facts: DsnFacts, now: datetime) -> DsnMessage:
    """Write the notification about one delivery."""
    returned = _whole(facts) or _Returned(_top(facts.original_header))
    international = facts.smtputf8 and not (_addresses_are_ascii(facts) and returned.octets.isascii())
    parts = (_human_part(facts, now), _status_part(facts, international), _returned_part(returned, international))
    boundary = _boundary(parts)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    message_id = f"<{facts.dsn_id}@{facts.hostname}>"
    return DsnMessage(
        _header(facts, now, message_id, boundary.decode("ascii")),
        body,
        message_id,
        BodyType.SEVEN_BIT if body.isascii() else BodyType.EIGHT_BIT,
        smtputf8=not facts.reverse_path.is_ascii,
    )


def _header(facts: DsnFacts, now: datetime, message_id: str, boundary: str) -> bytes:
    about = "Delayed mail" if facts.delayed else "Relayed mail" if facts.relayed else "Undelivered mail"
    subject = _subject(facts.original_header)
    # RFC 3834 §5 for Auto-Submitted
    fields = [
        field("From", f"Mail Delivery System <MAILER-DAEMON@{facts.hostname}>"),
        field("To", f"<{clean(str(facts.reverse_path))}>"),
        field("Subject", f"{about}: {_encoded_words(subject)}" if subject else about),
        field("Date", format_datetime(now)),
        field("Message-ID", message_id),
        *_references(facts.original_header),
        field("Auto-Submitted", "auto-replied"),
        field("MIME-Version", "1.0"),
        field("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
    ]
    return b"".join(fields)


def _references(header: bytes) -> list[bytes]:
    found = Header.parse(header[:RETURN_LIMIT]).first("Message-ID")
    if found is None or not _MESSAGE_ID.fullmatch(found.text):
        return []
    return [field(name, found.text) for name in ("In-Reply-To", "References")]


def _boundary(parts: tuple[bytes, ...]) -> bytes:
    """Return a boundary that is in no part; who writes a part cannot know it, since it depends on what they write."""
    seed = hashlib.sha256(b"\0".join(parts)).digest()
    while True:
        boundary = b"dsn-" + seed.hex()[:40].encode("ascii")
        if not any(boundary in part for part in parts):
            return boundary
        seed = hashlib.sha256(seed).digest()


# the first part: for people


def _human_part(facts: DsnFacts, now: datetime) -> bytes:
    text = "\r\n".join(_human_lines(facts, now)) + "\r\n"
    octets = text.encode("utf-8")
    if text.isascii():
        return _part("text/plain; charset=us-ascii", "7bit", octets)
    return _part("text/plain; charset=utf-8", "quoted-printable", binascii.b2a_qp(octets))


def _human_lines(facts: DsnFacts, now: datetime) -> list[str]:
    words = explain(facts.reply)
    return [
        f"This is the mail system at {facts.hostname}.",
        "",
        *_wrapped(_opening(facts, span(now - facts.arrived_at))),
        "",
        *_about(facts),
        "",
        *([] if facts.relayed else _problem(facts, words)),
        f"In the words of the mail server {_fit(facts.remote_mta)}:"
        if facts.remote_mta
        else "For the administrator, in the words of our own server:",
        "",
        *(f"    {line}" for line in _wrapped(_fit(str(facts.reply)))),
    ]


def _problem(facts: DsnFacts, words: Explanation) -> list[str]:
    late = facts.delayed or facts.expired
    advice = "Nothing now. You will hear again if it fails for good." if facts.delayed else words.advice
    return [
        *_wrapped(f"{'The last problem' if late else 'Why'}: {words.why}"),
        "",
        *_wrapped(f"What you can do: {advice}"),
        "",
    ]


def _opening(facts: DsnFacts, age: str) -> str:
    if facts.relayed:
        return (
            "Your message was handed over to the recipient's mail server, which does not confirm deliveries. "
            "You will not hear of a delivery."
        )
    if facts.delayed:
        return f"Your message has not been delivered for {age}. You need not send it again: we keep trying."
    tried = f" It was tried for {age}." if facts.expired else ""
    return f"Your message could not be delivered.{tried} It will not be tried again."


def _about(facts: DsnFacts) -> list[str]:
    subject = _subject(facts.original_header)
    until = facts.will_retry_until if facts.delayed else None
    facts_of_it = (
        ("To", f"<{clean(str(facts.recipient.mailbox))}>"),
        ("Subject", subject),
        ("Sent", format_datetime(facts.arrived_at)),
        ("Tried until", format_datetime(until) if until else ""),
    )
    return [f"    {name + ':':<13}{value}" for name, value in facts_of_it if value]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def _subject(header: bytes) -> str:
    """Return the original's subject as people read it, cut; empty when it has none."""
    found = Header.parse(header[:RETURN_LIMIT]).first("Subject")
    if found is None:
        return ""
    # cut before it is decoded too: some decoders are slow on long input
    text = found.text[:1000]
    with suppress(LookupError, ValueError, MessageError):  # then it is shown as it came
        text = "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in decode_header(text)
        )
    fitted = _fit(text)
    return fitted if len(fitted) <= _MAX_SUBJECT else fitted[: _MAX_SUBJECT - 3] + "..."


def _encoded_words(text: str) -> str:
    """Return text for a field of ours: as it is, or as encoded words (RFC 2047 §2) of at most 75 letters."""
    if text.isascii() and "=?" not in text:
        return text
    chunks = [""]
    for letter in text:
        if len((chunks[-1] + letter).encode("utf-8")) > 45:
            chunks.append("")
        chunks[-1] += letter
    return " ".join(f"=?utf-8?b?{base64.b64encode(chunk.encode('utf-8')).decode('ascii')}?=" for chunk in chunks)


# the second part: for programs (RFC 3464 §2)


def _status_part(facts: DsnFacts, international: bool) -> bytes:
    message = [("Reporting-MTA", f"dns; {facts.hostname}")]
    if facts.envid is not None:
        message += [("Original-Envelope-Id", _ascii(_fit(facts.envid)))]
    message += [("Arrival-Date", format_datetime(facts.arrived_at))]
    recipient = _recipient_fields(facts, international)
    octets = b"\r\n".join(b"".join(field(*one) for one in block) for block in (message, recipient))
    kind = "message/global-delivery-status" if international else "message/delivery-status"
    return _part(kind, _encoding(octets), octets)


def _recipient_fields(facts: DsnFacts, international: bool) -> list[tuple[str, str]]:
    kind, semicolon, address = (facts.recipient.orcpt or "").partition(";")
    original = _typed(kind.strip(), _fit(address.strip()), international)
    fields = []
    # a client may say anything here; cut, it would be another address
    if semicolon and len(original.encode("utf-8")) <= _MAX_ADDRESS:
        fields += [("Original-Recipient", original)]
    fields += [
        ("Final-Recipient", _typed("rfc822", clean(str(facts.recipient.mailbox)), international)),
        ("Action", "delayed" if facts.delayed else "relayed" if facts.relayed else "failed"),
        ("Status", _status(facts)),
    ]
    # what we say ourselves is no diagnostic of SMTP; Status and the first part tell it
    if facts.remote_mta:
        fields += [
            ("Remote-MTA", f"dns; {_ascii(_fit(facts.remote_mta))}"),
            ("Diagnostic-Code", f"smtp; {_ascii(_fit(str(facts.reply)))}"),
        ]
    fields += [("Last-Attempt-Date", format_datetime(facts.attempted_at))]
    if facts.delayed and facts.will_retry_until:
        fields += [("Will-Retry-Until", format_datetime(facts.will_retry_until))]
    return fields


def _status(facts: DsnFacts) -> str:
    """Return the status that agrees with the action, whatever class the last reply was in (RFC 3464 §2.3.4)."""
    if facts.expired and not facts.delayed:
        # "delivery time expired" (RFC 3463 §3.5), for good
        return "5.4.7"
    klass = 4 if facts.delayed else 2 if facts.relayed else 5
    status = facts.reply.status
    return str(status) if status is not None and status.klass == klass else f"{klass}.0.0"


def _typed(kind: str, address: str, international: bool) -> str:
    """Return `type;address`, as type utf-8 where it is not ASCII (RFC 6533 §3).

    Letters beyond ASCII stay where UTF-8 may stand; elsewhere they are escaped.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", kind):
        kind = "unknown"
    if kind.lower() != "utf-8" and address.isascii():
        return f"{kind};{address}"
    # a client's address of that type has its escapes already
    special = "" if kind.lower() == "utf-8" else "+=\\"

    def stays(letter: str) -> bool:
        return ("!" <= letter <= "~" and letter not in special) or (international and letter > "\x7f")

    return "utf-8;" + "".join(letter if stays(letter) else f"\\x{{{ord(letter):02X}}}" for letter in address)


# the third part: what comes back (RFC 3461 §4.3)


@dataclass(frozen=True, slots=True)
class _Returned:
    octets: bytes
    whole: bool = False


def _whole(facts: DsnFacts) -> _Returned | None:
    """Return the whole original, if the client asked for it and it is small and fit to be sent."""
    if facts.delayed or facts.relayed or facts.ret is not Return.FULL or facts.original_body is None:
        return None
    if len(facts.original_header) + 2 + sum(map(len, facts.original_body)) > RETURN_LIMIT:
        return None
    octets = facts.original_header + b"\r\n" + b"".join(facts.original_body)
    return _Returned(octets, whole=True) if _is_mailable(octets) else None


def _top(header: bytes) -> bytes:
    kept, left = [], RETURN_LIMIT
    for one in Header.parse(_BARE.sub(b"?", header)).fields:
        left -= len(one.raw)
        if left < 0:
            break
        kept.append(one.raw)
    return b"".join(kept)


def _returned_part(returned: _Returned, international: bool) -> bytes:
    octets = returned.octets
    if returned.whole:
        return _part("message/global" if international else "message/rfc822", _encoding(octets), octets)
    if international and _is_mailable(octets) and _is_utf8(octets):
        return _part("message/global-headers", _encoding(octets), octets)
    if octets.isascii() and _is_mailable(octets):
        return _part("text/rfc822-headers", "7bit", octets)
    charset = "; charset=utf-8" if _is_utf8(octets) else ""
    return _part(f"text/rfc822-headers{charset}", "quoted-printable", binascii.b2a_qp(octets))


def _is_mailable(octets: bytes) -> bool:
    return not _BARE.search(octets) and max(map(len, octets.split(b"\r\n"))) <= MAX_LINE


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _part(kind: str, encoding: str, octets: bytes) -> bytes:
    return field("Content-Type", kind) + field("Content-Transfer-Encoding", encoding) + b"\r\n" + octets


def _encoding(octets: bytes) -> str:
    return "7bit" if octets.isascii() else "8bit"


def _addresses_are_ascii(facts: DsnFacts) -> bool:
    return facts.recipient.mailbox.is_ascii and (facts.recipient.orcpt or "").isascii()


def _fit(text: str) -> str:
    """Return text that any field of ours can hold: on one line, without controls, cut where it is too long."""
    words = (word[:_MAX_WORD] for word in clean(" ".join(text.split())).split(" "))
    return " ".join(words)[:_MAX_VALUE].rstrip(" ")


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
