"""What is taken off and put on a submitted message at the door (RFC 6409 §8, RFC 5321 §4.4). Pure.

Taken off: Bcc, Resent-Bcc, Return-Path, and our control fields `X-MTA-*` after they were read. Put on top: Received,
and Date and Message-ID where they are missing, or there without any value. Every other octet stays as it came. Who may
write as whom is decided by `submission.rules` with what is read here.

Whoever resends is an author too: Resent-From and Resent-Sender are read as strictly as From (RFC 5322 §3.6.6). They
excuse no foreign From, by which alone receivers judge a message.
"""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

from msgspec import Struct

from mta.mail import failures
from mta.mail.address import Mailbox, parse_domain
from mta.mail.header import MAX_LINE, Field, Header, field, has_whole_line_ends, read_name
from mta.mail.originators import parse_mailbox_list
from mta.mail.reply import Reply, clean

MAX_HEADER = 256 * 1024
"""Octets of a header section, as it came."""
MAX_FIELDS = 1000
"""Fields of a header section: several times what passes for many, and quick to look at."""
MAX_RECEIVED = 100
"""Hops after which a message is taken to run in circles (RFC 5321 §6.3)."""
MAX_METADATA = 4096
"""Octets of the client's own JSON, which comes back in every event of the message."""

_REMOVED = frozenset({"bcc", "resent-bcc", "return-path"})
_RESENT = ("resent-from", "resent-sender")
_CONTROL_PREFIX = "x-mta-"
_STREAMS = ("transactional", "bulk")
_TRACKS = frozenset({"opens", "clicks"})
_FOLDED_NAME = re.compile(rb"([!-9;-~]+)(?:[ \t]|\r\n[ \t])*:")
# it goes into headers, logs and addresses of web pages
_LABEL = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,128}")
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Circumstances(Struct, frozen=True):
    """How a message came, for its trace field."""

    queue_id: str
    now: datetime
    hostname: str
    """Ours."""
    helo: str
    """What the client called itself: hostile text."""
    protocol: str
    """The `with` value: ESMTPSA and the like (RFC 3848, RFC 6531 §4.3)."""
    recipient: Mailbox | None = None
    """The only recipient; None when there are several, who must not learn of one another."""
    client_address: str | None = None
    """The client's IP address where it may be shown; None: it is nobody's business (RFC 6409 §8 leaves it to us)."""


class Control(Struct, frozen=True):
    """What the client's control fields say."""

    stream: str | None = None
    tag: str | None = None
    topic: str | None = None
    metadata: str | None = None
    """A JSON object, as it came."""
    expires_in: timedelta | None = None
    """From the acceptance, or from the release of a message that waits for one."""
    pool: str | None = None
    track: frozenset[str] = frozenset()
    """What is to be learnt of the recipients: `opens`, `clicks`."""


class Intake(Struct, frozen=True):
    """A header section as it goes into the queue, and what was read in it."""

    header: Header
    originators: tuple[Mailbox, ...]
    """The mailboxes of From, one at least, in order."""
    sender: Mailbox | None
    """The mailbox of Sender, where there is one."""
    message_id: str
    """The Message-ID field's value, the client's or ours; printable."""
    control: Control
    resent: tuple[Mailbox, ...] = ()
    """The mailboxes of all Resent-From and Resent-Sender fields."""
    message_id_given: bool = True
    """Whether the Message-ID is the client's."""

    @property
    def writers(self) -> tuple[Mailbox, ...]:
        """Everybody as whom the message was written or sent: each must be the account's."""
        return (*self.originators, *((self.sender,) if self.sender is not None else ()), *self.resent)


def take_in(header: Header, circumstances: Circumstances) -> Intake | Reply:
    """Return the header section with the documented changes, or why the message is refused."""
    if refusal := _misshapen(header):
        return refusal
    named, improper = _by_name(header)
    if refusal := _refusal(named):
        return refusal
    try:
        originators, sender = _originators(named)
        resent = _resent(named)
    except ValueError as error:
        return failures.bad_originator(str(error))
    try:
        control = _control(named)
    except _BadControl as bad:
        return failures.bad_control_field(bad.name, bad.why)
    # a field that has no value is no better than none, and two would be worse
    given = _text(named, "message-id")
    message_id = given or f"<{circumstances.queue_id}@{circumstances.hostname}>"
    added = [received(circumstances)]
    gone = {name for name in named if name in _REMOVED or name.startswith(_CONTROL_PREFIX)}
    if not _text(named, "date"):
        added.append(field("Date", _date(circumstances.now.replace(microsecond=0))))
        gone.add("date")
    if not given:
        added.append(field("Message-ID", message_id))
        gone.add("message-id")
    if not improper <= gone:
        # it could not be signed, nor would every host take it
        return failures.NOT_A_FIELD
    kept = header.fields
    if not gone.isdisjoint(named):
        kept = tuple(one for one in kept if _name(one) not in gone)
    whole = Header((*map(Field, added), *kept))
    return Intake(whole, originators, sender, clean(message_id)[:MAX_LINE], control, resent, bool(given))


def received(circumstances: Circumstances) -> bytes:
    """Return the trace field (RFC 5321 §4.4), folded, with CRLF. Neither login nor, by itself, address is shown.

    Raises:
        ValueError: a part that was not checked where it came from would begin a field or does not fit on a line.
    """
    client = _client_name(circumstances.helo)
    if circumstances.client_address is not None:
        client += f" ({_address_literal(circumstances.client_address)})"
    parts = [
        f"from {client}",
        f"by {circumstances.hostname} with {circumstances.protocol} id {circumstances.queue_id}",
    ]
    if circumstances.recipient is not None:
        parts.append(f"for <{circumstances.recipient}>")
    return field("Received", *parts[:-1], f"{parts[-1]};", _date(circumstances.now.replace(microsecond=0)))


@lru_cache(maxsize=8)
def _date(second: datetime) -> str:
    """All that comes in one second has the same."""
    return format_datetime(second)


_Named = Mapping[str, Sequence[Field]]
"""The fields of a header section by their names."""


def _by_name(header: Header) -> tuple[_Named, set[str]]:
    """Return fields by name, and the names of those that are no proper fields."""
    named: dict[str, list[Field]] = {}
    improper: set[str] = set()
    for one in header.fields:
        name, is_proper = read_name(one.raw)
        if not is_proper:
            name = _name(one)
            improper.add(name)
        named.setdefault(name, []).append(one)
    return named, improper


def _name(one: Field) -> str:
    """The name of a field, or of what would be one to a reader that unfolds first: `Bcc`, CRLF, ` :`."""
    if name := one.name:
        return name
    match = _FOLDED_NAME.match(one.raw)
    return match[1].decode("ascii").lower() if match else ""


class _BadControl(ValueError):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why


def _misshapen(header: Header) -> Reply | None:
    if len(header.fields) > MAX_FIELDS:
        return failures.HEADER_TOO_LARGE
    octets = bytes(header)
    if len(octets) > MAX_HEADER:
        return failures.HEADER_TOO_LARGE
    if not has_whole_line_ends(octets):
        # the reader of contents has looked already; but whoever takes one of them for a line end sees other fields
        return failures.BARE_LINE_END
    if octets.startswith((b" ", b"\t")):
        # what we put on top would swallow it
        return failures.BAD_FIRST_LINE
    return None


def _refusal(named: _Named) -> Reply | None:
    if len(named.get("received", ())) > MAX_RECEIVED:
        return failures.MAIL_LOOP
    match len(named.get("from", ())):
        case 0:
            return failures.NO_FROM
        case 1:
            return None
    return failures.MANY_FROM


def _originators(named: _Named) -> tuple[tuple[Mailbox, ...], Mailbox | None]:
    originators = parse_mailbox_list(named["from"][0].value)
    senders = named.get("sender")
    if not senders:
        return originators, None
    if len(senders) > 1:
        raise ValueError("there is more than one Sender field (RFC 5322 section 3.6)")
    found = parse_mailbox_list(senders[0].value)
    if len(found) > 1:
        raise ValueError("the Sender field names more than one (RFC 5322 section 3.6.2)")
    return originators, found[0]


def _resent(named: _Named) -> tuple[Mailbox, ...]:
    """There may be several, one pair for each time the message was resent."""
    found: list[Mailbox] = []
    for name in _RESENT:
        for one in named.get(name, ()):
            try:
                found += parse_mailbox_list(one.value)
            except ValueError as error:
                raise ValueError(f"{name.title()}: {error}") from None
    return tuple(found)


def _control(named: _Named) -> Control:
    """Read the control fields that are in force; what else is named X-MTA- is only removed."""
    if named.keys().isdisjoint(_CONTROLS):
        return _NOTHING_ASKED
    values: dict[str, str] = {}
    for name, spelled in _CONTROLS.items():
        fields = named.get(name, ())
        if len(fields) > 1:
            raise _BadControl(spelled, "it is given twice")
        if fields:
            values[name] = fields[0].text
    return Control(
        stream=_stream(values.get("x-mta-stream")),
        tag=_label("x-mta-tag", values.get("x-mta-tag")),
        topic=_label("x-mta-topic", values.get("x-mta-topic")),
        metadata=_metadata(values.get("x-mta-metadata")),
        expires_in=_span(values.get("x-mta-expires")),
        pool=_label("x-mta-pool", values.get("x-mta-pool")),
        track=_track(values.get("x-mta-track")),
    )


_NOTHING_ASKED = Control()
_CONTROLS = {
    "x-mta-stream": "X-MTA-Stream",
    "x-mta-tag": "X-MTA-Tag",
    "x-mta-topic": "X-MTA-Topic",
    "x-mta-metadata": "X-MTA-Metadata",
    "x-mta-expires": "X-MTA-Expires",
    "x-mta-pool": "X-MTA-Pool",
    "x-mta-track": "X-MTA-Track",
}


def _stream(value: str | None) -> str | None:
    if value is None:
        return None
    if value.lower() not in _STREAMS:
        raise _BadControl("X-MTA-Stream", f"expected {' or '.join(_STREAMS)}")
    return value.lower()


def _label(name: str, value: str | None) -> str | None:
    if value is not None and not _LABEL.fullmatch(value):
        raise _BadControl(_CONTROLS[name], "expected 1 to 128 printable characters")
    return value


def _track(value: str | None) -> frozenset[str]:
    if value is None or value.lower() == "none":
        return frozenset()
    words = frozenset(word.strip().lower() for word in value.split(","))
    if not words <= _TRACKS:
        raise _BadControl("X-MTA-Track", "expected none, or what is to be learnt: opens, clicks")
    return words


def _metadata(value: str | None) -> str | None:
    if value is None:
        return None
    if len(value.encode("utf-8")) > MAX_METADATA:
        raise _BadControl("X-MTA-Metadata", f"it is longer than {MAX_METADATA} octets")
    try:
        read = json.loads(value, parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise _BadControl("X-MTA-Metadata", "it is not JSON") from None
    if not isinstance(read, dict):
        raise _BadControl("X-MTA-Metadata", "it is not a JSON object")
    return value


def _no_json(word: str) -> None:
    """Python takes NaN and the infinities; those who read our events may not."""
    raise ValueError(f"{word} is not JSON")


def _span(value: str | None) -> timedelta | None:
    if value is None:
        return None
    match = _SPAN.fullmatch(value)
    if match is None or not int(match[1]):
        raise _BadControl("X-MTA-Expires", "expected a time such as 15m, 2h or 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _text(named: _Named, wanted: str) -> str:
    """The first value that is one, of the fields of a name."""
    return next(filter(None, (one.text for one in named.get(wanted, ()))), "")


def _client_name(helo: str) -> str:
    """The name a client gave, if it is one. An address literal would show where it is."""
    try:
        return parse_domain(helo)
    except ValueError:
        return "unknown"


def _address_literal(address: str) -> str:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"
