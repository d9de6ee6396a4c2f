"""What MAIL and RCPT may say at this door: an account's own reverse-path, and what RFC 3461, RFC 4865, RFC 4954 and
RFC 8689 add. Pure.

xtext is decoded once, here, and what comes out is checked: no control character gets past this door. A blank before the
path is refused.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone

from msgspec import Struct
from msgspec.structs import replace

from mta.mail import failures
from mta.mail.address import ForwardPath, ReversePath
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from mta.mail.reply import Reply
from mta.smtp.parameters import MAIL_ROOM, MAX_LINE, SMTPUTF8_ROOM, Refused, body, known, size, smtputf8, split

# octets by which extensions lengthen a command
_RET_ROOM, _ENVID_ROOM, _AUTH_ROOM = 9, 107, 500  # RFC 3461 §4.3, §4.4; RFC 4954 §3
_NOTIFY_ROOM, _ORCPT_ROOM = 29, 507  # RFC 3461 §4.1, §4.2
_REQUIRETLS_ROOM = len(" REQUIRETLS")
_HOLD_ROOM = len(" HOLDUNTIL=2026-11-22T03:00:00.000000+00:00")  # some clients write fractions of seconds
MAX_MAIL_LINE = MAX_LINE + MAIL_ROOM + _RET_ROOM + _ENVID_ROOM + _AUTH_ROOM + _REQUIRETLS_ROOM + _HOLD_ROOM
MAX_RCPT_LINE = MAX_LINE + SMTPUTF8_ROOM + _NOTIFY_ROOM + _ORCPT_ROOM

_MAX_ENVID = 100  # octets of xtext (RFC 3461 §4.4)
_MAX_ORCPT = 500  # octets with the type (RFC 3461 §4.2)

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ENCODED = re.compile(r"\+([0-9A-F]{2})")
_PRINTABLE = re.compile(r"[ -~]+")
_UTF8_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,60}")
_INTERVAL = re.compile(r"[1-9][0-9]{0,8}")
_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


class MailArguments(Struct, frozen=True):
    """What MAIL said."""

    reverse_path: ReversePath
    size: int = 0
    """The declared size in octets; 0: not declared (RFC 1870 §5)."""
    body_type: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    requiretls: bool = False
    ret: Return | None = None
    envid: str | None = None
    hold_for: timedelta | None = None
    hold_until: datetime | None = None
    """UTC. It and `hold_for` exclude one another; what is too late or over is not known here."""


def parse_mail(argument: str, *, requiretls: bool = False) -> MailArguments | Reply:
    """Read what follows `MAIL `, or return why it is refused (RFC 5321 §4.1.1.2). `requiretls`: it was offered."""
    table = _MAIL_UNDER_TLS if requiretls else _MAIL
    try:
        came = split(argument, "FROM:")
        utf8 = "SMTPUTF8" in came.parameters
        try:
            arguments = MailArguments(ReversePath.parse(came.path, utf8=utf8))
        except ValueError as error:
            return failures.bad_sender(str(error))
        for name, value in came.parameters.items():
            arguments = known(table, name)(arguments, value)
    except Refused as refused:
        return refused.reply
    return arguments


def parse_rcpt(argument: str, *, utf8: bool) -> Recipient | Reply:
    """Read what follows `RCPT `, or return why it is refused (RFC 5321 §4.1.1.3). `utf8`: MAIL said SMTPUTF8."""
    try:
        came = split(argument, "TO:")
        try:
            recipient = Recipient(ForwardPath.parse(came.path, utf8=utf8).mailbox)
        except ValueError as error:
            return failures.bad_recipient(str(error))
        for name, value in came.parameters.items():
            recipient = known(_RCPT, name)(recipient, value, utf8)
    except Refused as refused:
        return refused.reply
    return recipient


def decode_xtext(text: str) -> str:
    """Return what xtext stands for, ASCII (RFC 3461 §4).

    Raises:
        ValueError: it is no xtext, or stands for something that is not printable ASCII.
    """
    if not _XTEXT.fullmatch(text):
        raise ValueError(f"{text!r} is not xtext")
    decoded = _ENCODED.sub(lambda match: chr(int(match[1], 16)), text)
    if not _PRINTABLE.fullmatch(decoded):
        raise ValueError(f"{text!r} does not stand for printable ASCII")
    return decoded


def parse_date_time(text: str) -> datetime:
    """Return an Internet date and time (RFC 3339 §5.6) as UTC; what is smaller than a microsecond is cut off.

    Raises:
        ValueError: it is none, or not one of this calendar.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a date and time of the form 2026-11-22T03:00:00Z")
    *fields, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    if second > 60 or int(hours or 0) > 23 or int(minutes or 0) > 59:
        raise ValueError(f"{text!r} is not a time of any clock")
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    # a leap second is the second before it, once more
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not in the calendar") from None


def _requiretls(arguments: MailArguments, value: str | None) -> MailArguments:
    """It has no value (RFC 8689 §2)."""
    if value is not None:
        raise Refused(failures.bad_parameter("REQUIRETLS"))
    return replace(arguments, requiretls=True)


def _hold_for(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is None or not _INTERVAL.fullmatch(value):
        raise Refused(failures.bad_parameter("HOLDFOR"))
    _not_held_yet(arguments)
    return replace(arguments, hold_for=timedelta(seconds=int(value)))


def _hold_until(arguments: MailArguments, value: str | None) -> MailArguments:
    try:
        hold_until = parse_date_time(value or "")
    except ValueError:
        raise Refused(failures.bad_parameter("HOLDUNTIL")) from None
    _not_held_yet(arguments)
    return replace(arguments, hold_until=hold_until)


def _not_held_yet(arguments: MailArguments) -> None:
    """One release time, not two (RFC 4865 §3)."""
    if arguments.hold_for is not None or arguments.hold_until is not None:
        raise Refused(failures.bad_release("HOLDFOR and HOLDUNTIL exclude one another"))


def _ret(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is None or value.upper() not in tuple(Return):
        raise Refused(failures.bad_parameter("RET"))
    return replace(arguments, ret=Return(value.upper()))


def _envid(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is None or len(value) > _MAX_ENVID:
        raise Refused(failures.bad_parameter("ENVID"))
    return replace(arguments, envid=_decoded("ENVID", value))


def _auth(arguments: MailArguments, value: str | None) -> MailArguments:
    """Who wrote the mail first; must be taken wherever AUTH is offered (RFC 4954 §5), and is not believed here."""
    if value is None:
        raise Refused(failures.bad_parameter("AUTH"))
    if value != "<>":
        _decoded("AUTH", value)
    return arguments


def _notify(recipient: Recipient, value: str | None, utf8: bool) -> Recipient:
    words = (value or "").upper().split(",")
    if not set(words) <= set(Notify) or (Notify.NEVER in words and len(words) > 1):
        raise Refused(failures.bad_parameter("NOTIFY"))
    return replace(recipient, notify=frozenset(Notify(word) for word in words))


def _orcpt(recipient: Recipient, value: str | None, utf8: bool) -> Recipient:
    value = value or ""
    address_type, semicolon, address = value.partition(";")
    octets = len(value.encode("utf-8", "replace"))
    if not semicolon or not _ADDRESS_TYPE.fullmatch(address_type) or octets > _MAX_ORCPT:
        raise Refused(failures.bad_parameter("ORCPT"))
    if utf8 and address_type.lower() == "utf-8" and not address.isascii():
        # not encoded at all, as RFC 6533 §3 allows where SMTPUTF8 was said
        if not _UTF8_PRINTABLE.fullmatch(address):
            raise Refused(failures.bad_parameter("ORCPT"))
        return replace(recipient, orcpt=f"{address_type};{address}")
    return replace(recipient, orcpt=f"{address_type};{_decoded('ORCPT', address)}")


def _decoded(name: str, value: str) -> str:
    try:
        return decode_xtext(value)
    except ValueError:
        raise Refused(failures.bad_parameter(name)) from None


_MailParameter = Callable[[MailArguments, str | None], MailArguments]
_RcptParameter = Callable[[Recipient, str | None, bool], Recipient]

_MAIL: Mapping[str, _MailParameter] = {
    "SIZE": lambda arguments, value: replace(arguments, size=size(value)),
    "BODY": lambda arguments, value: replace(arguments, body_type=body(value)),
    "SMTPUTF8": lambda arguments, value: replace(arguments, smtputf8=smtputf8(value)),
    "RET": _ret,
    "ENVID": _envid,
    "AUTH": _auth,
    "HOLDFOR": _hold_for,
    "HOLDUNTIL": _hold_until,
}
_MAIL_UNDER_TLS: Mapping[str, _MailParameter] = {**_MAIL, "REQUIRETLS": _requiretls}
_RCPT: Mapping[str, _RcptParameter] = {"NOTIFY": _notify, "ORCPT": _orcpt}
