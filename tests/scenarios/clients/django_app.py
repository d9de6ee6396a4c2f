"""Sends with Django's e-mail backend, as an application of Django does; a program of its own, told by a job on stdin.

Django keeps its settings in the process, so no test imports it. What it sends is left in files: Django's generator
makes new boundaries and numbers each time, and a message of this program makes them once.
"""

import json
import sys
from pathlib import Path
from typing import Any

import django  # type: ignore[import-untyped]  # it has no types
from django.conf import settings  # type: ignore[import-untyped]  # it has no types
from django.core.mail import EmailMultiAlternatives, get_connection  # type: ignore[import-untyped]  # it has no types


class KeptMessage(EmailMultiAlternatives):  # type: ignore[misc]  # a class without types
    """A message that is made once."""

    kept: Any = None

    def message(self) -> Any:
        """Return the MIME message."""
        if self.kept is None:
            self.kept = super().message()
        return self.kept


def compose(kind: str) -> KeptMessage:
    """Return a message without its addresses."""
    match kind:
        case "text":
            return KeptMessage("Grüße aus Köln 📮", "Grüße, 日本.\n.\n..dots\n\nend\n")
        case "long lines":
            return KeptMessage("Long", "é" * 499 + "\n" + "x" * 998 + "\n." + "x" * 997 + "\n")
        case "too long lines":
            return KeptMessage("Longer", "x" * 5000 + "\n", headers={"X-Campaign": "Größe " * 50})
        case "alternatives":
            made = KeptMessage("Two ways to read it", "Größe\n", headers={"List-Id": "News <news.example.com>"})
            made.attach_alternative("<p>Größe</p>\n", "text/html")
            return made
        case "attachment":
            made = KeptMessage("A picture", "See below.\n")
            made.attach("grüße.bin", "Grüße\0\r\n.\r\n".encode() * 250_000, "application/octet-stream")
            return made
    raise ValueError(f"nothing to send is called {kind!r}")


def send(job: dict[str, Any]) -> None:
    """Send all mails of a job over one connection."""
    settings.configure(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
        EMAIL_HOST=job["host"],
        EMAIL_PORT=job["port"],
        EMAIL_HOST_USER=job["user"],
        EMAIL_HOST_PASSWORD=job["password"],
        EMAIL_USE_TLS=not job["implicit"],
        EMAIL_USE_SSL=job["implicit"],
        EMAIL_TIMEOUT=30,
    )
    django.setup()
    messages = []
    for mail in job["mails"]:
        message = compose(mail["compose"])
        message.from_email, message.to = f"Jürgen Größe <{job['sender']}>", [f"Zoë <{mail['recipient']}>"]
        Path(mail["saved"]).write_bytes(message.message().as_bytes(linesep="\r\n"))
        messages.append(message)
    sent = get_connection().send_messages(messages)
    if sent != len(messages):
        raise SystemExit(f"Django sent {sent} of {len(messages)} messages")


if __name__ == "__main__":
    send(json.load(sys.stdin))
