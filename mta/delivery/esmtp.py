"""What a host offers, and the MAIL and RCPT commands that follow from it (RFC 5321 §4.1.1 and its extensions)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from mta.delivery.content import Shape, declares_eight_bit
from mta.mail import failures
from mta.mail.envelope import DEFAULT_NOTIFY, Notify, Recipient
from mta.mail.reply import Reply
from mta.queue.seams import Letter

_SIZE_DIGITS = 18
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
_MAX_KEYWORDS = 32


@dataclass(frozen=True, slots=True)
class Offers:
    """The extensions of one host, as its last EHLO reply had them. HELO offers none."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    chunking: bool = False
    requiretls: bool = False
    size: int | None = None
    """The most octets of a message; 0 for "no limit known" (RFC 1870 §4), None where SIZE is not offered."""
    auth: frozenset[str] = frozenset()
    """Mechanisms, lower case."""
    keywords: tuple[str, ...] = ()
    """All of them that are words, in upper case and in the alphabet's order, for people."""

    @classmethod
    def parse(cls, extensions: Mapping[str, str], auth: Iterable[str]) -> Self:
        """Read keywords (lower case) with their parameters."""
        digits = extensions.get("size", "").strip()
        limited = digits.isascii() and digits.isdigit() and len(digits) <= _SIZE_DIGITS
        return cls(
            pipelining="pipelining" in extensions,
            eight_bit="8bitmime" in extensions,
            smtputf8="smtputf8" in extensions,
            dsn="dsn" in extensions,
            starttls="starttls" in extensions,
            chunking="chunking" in extensions,
            requiretls="requiretls" in extensions,
            size=None if "size" not in extensions else int(digits) if limited else 0,
            auth=frozenset(auth),
            keywords=tuple(sorted(word.upper() for word in extensions if _KEYWORD.fullmatch(word)))[:_MAX_KEYWORDS],
        )

    def objection(self, shape: Shape) -> Reply | None:
        """Return why this host cannot take a letter as it is; nothing is converted for it."""
        if not shape.canonical:
            return failures.BARE_LINE_END
        if shape.smtputf8 and not self.smtputf8:
            return failures.NO_SMTPUTF8
        if shape.eight_bit and not self.eight_bit:
            return failures.NO_EIGHT_BIT
        if self.size and shape.size > self.size:
            return failures.REMOTE_TOO_LARGE
        return None


def mail_command(letter: Letter, shape: Shape, offers: Offers, *, requiretls: bool = False) -> bytes:
    """Return the MAIL command without its line end. Parameters that the host does not offer are left out, but for
    REQUIRETLS: whoever asks for it has made sure that it is offered (RFC 8689 §4.2.1)."""
    parameters = []
    if offers.size is not None:
        parameters.append(f"SIZE={shape.size}")
    if offers.eight_bit and declares_eight_bit(letter, shape):
        parameters.append("BODY=8BITMIME")
    if offers.smtputf8 and (shape.smtputf8 or letter.message.smtputf8):
        parameters.append("SMTPUTF8")
    if offers.dsn and letter.message.ret:
        parameters.append(f"RET={letter.message.ret}")
    if offers.dsn and letter.message.envid:
        parameters.append(f"ENVID={xtext(letter.message.envid)}")
    if requiretls:
        parameters.append("REQUIRETLS")
    return " ".join([f"MAIL FROM:<{letter.reverse_path or ''}>", *parameters]).encode()


def rcpt_command(recipient: Recipient, offers: Offers, *, named: bool = False) -> bytes:
    """Return the RCPT command without its line end. Parameters that the host does not offer are left out.

    `named`: a report has to name the recipient as we know it, also one that was forwarded (RFC 3461 §4.2).
    """
    parameters = []
    if offers.dsn and recipient.notify != DEFAULT_NOTIFY:
        parameters.append("NOTIFY=" + ",".join(one for one in Notify if one in recipient.notify))
    if offers.dsn and recipient.orcpt and recipient.orcpt.isascii():
        kind, _, address = recipient.orcpt.partition(";")
        parameters.append(f"ORCPT={kind};{xtext(address)}")
    elif offers.dsn and named and recipient.mailbox.is_ascii:
        parameters.append(f"ORCPT=rfc822;{xtext(str(recipient.mailbox))}")
    return " ".join([f"RCPT TO:<{recipient.mailbox}>", *parameters]).encode()


def xtext(text: str) -> str:
    """Encode ASCII text so that it can stand in a parameter (RFC 3461 §4)."""
    return "".join(letter if "!" <= letter <= "~" and letter not in "+=" else f"+{ord(letter):02X}" for letter in text)
