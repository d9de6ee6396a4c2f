"""What goes over the control socket: one JSON object a line, a request and then its answers.

A request is `{"command": NAME, "arguments": {…}}`, and `"who"` beside them where a supervisor passes it on to a worker.
The answers are any number of `{"row": {…}}` and at last either `{"done": true}` or `{"error": TEXT, "exit": CODE}`,
where the code is the exit code the command ends with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

SOCKET = "control.sock"
"""The control socket's name in `data_dir`."""
MAX_LINE = 1 << 20
"""Octets of one line; longer ones are refused on both sides."""

Json = dict[str, Any]
"""A JSON object on its way over the socket; taken apart at once on both sides."""


class CommandFailed(Exception):
    """A command cannot be carried out: a sentence for the operator, and the exit code (sysexits)."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Request:
    """A command with its arguments."""

    command: str
    arguments: Mapping[str, Any]
    who: str = ""
    """Who asked the one that passes this on; empty: whoever is at the other end."""

    def dump(self) -> bytes:
        """Return the request's line."""
        said = {"command": self.command, "arguments": dict(self.arguments)}
        return json.dumps({**said, "who": self.who} if self.who else said).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a request's line.

        Raises:
            ValueError: it is none.
        """
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"{line[:40]!r} is no request: a line of JSON was expected") from None
        if not isinstance(read, dict) or not isinstance(read.get("command"), str):
            raise ValueError(f"{line[:40]!r} is no request: it names no command")
        arguments = read.get("arguments", {})
        if not isinstance(arguments, dict):
            raise ValueError("the arguments of a request are a JSON object")
        who = read.get("who", "")
        if not isinstance(who, str):
            raise ValueError("who asks in a request is a text")
        return cls(read["command"], arguments, who)


def row(answer: Mapping[str, Any]) -> bytes:
    """Return the line of one answer."""
    return json.dumps({"row": dict(answer)}, default=str).encode() + b"\n"


def done() -> bytes:
    """Return the line that ends the answers of a command that was carried out."""
    return b'{"done": true}\n'


def error(failure: CommandFailed) -> bytes:
    """Return the line that ends the answers of a command that was not."""
    return json.dumps({"error": failure.text, "exit": failure.exit_code}).encode() + b"\n"
