"""Clients that leave at each step. What is in the queue is what was sent to its end, and nothing else."""

from tests.scenarios.hostile.case import (
    ACCEPTED,
    DATA,
    EHLO,
    HEADER,
    IN,
    LOGIN,
    MAIL,
    MESSAGE,
    OPEN,
    STARTTLS,
    Act,
    Case,
    Door,
    End,
    Step,
    say,
)

_BODY = HEADER + b"\r\nGood morning."
_AT: dict[str, tuple[Step, ...]] = {
    "at the greeting": (),
    "in a command": (say(b"EHL"),),
    "after EHLO": (EHLO,),
    "in a login": (EHLO, say("AUTH LOGIN", "334 "), say(LOGIN, "334 ")),
    "after the login": IN,
    "after MAIL": (*IN, MAIL),
    "after RCPT": OPEN,
    "after DATA": (*OPEN, DATA),
    "in the header": (*OPEN, DATA, say(HEADER[:20])),
    "in the body": (*OPEN, DATA, say(_BODY)),
    "after the last line": (*OPEN, DATA, say(_BODY + b"\r\n")),
    "after the dot": (*OPEN, DATA, say(_BODY + b"\r\n.")),
    "in the last line end": (*OPEN, DATA, say(_BODY + b"\r\n.\r")),
    "after a bare dot": (*OPEN, DATA, say(_BODY + b"\n.\n")),
    "after a refused content": (*OPEN, DATA, say(b"x\0\r\n.\r\n", "550 5.6.0")),
}
_UNDER_TLS = (EHLO, STARTTLS, Act.HANDSHAKE, *OPEN, DATA)
_WHOLE = MESSAGE + b".\r\n"
_QUEUED = ("b@example.net",)

CASES = (
    *(Case(f"closes {when}", "RFC 5321 §3.8", (*steps, Act.CLOSE), end=End.LEFT) for when, steps in _AT.items()),
    *(Case(f"is cut off {when}", "RFC 5321 §3.8", (*steps, Act.RESET), end=End.LEFT) for when, steps in _AT.items()),
    *(
        Case(f"half closes {when}", "RFC 5321 §3.8", (*steps, Act.HALF_CLOSE), end=End.CLOSED)
        for when, steps in _AT.items()
    ),
    Case("closes before the handshake", "RFC 3207 §4", (EHLO, STARTTLS, Act.CLOSE), end=End.LEFT, door=Door.STARTTLS),
    Case(
        "is cut off before the handshake", "RFC 3207 §4", (EHLO, STARTTLS, Act.RESET), end=End.LEFT, door=Door.STARTTLS
    ),
    Case("closes where TLS is spoken", "RFC 8314 §3.3", (Act.CLOSE,), end=End.LEFT, door=Door.TLS),
    Case(
        "is cut off under TLS in its content",
        "RFC 5321 §3.8",
        (*_UNDER_TLS, say(_BODY), Act.RESET),
        end=End.LEFT,
        door=Door.STARTTLS,
    ),
    Case(
        "closes under TLS in the last line end",
        "RFC 5321 §3.8",
        (*_UNDER_TLS, say(_BODY + b"\r\n.\r"), Act.CLOSE),
        end=End.LEFT,
        door=Door.STARTTLS,
    ),
    # the whole content has come: the client will not hear of it, and may send it again (RFC 1047)
    Case(
        "closes after the end of its content",
        "RFC 5321 §4.2.5",
        (*OPEN, DATA, say(_WHOLE), Act.CLOSE),
        _QUEUED,
        End.LEFT,
    ),
    Case(
        "half closes after the end of its content",
        "RFC 5321 §4.2.5",
        (*OPEN, DATA, say(_WHOLE), Act.HALF_CLOSE, say(b"", ACCEPTED)),
        _QUEUED,
        End.CLOSED,
    ),
    Case(
        "half closes after the end of a flawed content",
        "RFC 5321 §4.2.5",
        (*OPEN, DATA, say(b"x\n\r\n.\r\n"), Act.HALF_CLOSE, say(b"", "550 5.6.0")),
        end=End.CLOSED,
    ),
    Case(
        "half closes after a command",
        "RFC 5321 §4.2",
        (say(EHLO.octets + b"NOOP\r\nNO"), Act.HALF_CLOSE, say(b"", "250-", "250 2.0.0")),
        end=End.CLOSED,
    ),
    Case(
        "is cut off once it was told",
        "RFC 5321 §4.2.5",
        (*OPEN, DATA, say(_WHOLE, ACCEPTED), Act.RESET),
        _QUEUED,
        End.LEFT,
    ),
)
