"""The arguments of MAIL and RCPT: a path, and ESMTP parameters (RFC 5321 §4.1.1.11). Pure.

Parameters keep their case, which ENVID and ORCPT need. xtext is decoded once, here, and what comes out is checked: no
control character gets past this door. A blank before the path (`MAIL FROM: <a@b>`), which many servers forgive, is
refused as RFC 5321 §3.3 says: no mail library of today sends it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from mta.mail import failures
from mta.mail.address import ForwardPath, ReversePath
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from mta.mail.reply import Reply

MAX_PARAMETERS = 20

Parameter = TypeVar("Parameter")

# octets by which extensions lengthen a command
_SIZE_ROOM, _BODY_ROOM, _SMTPUTF8_ROOM = 26, 17, 10  # RFC 1870 §3, RFC 6152 §2, RFC 6531 §3.1
_RET_ROOM, _ENVID_ROOM, _AUTH_ROOM = 9, 107, 500  # RFC 3461 §4.3, §4.4; RFC 4954 §3
_NOTIFY_ROOM, _ORCPT_ROOM = 29, 507  # RFC 3461 §4.1, §4.2
MAX_MAIL_LINE = 512 + _SIZE_ROOM + _BODY_ROOM + _SMTPUTF8_ROOM + _RET_ROOM + _ENVID_ROOM + _AUTH_ROOM
MAX_RCPT_LINE = 512 + _SMTPUTF8_ROOM + _NOTIFY_ROOM + _ORCPT_ROOM

_MAX_ENVID = 100  # octets of xtext (RFC 3461 §4.4)
_MAX_ORCPT = 500  # octets with the type (RFC 3461 §4.2)

# up to the bracket that closes the path: in a quoted local part there may be others
_PATH = re.compile(r'<(?:[^">]|"(?:[^"\\]|\\.)*")*>')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+|[^\x00-\x20=\x7f]+))?")
_DIGITS = re.compile(r"[0-9]{1,20}")
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


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


def parse_mail(argument: str) -> MailArguments | Reply:
    """Read what follows `MAIL `, or return why it is refused (RFC 5321 §4.1.1.2)."""
    try:
        path, parameters = _split(argument, "FROM:")
        utf8 = "SMTPUTF8" in parameters
        try:
            arguments = MailArguments(ReversePath.parse(path, utf8=utf8))
        except ValueError as error:
            return failures.bad_sender(str(error))
        for name, value in parameters.items():
            arguments = _known(_MAIL, name)(arguments, value)
    except _Refused as refused:
        return refused.reply
    return arguments


def parse_rcpt(argument: str, *, utf8: bool) -> Recipient | Reply:
    """Read what follows `RCPT `, or return why it is refused (RFC 5321 §4.1.1.3). `utf8`: MAIL said SMTPUTF8."""
    try:
        path, parameters = _split(argument, "TO:")
        try:
            recipient = Recipient(ForwardPath.parse(path, utf8=utf8).mailbox)
        except ValueError as error:
            return failures.bad_recipient(str(error))
        for name, value in parameters.items():
            recipient = _known(_RCPT, name)(recipient, value, utf8)
    except _Refused as refused:
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


def _split(argument: str, keyword: str) -> tuple[str, Mapping[str, str | None]]:
    """The path with its brackets, and the parameters by upper-case name."""
    if argument[: len(keyword)].upper() != keyword:
        raise _Refused(failures.BAD_SYNTAX)
    rest = argument[len(keyword) :]
    if not rest.startswith("<"):
        raise _Refused(failures.BAD_SYNTAX)
    match = _PATH.match(rest)
    path = match[0] if match else rest
    tail = rest[len(path) :]
    if tail and not tail.startswith(" "):
        raise _Refused(failures.BAD_SYNTAX)
    return path, _parameters(tail)


def _parameters(text: str) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    for part in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(part)
        if match is None or len(found) >= MAX_PARAMETERS:
            raise _Refused(failures.BAD_SYNTAX)
        name = match[1].upper()
        # only an address may be anything but ASCII (RFC 6533 §3); some other letters become ASCII in upper case
        if name in found or not (part.isascii() or name == "ORCPT"):
            raise _Refused(failures.bad_parameter(name))
        found[name] = match[2]
    return found


def _size(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is None or not _DIGITS.fullmatch(value):
        raise _Refused(failures.bad_parameter("SIZE"))
    return replace(arguments, size=int(value))


def _body(arguments: MailArguments, value: str | None) -> MailArguments:
    # BINARYMIME needs CHUNKING, which is not offered
    if value is None or value.upper() not in (BodyType.SEVEN_BIT, BodyType.EIGHT_BIT):
        raise _Refused(failures.bad_parameter("BODY"))
    return replace(arguments, body_type=BodyType(value.upper()))


def _smtputf8(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is not None:
        raise _Refused(failures.bad_parameter("SMTPUTF8"))
    return replace(arguments, smtputf8=True)


def _ret(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is None or value.upper() not in tuple(Return):
        raise _Refused(failures.bad_parameter("RET"))
    return replace(arguments, ret=Return(value.upper()))


def _envid(arguments: MailArguments, value: str | None) -> MailArguments:
    if value is None or len(value) > _MAX_ENVID:
        raise _Refused(failures.bad_parameter("ENVID"))
    return replace(arguments, envid=_decoded("ENVID", value))


def _auth(arguments: MailArguments, value: str | None) -> MailArguments:
    """Who wrote the mail first; must be taken wherever AUTH is offered (RFC 4954 §5), and is not believed here."""
    if value is None:
        raise _Refused(failures.bad_parameter("AUTH"))
    if value != "<>":
        _decoded("AUTH", value)
    return arguments


def _notify(recipient: Recipient, value: str | None, utf8: bool) -> Recipient:
    words = (value or "").upper().split(",")
    if not set(words) <= set(Notify) or (Notify.NEVER in words and len(words) > 1):
        raise _Refused(failures.bad_parameter("NOTIFY"))
    return replace(recipient, notify=frozenset(Notify(word) for word in words))


def _orcpt(recipient: Recipient, value: str | None, utf8: bool) -> Recipient:
    address_type, semicolon, address = (value or "").partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(address_type) or len((value or "").encode()) > _MAX_ORCPT:
        raise _Refused(failures.bad_parameter("ORCPT"))
    if utf8 and address_type.lower() == "utf-8" and not address.isascii():
        # not encoded at all, as RFC 6533 §3 allows where SMTPUTF8 was said
        if not _UTF8_PRINTABLE.fullmatch(address):
            raise _Refused(failures.bad_parameter("ORCPT"))
        return replace(recipient, orcpt=f"{address_type};{address}")
    return replace(recipient, orcpt=f"{address_type};{_decoded('ORCPT', address)}")


def _decoded(name: str, value: str) -> str:
    try:
        return decode_xtext(value)
    except ValueError:
        raise _Refused(failures.bad_parameter(name)) from None


_MailParameter = Callable[[MailArguments, str | None], MailArguments]
_RcptParameter = Callable[[Recipient, str | None, bool], Recipient]

_MAIL: Mapping[str, _MailParameter] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _smtputf8,
    "RET": _ret,
    "ENVID": _envid,
    "AUTH": _auth,
}
_RCPT: Mapping[str, _RcptParameter] = {"NOTIFY": _notify, "ORCPT": _orcpt}


def _known(table: Mapping[str, Parameter], name: str) -> Parameter:
    if name not in table:
        raise _Refused(failures.unknown_parameter(name))
    return table[name]
