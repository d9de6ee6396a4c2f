"""What other mail servers and providers send back about a message: reports as they are seen in the wild."""

import random
from dataclasses import dataclass

from mta.demo.receiver import Received
from mta.mail.header import split
from mta.mail.report_token import REPORT_FIELD
from mta.mail.token import Keyring, ReturnPaths
from tests.scenarios.house import House

DOMAIN = "bounces.example.com"
FEEDBACK = f"fbl@{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a host says of a recipient."""

    status: str = "5.1.1"
    text: str = "550 5.1.1 User unknown in local recipient table"
    action: str = "failed"


NOBODY = Failure()
FULL = Failure("5.2.2", "552 5.2.2 Mailbox full")
LATE = Failure("4.4.1", "451 4.4.1 No answer from host", "delayed")


def bounce(received: Received, recipient: str, failure: Failure = NOBODY) -> bytes:
    """Return a host's notification about a message that it had accepted (RFC 3464)."""
    header, _ = split(received.content)
    status = (
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {failure.action}\r\nStatus: {failure.status}\r\n"
        f"Diagnostic-Code: smtp; {failure.text}\r\n"
    )
    top = "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered Mail Returned to Sender\r\n"
    parts = {
        "text/plain": b"I'm sorry to have to inform you that your message could not be delivered.\r\n",
        "message/delivery-status": status.encode(),
        "text/rfc822-headers": header,
    }
    return _report(top, "delivery-status", parts)


def complaint(content: bytes) -> bytes:
    """Return a provider's feedback report about a message (RFC 5965)."""
    about = b"Feedback-Type: abuse\r\nUser-Agent: example-feedback/1.0\r\nVersion: 1\r\n"
    top = "From: feedback@example.net\r\nSubject: Abuse report\r\n"
    parts = {
        "text/plain": b"This is an email abuse report.\r\n",
        "message/feedback-report": about,
        "message/rfc822": content,
    }
    return _report(top, "feedback-report", parts)


def _report(top: str, kind: str, parts: dict[str, bytes]) -> bytes:
    top += f'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type={kind}; boundary="=_report"\r\n'
    body = [b"\r\n--=_report\r\nContent-Type: %s\r\n\r\n%s" % (name.encode(), octets) for name, octets in parts.items()]
    return top.encode() + b"".join(body) + b"\r\n--=_report--\r\n"


def return_path(received: Received) -> str:
    """Return where a host reports to that received a message."""
    return received.reverse_path.strip("<>")


def return_paths(house: House) -> ReturnPaths:
    """Return what makes the server's own return paths."""
    return ReturnPaths(Keyring.parse((house.folder / "keyring.json").read_text()))


def changed(token: str, at: int) -> str:
    """Return a token with another letter at a place."""
    return token[:at] + ("1" if token[at] == "0" else "0") + token[at + 1 :]


def without_token(content: bytes) -> bytes:
    """Return a message of which everything came back but what proves that it was ours."""
    return content.replace(REPORT_FIELD.encode(), b"X-Something").replace(b"Return-Path", b"X-Path")


def nested(depth: int, size: int = 0) -> bytes:
    """Return a content of parts in parts, with text in the innermost."""
    opening = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (level, level) for level in range(depth)
    )
    letters = random.Random(1).randbytes(size // 2).hex().encode()
    lines = b"\r\n".join(letters[at : at + 76] for at in range(0, len(letters), 76))
    return b"Subject: Undelivered Mail\r\nMIME-Version: 1.0\r\n" + opening + b"\r\n" + lines + b"\r\n"
