"""What a receiver is told to answer, and the greylist: no network here, only choices.

Which of the usual answers a script stands in for is left to the dialogue.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

_VERBS = frozenset({"GREETING", "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "DOT", "RSET", "NOOP", "QUIT"})


class Behaviour(StrEnum):
    """What to do instead of answering."""

    HANG = "hang"  # never answer, until the client hangs up
    CLOSE = "close"  # close the connection


class Script:
    """What is to be answered when, and the greylist."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: list[_Scripted] = []
        self._grey = _Greylist(0, 0.0)
        self._first_seen: dict[tuple[str, str], tuple[int, float]] = {}

    def add(self, verb: str, about: str | None, reply: str | bytes, times: int | None) -> None:
        """See `Receiver.answer`."""
        if verb not in _VERBS:
            raise ValueError(f"{verb!r} is nothing to answer; choose of {', '.join(sorted(_VERBS))}")
        scripted = _Scripted(verb, None if about is None else _folded(about), rendered(reply), times)
        if times is None:
            self._answers = [old for old in self._answers if (old.verb, old.about) != (verb, scripted.about)]
        self._answers.append(scripted)

    def choose(self, verb: str, subjects: Sequence[str], usual: str) -> bytes | Behaviour:
        """The first answer that concerns one of the subjects, and one of its times is used up; else the usual one."""
        folded = [_folded(subject) for subject in subjects]
        for scripted in self._answers:
            if scripted.verb == verb and scripted.left != 0 and scripted.concerns(folded):
                if scripted.left is not None:
                    scripted.left -= 1
                return scripted.reply
        return rendered(usual)

    def greylist(self, attempts: int, seconds: float) -> None:
        """See `Receiver.greylist`."""
        self._grey = _Greylist(attempts, seconds)

    def greylisted(self, reverse_path: str, recipient: str) -> bool:
        """Whether this attempt comes too soon. It counts as one."""
        if self._grey == _Greylist(0, 0.0):
            return False
        key, now = (_folded(reverse_path), _folded(recipient)), self._clock()
        count, first = self._first_seen.get(key, (0, now))
        self._first_seen[key] = (count + 1, first)
        return count < self._grey.attempts or now < first + self._grey.seconds


@dataclass(slots=True)
class _Scripted:
    verb: str
    about: str | None
    reply: bytes | Behaviour
    left: int | None

    def concerns(self, subjects: Sequence[str]) -> bool:
        if self.about is None:
            return True
        if self.about.startswith("@"):
            return any(subject.endswith(self.about) for subject in subjects)
        return self.about in subjects


@dataclass(frozen=True, slots=True)
class _Greylist:
    attempts: int
    seconds: float


def rendered(reply: str | bytes) -> bytes | Behaviour:
    """A reply as octets, the code before each line of its text; octets and behaviours as they are. Or ValueError."""
    if isinstance(reply, bytes | Behaviour):
        return reply
    if not re.match(r"[2-5]\d\d( |$)", reply) or "\r" in reply:
        raise ValueError(f"{reply!r} is no reply: three digits, a space, text without CR")
    code, *lines = reply[:3], *reply[4:].split("\n")
    marked = [f"{code}{' ' if number == len(lines) else '-'}{line}\r\n" for number, line in enumerate(lines, 1)]
    return "".join(marked).encode()


def code_class(reply: bytes | Behaviour) -> bytes:
    """The first digit of a reply; nothing for a behaviour."""
    return b"" if isinstance(reply, Behaviour) else reply[:1]


def _folded(text: str) -> str:
    """An address with its domain in lower case (the local part is opaque, RFC 5321 §2.4), any other text in lower."""
    local_part, at, domain = text.rpartition("@")
    return local_part + at + domain.lower()
