"""BDAT (RFC 3030 §2) with wrong counts, twice, too early and too large: its octets are content and never commands."""

from tests.scenarios.hostile.case import (
    ACCEPTED,
    DATA,
    EHLO,
    HEADER,
    IN,
    MAIL,
    MESSAGE,
    OPEN,
    RCPT,
    RSET,
    Act,
    Case,
    End,
    Say,
    Step,
    say,
)
from tests.scenarios.hostile.content import MAX_MESSAGE_SIZE

_RFC = "RFC 3030 §2"
_QUEUED = ("b@example.net",)
_OUT_OF_ORDER = "503 5.5.1"
_TAKEN = "250 2.0.0"
_FLAWED = "550 5.6.0"
# octets that would be seen to be obeyed, were they read as commands
_COMMANDS = b"RSET\r\nNOOP\r\nQUIT\r\n"
_SMUGGLED = b"\r\n.\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n" + MESSAGE + b".\r\n"


def _chunk(octets: bytes, *replies: str, last: bool = False) -> Say:
    return say(b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets, *replies)


def _last(octets: bytes, *replies: str) -> Say:
    return _chunk(octets, *replies, last=True)


def _flawed(first: bytes, second: bytes) -> tuple[Step, ...]:
    """A content with a flaw on the border of two chunks: which of them is refused is free, the last one always is."""
    return (*OPEN, _chunk(HEADER + b"\r\n" + first, _TAKEN), _last(second, _FLAWED))


# nobody knows how many octets follow: what comes next may be content, and is obeyed by no means
_BAD_COUNTS = {
    "none": "BDAT",
    "a blank": "BDAT ",
    "a word": "BDAT all LAST",
    "below zero": "BDAT -5",
    "with a sign": "BDAT +5",
    "in hexadecimal": "BDAT 0x5",
    "with a fraction": "BDAT 5.0",
    "in digits of another script": "BDAT ٥",
    "of twenty-five digits": f"BDAT {'9' * 25}",
    "and a word that is not LAST": "BDAT 5 FIRST",
    "and LAST twice": "BDAT 5 LAST LAST",
    "that touches LAST": "BDAT 5LAST",
    "behind LAST": "BDAT LAST 5",
}

CASES = (
    *(
        Case(
            f"BDAT with a count: {name}",
            _RFC,
            (*OPEN, say(f"{command}\r\nRSET\r\nMAIL FROM:<>", "501 5.5.4", "421 4.7.0")),
            end=End.CLOSED,
        )
        for name, command in _BAD_COUNTS.items()
    ),
    Case("BDAT before EHLO", _RFC, (_last(_COMMANDS, _OUT_OF_ORDER),)),
    Case("BDAT before the login", _RFC, (EHLO, _last(_COMMANDS, _OUT_OF_ORDER))),
    Case("BDAT before MAIL", _RFC, (*IN, _last(_COMMANDS, _OUT_OF_ORDER), _chunk(_COMMANDS, _OUT_OF_ORDER))),
    Case("BDAT before RCPT", _RFC, (*IN, MAIL, _last(_COMMANDS, _OUT_OF_ORDER))),
    Case(
        "BDAT when all recipients were refused",
        _RFC,
        (*IN, MAIL, say("RCPT TO:<b>", "501 5.1.3"), _last(_COMMANDS, _OUT_OF_ORDER)),
    ),
    Case(
        "a transaction with BDAT at once, its recipients refused",
        "RFC 2920 §3.1",
        (
            *IN,
            say(
                MAIL.octets + b"RCPT TO:<b>\r\n" + _last(_COMMANDS).octets + b"NOOP\r\n",
                *("250 2.1.0", "501 5.1.3", _OUT_OF_ORDER, "250 2.0.0"),
            ),
        ),
    ),
    Case(
        "a transaction with BDAT at once",
        "RFC 2920 §3.1",
        (
            *IN,
            say(
                MAIL.octets + RCPT.octets + _chunk(HEADER).octets + _last(b"\r\n" + _COMMANDS).octets + b"NOOP\r\n",
                *("250 2.1.0", "250 2.1.5", _TAKEN, ACCEPTED, "250 2.0.0"),
            ),
        ),
        _QUEUED,
    ),
    Case("DATA after BDAT", _RFC, (*OPEN, _chunk(HEADER, _TAKEN), say("DATA", _OUT_OF_ORDER), RSET)),
    Case(
        "MAIL after BDAT",
        _RFC,
        (*OPEN, _chunk(HEADER, _TAKEN), say("MAIL FROM:<app@example.com>", _OUT_OF_ORDER), RSET),
    ),
    Case("LAST twice", _RFC, (*OPEN, _last(MESSAGE, ACCEPTED), _last(MESSAGE, _OUT_OF_ORDER)), _QUEUED),
    Case("BDAT after LAST", _RFC, (*OPEN, _last(MESSAGE, ACCEPTED), _chunk(_COMMANDS, _OUT_OF_ORDER)), _QUEUED),
    Case(
        "BDAT after DATA",
        _RFC,
        (*OPEN, DATA, say(MESSAGE + b".\r\n", ACCEPTED), _last(MESSAGE, _OUT_OF_ORDER)),
        _QUEUED,
    ),
    Case("RSET after a chunk", _RFC, (*OPEN, _chunk(MESSAGE, _TAKEN), RSET, _last(b"", _OUT_OF_ORDER))),
    Case("EHLO after a chunk", "RFC 5321 §4.1.4", (*OPEN, _chunk(MESSAGE, _TAKEN), EHLO, _last(b"", _OUT_OF_ORDER))),
    Case("QUIT after a chunk", _RFC, (*OPEN, _chunk(MESSAGE, _TAKEN), say("QUIT", "221 2.0.0")), end=End.CLOSED),
    Case("no octets at all", _RFC, (*OPEN, _last(b"", _FLAWED))),
    Case("a last chunk of no octets", _RFC, (*OPEN, _chunk(MESSAGE, _TAKEN), _last(b"", ACCEPTED)), _QUEUED),
    Case("chunks of no octets", _RFC, (*OPEN, *[_chunk(b"", _TAKEN)] * 20, _last(MESSAGE, ACCEPTED)), _QUEUED),
    Case(
        "chunks of one octet",
        _RFC,
        (*OPEN, *(_chunk(bytes([octet]), _TAKEN) for octet in MESSAGE), _last(b"", ACCEPTED)),
        _QUEUED,
    ),
    Case(
        "zeros before a count",
        _RFC,
        (*OPEN, say(b"bdat 0000000%d last\r\n" % len(MESSAGE) + MESSAGE, ACCEPTED)),
        _QUEUED,
    ),
    Case("a dot is content", _RFC, (*OPEN, _last(MESSAGE + _SMUGGLED, ACCEPTED)), _QUEUED),
    Case(
        "a count that is too small",
        _RFC,
        (
            *OPEN,
            say(
                b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE + b"XYZZY\r\nNOOP\r\n", ACCEPTED, "500 5.5.2", "250 2.0.0"
            ),
        ),
        _QUEUED,
    ),
    Case(
        "a count that is too large swallows what follows",
        _RFC,
        (
            *OPEN,
            say(b"BDAT %d LAST\r\n" % (len(MESSAGE) + 6) + MESSAGE + b"NOOP\r\n" + b"NOOP\r\n", ACCEPTED, "250 2.0.0"),
        ),
        _QUEUED,
    ),
    Case("a bare LF over a border", "RFC 5321 §2.3.8", _flawed(b"x", b"\ny\r\n")),
    Case("a bare CR over a border", "RFC 5321 §2.3.8", _flawed(b"x\r", b"y\r\n")),
    Case("a CR at the very end", "RFC 5321 §2.3.8", (*OPEN, _last(MESSAGE + b"\r", _FLAWED))),
    Case("a NUL", "RFC 5321 §2.3.8", (*OPEN, _last(MESSAGE + b"\0\r\n", _FLAWED))),
    Case("CVE-2023-51764 in a chunk", "RFC 5321 §2.3.8", (*OPEN, _last(MESSAGE + b"\n.\n" + _SMUGGLED, _FLAWED))),
    Case(
        "CRLF over a border", _RFC, (*OPEN, _chunk(HEADER + b"\r\nx\r", _TAKEN), _last(b"\ny\r\n", ACCEPTED)), _QUEUED
    ),
    Case("no line end at the very end", _RFC, (*OPEN, _last(HEADER + b"\r\nx", ACCEPTED)), _QUEUED),
    Case(
        "a line of 999 octets over a border",
        "RFC 5321 §4.5.3.1.6",
        (*OPEN, _chunk(HEADER + b"\r\n" + b"x" * 500, _TAKEN), _last(b"x" * 499 + b"\r\n", "554 5.6.0")),
    ),
    Case("From of somebody else", "RFC 6409 §6.1", (*OPEN, _last(b"From: ceo@example.org\r\n\r\n", "550 5.7.1"))),
    Case(
        "a chunk over the limit",
        "RFC 1870 §6.3",
        (
            *OPEN,
            _last(HEADER + b"\r\n" + b"x\r\n" * (MAX_MESSAGE_SIZE // 3), "552 5.3.4"),
            say("RCPT TO:<c@example.net>", _OUT_OF_ORDER),
        ),
    ),
    Case(
        "chunks that together are over the limit",
        "RFC 1870 §6.3",
        (
            *OPEN,
            _chunk(HEADER + b"\r\n" + b"x\r\n" * (MAX_MESSAGE_SIZE // 6), _TAKEN),
            _chunk(b"x\r\n" * (MAX_MESSAGE_SIZE // 6), "552 5.3.4"),
            _last(b"x\r\n", _OUT_OF_ORDER),
        ),
    ),
    Case(
        "BODY=BINARYMIME and BDAT at once",
        "RFC 3030 §3",
        (
            *IN,
            say(
                b"MAIL FROM:<app@example.com> BODY=BINARYMIME\r\n" + RCPT.octets + _last(_COMMANDS).octets,
                "501 5.5.4",
                _OUT_OF_ORDER,
                _OUT_OF_ORDER,
            ),
        ),
    ),
    Case("closes in a chunk", "RFC 5321 §3.8", (*OPEN, say(b"BDAT 1000 LAST\r\n" + MESSAGE), Act.CLOSE), end=End.LEFT),
    Case(
        "is cut off in a chunk", "RFC 5321 §3.8", (*OPEN, say(b"BDAT 1000 LAST\r\n" + MESSAGE), Act.RESET), end=End.LEFT
    ),
    Case(
        "half closes in a chunk",
        "RFC 5321 §3.8",
        (*OPEN, say(b"BDAT 1000 LAST\r\n" + MESSAGE), Act.HALF_CLOSE),
        end=End.CLOSED,
    ),
    Case("closes between chunks", "RFC 5321 §3.8", (*OPEN, _chunk(MESSAGE, _TAKEN), Act.CLOSE), end=End.LEFT),
    Case(
        "closes in a chunk of an exabyte",
        "RFC 5321 §3.8",
        (*OPEN, say(b"BDAT 999999999999999999 LAST\r\n" + MESSAGE), Act.CLOSE),
        end=End.LEFT,
    ),
    Case("closes after the last chunk", "RFC 5321 §4.2.5", (*OPEN, _last(MESSAGE), Act.CLOSE), _QUEUED, End.LEFT),
    Case(
        "half closes after the last chunk",
        "RFC 5321 §4.2.5",
        (*OPEN, _last(MESSAGE), Act.HALF_CLOSE, say(b"", ACCEPTED)),
        _QUEUED,
        End.CLOSED,
    ),
)
