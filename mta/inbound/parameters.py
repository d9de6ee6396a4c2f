"""What MAIL and RCPT may say at this door: any reverse-path at all, and no extension that is not offered. Pure.

A blank before the path is forgiven: some old hosts send one, and what they bring back is worth hearing.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from mta.mail import failures
from mta.mail.address import MAX_PATH
from mta.mail.envelope import BodyType
from mta.mail.reply import Reply, clean
from mta.smtp.parameters import MAIL_ROOM, MAX_LINE, SMTPUTF8_ROOM, Refused, body, known, size, smtputf8, split

MAX_MAIL_LINE = MAX_LINE + MAIL_ROOM
MAX_RCPT_LINE = MAX_LINE + SMTPUTF8_ROOM


class MailArguments(Struct, frozen=True):
    """What MAIL said."""

    reverse_path: str
    """Without its brackets, empty for the null one; not read further, since nobody ever writes to it, but clean."""
    size: int = 0
    """The declared size in octets; 0: not declared (RFC 1870 §5)."""
    body_type: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False


_MAIL: Mapping[str, Callable[[MailArguments, str | None], MailArguments]] = {
    "SIZE": lambda arguments, value: replace(arguments, size=size(value)),
    "BODY": lambda arguments, value: replace(arguments, body_type=body(value)),
    "SMTPUTF8": lambda arguments, value: replace(arguments, smtputf8=smtputf8(value)),
}


def parse_mail(argument: str) -> MailArguments | Reply:
    """Read what follows `MAIL `, or return why it is refused (RFC 5321 §4.1.1.2)."""
    try:
        came = split(argument, "FROM:", forgive_blank=True)
        if not came.path.endswith(">") or len(came.path.encode()) > MAX_PATH:
            return failures.bad_sender(f"the path must stand in brackets and have no more than {MAX_PATH} octets")
        arguments = MailArguments(clean(came.path[1:-1]))
        for name, value in came.parameters.items():
            arguments = known(_MAIL, name)(arguments, value)
    except Refused as refused:
        return refused.reply
    return arguments


def parse_rcpt(argument: str) -> str | Reply:
    """Return the path in its brackets that follows `RCPT `, or why it is refused (RFC 5321 §4.1.1.3)."""
    try:
        came = split(argument, "TO:", forgive_blank=True)
        for name in came.parameters:
            return failures.unknown_parameter(name)
    except Refused as refused:
        return refused.reply
    return came.path
