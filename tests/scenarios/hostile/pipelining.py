"""Commands that are sent before their time: behind STARTTLS, which must not survive, and in groups (RFC 2920)."""

from tests.scenarios.hostile.case import (
    ACCEPTED,
    AUTH,
    EHLO,
    HEADER,
    IN,
    MESSAGE,
    STARTTLS,
    Case,
    Door,
    End,
    say,
)

_MAIL, _RCPT = b"MAIL FROM:<app@example.com>\r\n", b"RCPT TO:<b@example.net>\r\n"
_STARTTLS = b"STARTTLS\r\n"
_BEHIND = {
    "CVE-2011-0411, EHLO": b"EHLO evil.example\r\n",
    "CVE-2011-0411, a whole transaction": _MAIL + _RCPT + b"DATA\r\n" + MESSAGE + b".\r\n",
    "CVE-2024-34083, a login": b"EHLO evil.example\r\n" + AUTH.octets,
    "CVE-2024-34083, STARTTLS again": _STARTTLS,
    "an empty line": b"\r\n",
    "half a command": b"NOO",
    "one octet": b"x",
}

CASES = (
    *(
        Case(
            f"STARTTLS with more behind it: {name}",
            "RFC 3207 §4.2",
            (EHLO, say(_STARTTLS + octets, "554 5.5.1")),
            end=End.CLOSED,
            door=Door.STARTTLS,
        )
        for name, octets in _BEHIND.items()
    ),
    Case(
        "clear text after STARTTLS was answered",
        "RFC 3207 §4.2",
        (EHLO, STARTTLS, say(b"EHLO evil.example\r\n")),
        end=End.CLOSED,
        door=Door.STARTTLS,
    ),
    Case(
        "a transaction with a recipient who is refused",
        "RFC 2920 §3.1",
        (
            *IN,
            say(_MAIL + b"RCPT TO:<bad>\r\n" + _RCPT + b"DATA\r\n", "250 2.1.0", "501 5.1.3", "250 2.1.5", "354 "),
            say(MESSAGE + b".\r\n", ACCEPTED),
        ),
        ("b@example.net",),
    ),
    Case(
        "a transaction whose recipients are all refused",
        "RFC 2920 §3.1",
        (
            *IN,
            say(
                _MAIL + b"RCPT TO:<bad>\r\nRCPT TO:<b@[127.0.0.1]>\r\nDATA\r\n",
                *("250 2.1.0", "501 5.1.3", "501 5.1.3", "503 5.5.1"),
            ),
        ),
    ),
    Case(
        "a transaction whose reverse-path is refused",
        "RFC 2920 §3.1",
        (
            *IN,
            say(
                b"MAIL FROM:<ceo@example.org>\r\n" + _RCPT + b"DATA\r\n",
                *("550 5.7.1", "503 5.5.1", "503 5.5.1"),
            ),
        ),
    ),
    Case(
        "two messages, their content and QUIT at once",
        "RFC 2920 §3.2",
        (
            *IN,
            say(
                (_MAIL + _RCPT + b"DATA\r\n" + MESSAGE + b".\r\n") * 2 + b"QUIT\r\n",
                *("250 2.1.0", "250 2.1.5", "354 ", ACCEPTED) * 2,
                "221 2.0.0",
            ),
        ),
        ("b@example.net",) * 2,
        End.CLOSED,
    ),
    Case(
        "a login and a transaction at once",
        "RFC 4954 §4",
        (say(EHLO.octets + AUTH.octets + _MAIL + _RCPT, "250-", "235 2.7.0", "250 2.1.0", "250 2.1.5"),),
    ),
    Case(
        "a refused login and a transaction at once",
        "RFC 4954 §4",
        (EHLO, say(b"AUTH PLAIN ####\r\n" + _MAIL + _RCPT, "501 5.5.2", "530 5.7.0", "503 5.5.1")),
    ),
    Case(
        "commands behind QUIT",
        "RFC 5321 §4.1.1.10",
        (*IN, say(b"QUIT\r\n" + _MAIL + _RCPT + b"DATA\r\n" + MESSAGE + b".\r\n", "221 2.0.0")),
        end=End.CLOSED,
    ),
    Case(
        "a command in pieces of one octet",
        "RFC 5321 §2.3.8",
        (*IN, *(say(bytes([octet])) for octet in b"NOOP x\r"), say(b"\n", "250 2.0.0")),
    ),
    Case(
        "an end of content in pieces, and a command that follows it",
        "RFC 2920 §3.1",
        (
            *IN,
            say(_MAIL + _RCPT + b"DATA\r\n" + HEADER + b"\r\nx\r", "250 2.1.0", "250 2.1.5", "354 "),
            say(b"\n."),
            say(b"\r"),
            say(b"\nNOOP\r\n", ACCEPTED, "250 2.0.0"),
        ),
        ("b@example.net",),
    ),
    Case("a thousand commands at once", "RFC 2920 §3.2", (say(b"NOOP\r\n" * 150, *["250 2.0.0"] * 150),)),
)
