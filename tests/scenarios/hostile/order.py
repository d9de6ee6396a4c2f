"""Commands out of their order (RFC 5321 §4.1.4): each is refused, and none leaves a half-open transaction."""

from tests.scenarios.hostile.case import (
    ACCEPTED,
    AUTH,
    DATA,
    EHLO,
    IN,
    MAIL,
    MESSAGE,
    OPEN,
    RCPT,
    RSET,
    SECURED,
    STARTTLS,
    Act,
    Case,
    Door,
    say,
)

_NEED_HELLO, _NEED_MAIL = "503 5.5.1", "503 5.5.1"
_NESTED = say("MAIL FROM:<other@example.com>", "503 5.5.1")
_END = (DATA, say(MESSAGE + b".\r\n", ACCEPTED))

CASES = (
    Case("MAIL before EHLO", "RFC 5321 §4.1.4", (say("MAIL FROM:<app@example.com>", _NEED_HELLO),)),
    Case("RCPT before EHLO", "RFC 5321 §4.1.4", (say("RCPT TO:<b@example.net>", _NEED_MAIL),)),
    Case("AUTH before EHLO", "RFC 4954 §4", (say(AUTH.octets, _NEED_HELLO),)),
    Case("AUTH after HELO", "RFC 4954 §4", (say("HELO x", "250 "), say(AUTH.octets, _NEED_HELLO))),
    Case("RCPT before MAIL", "RFC 5321 §3.3", (*IN, say("RCPT TO:<b@example.net>", _NEED_MAIL))),
    Case("DATA before MAIL", "RFC 5321 §3.3", (*IN, say("DATA", _NEED_MAIL))),
    Case("DATA before RCPT", "RFC 5321 §3.3", (*IN, MAIL, say("DATA", "503 5.5.1"))),
    Case(
        "DATA when all recipients were refused",
        "RFC 5321 §3.3",
        (*IN, MAIL, say("RCPT TO:<b>", "501 5.1.3"), say("DATA", "503 5.5.1")),
    ),
    Case("DATA with an argument", "RFC 5321 §4.1.1.4", (*OPEN, say("DATA 5", "501 5.5.4"))),
    Case("DATA twice", "RFC 5321 §4.1.1.4", (*OPEN, *_END, say("DATA", _NEED_MAIL)), queued=("b@example.net",)),
    Case("MAIL twice", "RFC 5321 §4.1.4", (*OPEN, _NESTED, *_END), queued=("b@example.net",)),
    Case(
        "MAIL again after the message",
        "RFC 5321 §3.3",
        (*OPEN, *_END, say("RCPT TO:<c@example.net>", _NEED_MAIL)),
        queued=("b@example.net",),
    ),
    Case("AUTH in a transaction", "RFC 4954 §4", (*OPEN, say(AUTH.octets, "503 5.5.1"), *_END), ("b@example.net",)),
    Case("AUTH twice", "RFC 4954 §4", (*IN, say(AUTH.octets, "503 5.5.1"))),
    Case("EHLO in a transaction", "RFC 5321 §4.1.4", (*OPEN, EHLO, say("DATA", _NEED_MAIL))),
    Case("HELO in a transaction", "RFC 5321 §4.1.4", (*OPEN, say("HELO x", "250 "), say("DATA", _NEED_MAIL))),
    Case(
        "a malformed EHLO in a transaction",
        "RFC 5321 §4.1.4",
        (*OPEN, say("EHLO", "501 5.5.4"), *_END),
        ("b@example.net",),
    ),
    Case(
        "RSET in a transaction",
        "RFC 5321 §4.1.1.5",
        (*OPEN, RSET, say("DATA", _NEED_MAIL), MAIL, say("DATA", "503 5.5.1")),
    ),
    Case(
        "RSET with an argument", "RFC 5321 §4.1.1.5", (*OPEN, say("RSET now", "501 5.5.4"), *_END), ("b@example.net",)
    ),
    Case(
        "QUIT with an argument", "RFC 5321 §4.1.1.10", (*OPEN, say("QUIT now", "501 5.5.4"), *_END), ("b@example.net",)
    ),
    Case(
        "VRFY in a transaction",
        "RFC 5321 §3.5.3",
        (*OPEN, say("VRFY b@example.net", "252 2.5.2"), *_END),
        ("b@example.net",),
    ),
    Case("EXPN", "RFC 5321 §3.5.3", (*IN, say("EXPN staff", "502 5.5.1"))),
    Case("STARTTLS where there is none", "RFC 3207 §4", (EHLO, say("STARTTLS", "502 5.5.1"))),
    Case("STARTTLS under implicit TLS", "RFC 3207 §4.2", (*SECURED, EHLO, say("STARTTLS", "503 5.5.1")), door=Door.TLS),
    Case(
        "STARTTLS twice",
        "RFC 3207 §4.2",
        (EHLO, STARTTLS, Act.HANDSHAKE, EHLO, say("STARTTLS", "503 5.5.1")),
        door=Door.STARTTLS,
    ),
    Case("STARTTLS with an argument", "RFC 3207 §4", (EHLO, say("STARTTLS now", "501 5.5.4")), door=Door.STARTTLS),
    Case(
        "STARTTLS in a transaction",
        "RFC 3207 §4.2",
        (EHLO, STARTTLS, Act.HANDSHAKE, *OPEN, say("STARTTLS", "503 5.5.1"), *_END),
        ("b@example.net",),
        door=Door.STARTTLS,
    ),
    Case(
        "what was said before STARTTLS is forgotten",
        "RFC 3207 §4.2",
        (EHLO, STARTTLS, Act.HANDSHAKE, say("MAIL FROM:<app@example.com>", "503 5.5.1"), say(AUTH.octets, "503 5.5.1")),
        door=Door.STARTTLS,
    ),
    Case(
        "RCPT after a refused MAIL",
        "RFC 5321 §3.3",
        (*IN, say("MAIL FROM:<x@evil.example>", "550 5.7.1"), say(RCPT.octets, _NEED_MAIL)),
    ),
)
