"""Octets that are no command: too many of them, NULs, 8-bit, other line ends, and other protocols."""

from tests.scenarios.hostile.case import EHLO, IN, MAIL, NOOP, OPEN, RECIPIENT, SENDER, Act, Case, Door, End, say

_UNKNOWN = "500 5.5.2"
_BAD_OCTETS = "500 5.5.2"
_TOO_LONG = "500 5.5.2"
_MEGABYTE = 1_000_000
# 512, and what SIZE, BODY, SMTPUTF8, RET, ENVID and AUTH add: no MAIL is longer than all that were offered
_LONGEST_MAIL = 2_000
MAX_ERRORS = 20

_OCTETS = {
    "NUL": b"NOOP\0\r\n",
    "NUL in the middle": b"NO\0OP\r\n",
    "NUL in a path": b"RCPT TO:<b\0@example.net>\r\n",
    "SOH": b"EHLO \x01\r\n",
    "BEL": b"EHLO \x07\r\n",
    "backspaces": b"EHLO x\x08\x08\x08\r\n",
    "tab for a blank": b"EHLO\tx\r\n",
    "escape sequence": b"EHLO \x1b[2J\r\n",
    "DEL": b"EHLO \x7f\r\n",
    "bare CR": b"EHLO x\rMAIL FROM:<>\r\n",
    "two CR": b"NOOP\r\r\n",
    "octet beyond UTF-8": b"EHLO \xff\r\n",
    "UTF-8 that is too long": b"EHLO \xc0\xaf\r\n",
    "half a surrogate pair": b"EHLO \xed\xa0\x80\r\n",
    "UTF-8 that stops": b"EHLO \xe2\x82\r\n",
    "Latin-1 in a path": b"RCPT TO:<caf\xe9@example.net>\r\n",
    "telnet's option": b"\xff\xf4\xff\xfdNOOP\r\n",
    "TLS where none is spoken": b"\x16\x03\x01\x00\x05hello\r\n",
}

_LINES = {
    # only CRLF ends a line (RFC 5321 §2.3.8): what stands behind a bare LF is no command of its own
    "bare LF": b"NOOP\nNOOP\r\n",
    "bare LF before a recipient": b"NOOP x\nRCPT TO:<victim@example.net>\r\n",
}

_UNKNOWN_LINES = {
    "an unknown command": "XYZZY",
    "an empty line": "",
    "a blank": " ",
    "a blank before the command": " NOOP",
    "TURN": "TURN",
    "SEND": "SEND FROM:<app@example.com>",
    "a name of Python": "__class__",
    "a method of the server's": "connection_lost",
    "a command beyond ASCII": "ＮＯＯＰ",
    "a command that is ASCII in upper case": "ſend",
    "a number": "250 2.0.0 Ok",
    "JSON": '{"EHLO": "x"}',
}

CASES = (
    *(
        Case(f"octets: {name}", "RFC 5321 §2.3.8", (*IN, MAIL, say(octets, _BAD_OCTETS)))
        for name, octets in _OCTETS.items()
    ),
    *(Case(f"lines: {name}", "RFC 5321 §2.3.8", (*OPEN, say(octets, _BAD_OCTETS))) for name, octets in _LINES.items()),
    *(Case(name, "RFC 5321 §4.2.4", (*IN, say(line, _UNKNOWN))) for name, line in _UNKNOWN_LINES.items()),
    Case(
        "verbs in any case",
        "RFC 5321 §2.4",
        (say("eHlO x", "250-"), say("nOoP", "250 2.0.0"), say("mail from:<>", "530 5.7.0")),
    ),
    Case(
        "parameters in any case",
        "RFC 5321 §2.4",
        (
            *IN,
            say("mAiL fRoM:<app@EXAMPLE.COM> sIzE=1 bOdY=8bItMiMe", "250 2.1.0"),
            say("rcpt to:<b@example.net>", "250 2.1.5"),
        ),
    ),
    Case("EHLO without a name", "RFC 5321 §4.1.1.1", (say("EHLO", "501 5.5.4"), say("EHLO ", "501 5.5.4"))),
    Case("HELO without a name", "RFC 5321 §4.1.1.1", (say("HELO", "501 5.5.4"),)),
    Case("EHLO with two names", "RFC 5321 §4.1.1.1", (say("EHLO a b", "501 5.5.4"),)),
    Case("EHLO with an endless name", "RFC 5321 §4.5.3.1.2", (say(f"EHLO {'x' * 256}", "501 5.5.4"),)),
    Case("a line of 512 octets", "RFC 5321 §4.5.3.1.4", (say(f"NOOP {'x' * 505}", "250 2.0.0"),)),
    Case("a line of 513 octets", "RFC 5321 §4.5.3.1.4", (say(f"NOOP {'x' * 506}", _TOO_LONG),)),
    Case(
        "MAIL that is longer than its extensions allow",
        "RFC 5321 §4.5.3.1.4",
        (*IN, say(f"MAIL FROM:<{SENDER}>{' ' * _LONGEST_MAIL}", _TOO_LONG), say(f"RCPT TO:<{RECIPIENT}>", "503 5.5.1")),
    ),
    Case(
        "RCPT that is longer than its extensions allow",
        "RFC 5321 §4.5.3.1.4",
        (*IN, MAIL, say(f"RCPT TO:<{RECIPIENT}>{' ' * _LONGEST_MAIL}", _TOO_LONG), say("DATA", "503 5.5.1")),
    ),
    Case("a line of a megabyte", "RFC 5321 §4.5.3.1.4", (*IN, say("NOOP " + "x" * _MEGABYTE, _TOO_LONG))),
    Case("a megabyte of NULs", "RFC 5321 §4.5.3.1.4", (say(b"\0" * _MEGABYTE + b"\r\n", _TOO_LONG),)),
    Case("a megabyte without an end", "RFC 5321 §4.5.3.1.4", (*IN, say(b"x" * _MEGABYTE), Act.RESET), end=End.LEFT),
    Case(
        "a line that is a command from its 12,289th octet on",
        "RFC 5321 §4.5.3.1.4",
        (*OPEN, say(b"x" * 12_288 + b"DATA\r\n", _TOO_LONG)),
    ),
    Case(
        "unknown commands without end",
        "RFC 5321 §4.2.4",
        (say(b"XYZZY\r\n" * MAX_ERRORS, *[_UNKNOWN] * MAX_ERRORS, "421 4.7.0"),),
        end=End.CLOSED,
    ),
    Case(
        "commands out of order without end",
        "RFC 5321 §4.1.4",
        (EHLO, say(b"DATA\r\n" * MAX_ERRORS, *["503 5.5.1"] * MAX_ERRORS, "421 4.7.0")),
        end=End.CLOSED,
    ),
    Case("GET, from a browser", "RFC 5321 §4.1.4", (say("GET / HTTP/1.1"),), end=End.CLOSED),
    Case(
        "POST, from a browser",
        "RFC 5321 §4.1.4",
        (say("POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<>"),),
        end=End.CLOSED,
    ),
    Case("CONNECT, through a proxy", "RFC 5321 §4.1.4", (say("CONNECT mx.example.org:25 HTTP/1.1"),), end=End.CLOSED),
    Case("GET after EHLO", "RFC 5321 §4.2.4", (EHLO, say("GET / HTTP/1.1", _UNKNOWN))),
    Case(
        "clear text where TLS is spoken",
        "RFC 8314 §3.3",
        (say("EHLO client.example.net"),),
        end=End.CLOSED,
        door=Door.TLS,
    ),
    Case("NOOP with an argument", "RFC 5321 §4.1.1.9", (NOOP, say("NOOP x y z", "250 2.0.0"))),
)
