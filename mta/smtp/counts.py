"""What a listener tells of itself beside events, and by which word a refusal is counted."""

from typing import Protocol

from mta.mail import failures
from mta.mail.reply import Reply

_BY_REPLY = {
    failures.TOO_MANY_CONNECTIONS: "connections",
    failures.TOO_MANY_ERRORS: "errors",
    failures.TOO_MANY_COMMANDS: "errors",
    failures.OUT_OF_STEP: "errors",
    failures.STORE_UNAVAILABLE: "store",
    failures.RELAY_DENIED: "relay",
    failures.AUTH_REQUIRED: "auth",
    failures.TLS_REQUIRED: "auth",
    failures.AUTH_UNAVAILABLE: "auth",
    failures.LOCKED_OUT: "auth",
}
_BY_STATUS = {
    "5.7.8": "auth",
    "5.1.7": "sender",
    "5.7.1": "sender",
    "5.1.1": "recipient",
    "5.1.3": "recipient",
    "5.1.2": "recipient",
    "4.5.3": "recipients",
    "5.3.4": "size",
    "4.3.1": "space",
    "4.3.0": "internal",
    "4.7.1": "rate",
    "5.6.0": "content",
    "5.4.6": "loop",
    "4.4.2": "timeout",
    "4.3.2": "shutdown",
    "5.7.0": "auth",
}
_SUPPRESSED, _SUSPENDED = failures.suppressed("").text, failures.suspended("", "").text


class Counts(Protocol):
    """Who counts. A `role` is a listener's: `submission`, `inbound`."""

    def rejected(self, reason: str, role: str) -> None:
        """A command or a message was refused."""
        ...

    def connection_opened(self, role: str) -> None:
        """A client came."""
        ...

    def connection_closed(self, role: str) -> None:
        """A client went."""
        ...

    def tls_session(self, role: str, version: str | None) -> None:
        """A handshake succeeded."""
        ...

    def tls_failed(self, role: str) -> None:
        """A handshake failed."""
        ...


class Uncounted:
    """Nobody counts."""

    def rejected(self, reason: str, role: str) -> None:
        """A command or a message was refused."""

    def connection_opened(self, role: str) -> None:
        """A client came."""

    def connection_closed(self, role: str) -> None:
        """A client went."""

    def tls_session(self, role: str, version: str | None) -> None:
        """A handshake succeeded."""

    def tls_failed(self, role: str) -> None:
        """A handshake failed."""


def reason_of(reply: Reply) -> str:
    """Return the word by which a refusal is counted."""
    if reply in _BY_REPLY:
        return _BY_REPLY[reply]
    status = str(reply.status)
    if status == "5.7.1" and reply.text.startswith(_SUPPRESSED):
        return "suppressed"
    if status == "5.7.1" and _SUSPENDED in reply.text:
        return "suspended"
    return _BY_STATUS.get(status, "syntax" if status.startswith("5.5.") else "other")
