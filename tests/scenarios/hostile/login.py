"""AUTH with what is no credential (RFC 4954): nobody is let in, and the session goes on."""

import base64

from tests.scenarios.hostile.case import (
    AUTH,
    EHLO,
    LOGIN,
    OTHER,
    PASSWORD,
    PLAIN,
    STARTTLS,
    WRONG,
    Act,
    Case,
    Door,
    End,
    say,
)

_WRONG = "535 5.7.8"
_BAD_BASE64 = "501 5.5.2"


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


_INITIAL = {
    "no base64": ("####", _BAD_BASE64),
    "base64 without its padding": ("AGFwcABwYXNzd29yZA", _BAD_BASE64),
    "padding alone": ("==", _BAD_BASE64),
    "too much padding": ("AAAA====", _BAD_BASE64),
    "padding in the middle": ("AA==AAAA", _BAD_BASE64),
    "base64 of another alphabet": ("_-__", _BAD_BASE64),
    "base64 with a blank": ("AGFw cAA=", _BAD_BASE64),
    "base64 in UTF-8": ("é", _BAD_BASE64),
    "an empty answer": ("=", _WRONG),
    "one NUL": (_b64(b"\0"), _WRONG),
    "NULs": (_b64(b"\0" * 100), _WRONG),
    "no NUL": (_b64(b"app"), _WRONG),
    "a NUL in the password": (_b64(b"\0app\0pass\0word"), _WRONG),
    "a login that is no UTF-8": (_b64(b"\0\xff\xfe\0password"), _WRONG),
    "a login with a line end": (_b64(b"\0app\r\nX: y\0password"), _WRONG),
    "an unknown account": (_b64(b"\0nobody\0password"), _WRONG),
    "an unknown stream": (_b64(b"\0app/spam\0password"), _WRONG),
    "an empty login": (_b64(b"\0\0password"), _WRONG),
    "an empty password": (_b64(b"\0app\0"), _WRONG),
    "a password of eight kilobytes": (_b64(b"\0app\0" + b"x" * 8_000), _WRONG),
    "the hash for the password": (_b64(b"\0app\0$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"), _WRONG),
    "SQL": (_b64(b"\0app' OR '1'='1\0x"), _WRONG),
    "a wrong password": (WRONG, _WRONG),
    "the right one, to act as somebody else": (OTHER, _WRONG),
}

# client-first-messages that are none, or that speak of a channel binding that there is not (RFC 5802 §6)
_SCRAM_FIRST = {
    "nothing": b"",
    "no name": b"n,,r=abc",
    "an empty name": b"n,,n=,r=abc",
    "no nonce": b"n,,n=app",
    "an empty nonce": b"n,,n=app,r=",
    "a name with a broken escape": b"n,,n=a=41pp,r=abc",
    "a name with a NUL": b"n,,n=app\0,r=abc",
    "a name that is no UTF-8": b"n,,n=\xff,r=abc",
    "an extension that must be understood": b"n,,m=x,n=app,r=abc",
    "channel binding without its mechanism": b"p=tls-server-end-point,,n=app,r=abc",
    "an answer of PLAIN": b"\0app\0password",
    "a nonce of eight kilobytes with a NUL behind it": b"n,,n=app,r=" + b"x" * 8_000 + b"\0",
}
_SCRAM = f"AUTH SCRAM-SHA-256 {_b64(b'n,,n=app,r=abc')}"
_SCRAM_CHALLENGE = "334 cj1hYm"  # r=abc and more
_SCRAM_FINAL = {
    "the client's nonce alone": (_b64(b"c=biws,r=abc,p=AAAA"), _WRONG),
    "no proof": (_b64(b"c=biws,r=abc"), _WRONG),
    "a proof that is no base64": (_b64(b"c=biws,r=abc,p=####"), _WRONG),
    "nothing": ("", _WRONG),
    "no base64": ("####", _BAD_BASE64),
    "a line end": (_b64(b"c=biws,r=abc,p=AAAA\r\n"), _WRONG),
    "the challenge": (_b64(b"r=abcdef,s=AAAA,i=4096"), _WRONG),
}
_SECURED = (EHLO, STARTTLS, Act.HANDSHAKE, EHLO)

_NOT_OFFERED = (
    "CRAM-MD5",
    "DIGEST-MD5",
    "GSSAPI",
    "NTLM",
    "EXTERNAL",
    "ANONYMOUS",
    "XOAUTH2",
    "SCRAM-SHA-1",
    "../PLAIN",
)

CASES = (
    *(
        Case(f"PLAIN: {name}", "RFC 4954 §4", (EHLO, say(f"AUTH PLAIN {answer}", reply), AUTH))
        for name, (answer, reply) in _INITIAL.items()
    ),
    *(
        Case(
            f"the mechanism {name}",
            "RFC 4954 §4",
            (EHLO, say(f"AUTH {name}", "504 5.5.4"), say(f"AUTH {name} =", "504 5.5.4")),
        )
        for name in _NOT_OFFERED
    ),
    *(
        Case(
            f"SCRAM begins with {name}",
            "RFC 5802 §7",
            (EHLO, say(f"AUTH SCRAM-SHA-256 {_b64(first) or '='}", _WRONG), AUTH),
        )
        for name, first in _SCRAM_FIRST.items()
    ),
    *(
        Case(f"SCRAM ends with {name}", "RFC 5802 §7", (EHLO, say(_SCRAM, _SCRAM_CHALLENGE), say(final, reply), AUTH))
        for name, (final, reply) in _SCRAM_FINAL.items()
    ),
    Case("SCRAM is cancelled", "RFC 4954 §4", (EHLO, say(_SCRAM, _SCRAM_CHALLENGE), say("*", "501 5.7.0"), AUTH)),
    Case(
        "SCRAM of an unknown account is challenged like any other",
        "RFC 5802 §9",
        (
            EHLO,
            say(f"AUTH SCRAM-SHA-256 {_b64(b'n,,n=nobody,r=abc')}", _SCRAM_CHALLENGE),
            say(_b64(b"c=biws,r=abc,p=AAAA"), _WRONG),
        ),
    ),
    Case("SCRAM-SHA-256-PLUS in clear", "RFC 5802 §6", (EHLO, say("AUTH SCRAM-SHA-256-PLUS", "504 5.5.4"))),
    Case(
        "SCRAM of a client that was shown no -PLUS, which was offered",
        "RFC 5802 §6",
        (*_SECURED, say(f"AUTH SCRAM-SHA-256 {_b64(b'y,,n=app,r=abc')}", _WRONG), AUTH),
        door=Door.STARTTLS,
    ),
    Case(
        "SCRAM-SHA-256-PLUS with a channel binding of another kind",
        "RFC 5802 §6",
        (*_SECURED, say(f"AUTH SCRAM-SHA-256-PLUS {_b64(b'p=tls-unique,,n=app,r=abc')}", _WRONG), AUTH),
        door=Door.STARTTLS,
    ),
    Case(
        "SCRAM-SHA-256-PLUS without channel binding",
        "RFC 5802 §6",
        (*_SECURED, say(f"AUTH SCRAM-SHA-256-PLUS {_b64(b'n,,n=app,r=abc')}", _WRONG), AUTH),
        door=Door.STARTTLS,
    ),
    Case(
        "SCRAM-SHA-256-PLUS with the channel binding of another certificate",
        "RFC 5802 §6",
        (
            *_SECURED,
            say(f"AUTH SCRAM-SHA-256-PLUS {_b64(b'p=tls-server-end-point,,n=app,r=abc')}", _SCRAM_CHALLENGE),
            say(_b64(b"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAAA,r=abc,p=AAAA"), _WRONG),
            AUTH,
        ),
        door=Door.STARTTLS,
    ),
    Case("AUTH without a mechanism", "RFC 4954 §4", (EHLO, say("AUTH", "501 5.5.4"))),
    Case(
        "AUTH in clear",
        "RFC 4954 §4",
        (EHLO, say(AUTH.octets, "538 5.7.11"), say("AUTH LOGIN", "538 5.7.11")),
        door=Door.STARTTLS,
    ),
    Case("cancelled at once", "RFC 4954 §4", (EHLO, say("AUTH PLAIN", "334 "), say("*", "501 5.7.0"), AUTH)),
    Case(
        "cancelled at the second step",
        "RFC 4954 §4",
        (EHLO, say("AUTH LOGIN", "334 "), say(LOGIN, "334 "), say("*", "501 5.7.0"), AUTH),
    ),
    Case(
        "a command for an answer",
        "RFC 4954 §4",
        (EHLO, say("AUTH LOGIN", "334 "), say("MAIL FROM:<app@example.com>", _BAD_BASE64), AUTH),
    ),
    Case("an empty answer to a challenge", "RFC 4954 §4", (EHLO, say("AUTH PLAIN", "334 "), say("", _WRONG), AUTH)),
    Case("a NUL in an answer", "RFC 4954 §4", (EHLO, say("AUTH LOGIN", "334 "), say(b"YX\0Bw\r\n", "500 5.5.2"), AUTH)),
    Case(
        "8-bit in an answer", "RFC 4954 §4", (EHLO, say("AUTH LOGIN", "334 "), say(b"\xff\xff\r\n", "500 5.5.2"), AUTH)
    ),
    Case(
        "no base64 for a password",
        "RFC 4954 §4",
        (EHLO, say("AUTH LOGIN", "334 "), say(LOGIN, "334 "), say("?", _BAD_BASE64), AUTH),
    ),
    Case(
        "somebody else's name with the password",
        "RFC 4954 §4",
        (EHLO, say("AUTH LOGIN", "334 "), say(_b64(b"root"), "334 "), say(PASSWORD, _WRONG), AUTH),
    ),
    Case(
        "an answer over 12,288 octets",
        "RFC 4954 §4",
        (EHLO, say("AUTH PLAIN", "334 "), say("A" * 12_288, "500 5.5.6"), AUTH),
    ),
    Case(
        "an answer of a megabyte",
        "RFC 4954 §4",
        (EHLO, say("AUTH LOGIN", "334 "), say("A" * 1_000_000, "500 5.5.6"), AUTH),
    ),
    Case(
        "an answer of 12,288 octets", "RFC 4954 §4", (EHLO, say("AUTH PLAIN", "334 "), say("A" * 12_284, _WRONG), AUTH)
    ),
    Case(
        "an initial answer over 12,288 octets",
        "RFC 4954 §4",
        (EHLO, say(f"AUTH PLAIN {'A' * 12_288}", "500 5.5."), AUTH),
    ),
    Case(
        "passwords guessed on one connection",
        "RFC 4954 §4",
        (EHLO, *[say(f"AUTH PLAIN {WRONG}", _WRONG)] * 4, say(f"AUTH PLAIN {WRONG}", _WRONG, "421 4.7.0")),
        end=End.CLOSED,
    ),
    Case(
        "a login does not survive STARTTLS, since there is none before it",
        "RFC 3207 §4.2",
        (
            EHLO,
            say(AUTH.octets, "538 5.7.11"),
            STARTTLS,
            Act.HANDSHAKE,
            EHLO,
            say("MAIL FROM:<app@example.com>", "530 5.7.0"),
        ),
        door=Door.STARTTLS,
    ),
    Case(
        "an answer of PLAIN without its command",
        "RFC 4954 §4",
        (EHLO, say(PLAIN, "500 5.5.2"), say("MAIL FROM:<app@example.com>", "530 5.7.0")),
    ),
)
