"""What MAIL and RCPT may say at this door: an account's own reverse-path, and what RFC 3461 and RFC 4954 add. Pure.

xtext is decoded once, here, and what comes out is checked: no control character gets past this door. A blank before the
path is refused.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mta.mail import failures
from mta.mail.address import ForwardPath, ReversePath
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from mta.mail.reply import Reply
from mta.smtp.parameters import MAIL_ROOM, MAX_LINE, SMTPUTF8_ROOM, Refused, body, known, size, smtputf8, split

# octets by which extensions lengthen a command
_RET_ROOM, _ENVID_ROOM, _AUTH_ROOM = 9, 107, 500  # RFC 3461 §4.3, §4.4; RFC 4954 §3
_NOTIFY_ROOM, _ORCPT_ROOM = 29, 507  # RFC 3461 §4.1, §4.2
MAX_MAIL_LINE = MAX_LINE + MAIL_ROOM + _RET_ROOM + _ENVID_ROOM + _AUTH_ROOM
MAX_RCPT_LINE = MAX_LINE + SMTPUTF8_ROOM + _NOTIFY_ROOM + _ORCPT_ROOM

_MAX_ENVID = 100  # octets of xtext (RFC 3461 §4.4)
_MAX_ORCPT = 500  # octets with the type (RFC 3461 §4.2)

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ENCODED = re.compile(r"\+([0-9A-F]{2})")
_PRINTABLE = re.compile(r"[ -~]+")
_UTF8_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,60}")


@dataclass(frozen=True, slots=True)
class MailArguments:
    """What MAIL said."""

    reverse_path: ReversePath
    size: int = 0
    """The declared size in octets; 0: not declared (RFC 1870 §5)."""
    body_type: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Return | None = None
    envid: str | None = None


def parse_mail(argument: str) -> MailArguments | Reply:
    """Read what follows `MAIL `, or return why it is refused (RFC 5321 §4.1.1.2)."""
    try:
        came = split(argument, "FROM:")
        utf8 = "SMTPUTF8" in came.parameters
        try:
            arguments = MailArguments(ReversePath.parse(came.path, utf8=utf8))
        except ValueError as error:
            return failures.bad_sender(str(error))
        for name, value in came.parameters.items():
            arguments = known(_MAIL, name)(arguments, value)
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
    address_type, semicolon, address = (value or "").partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(address_type) or len((value or "").encode()) > _MAX_ORCPT:
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
}
_RCPT: Mapping[str, _RcptParameter] = {"NOTIFY": _notify, "ORCPT": _orcpt}
