"""The log: one line for each event, and the operator's messages and tracebacks beside them, in one style.

As JSON, events have the names that the store and the API have. As text, they look like the lines of Postfix, which
people and their tools know how to grep. In both, text of strangers can neither begin a line nor end a field.
"""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, TextIO

from mta.events import Event, EventType
from mta.events_json import event_to_json, event_to_text
from mta.mail.ids import time_of

MAX_TEXT = 2000
"""Letters of one value that are written; the rest is cut."""
MAX_ITEMS = 100
"""Entries of a list, or lines of a traceback: the last of them."""

Level = Literal["debug", "info", "warning", "error"]
Setting = Literal["auto", "text", "json"]

# made once: `json.dumps` makes one a call when it is told of separators
_JSON = json.JSONEncoder(separators=(",", ":"), default=str)
_IN_BRACKETS = "<>"
_IN_LIST = ' ,;=()[]<>"'
_STATUS = {
    EventType.DELIVERED: "sent",
    EventType.DEFERRED: "deferred",
    EventType.BOUNCED: "bounced",
    EventType.EXPIRED: "expired",
    EventType.HELD: "held",
    EventType.RELEASED: "released",
    EventType.CANCELLED: "cancelled",
    EventType.DELAYED_NOTICE: "delayed_notice",
}
# what libraries say of ordinary traffic is said better by events
_QUIET = ("mail.log", "uvicorn", "uvicorn.error", "aiosqlite")


@dataclass(frozen=True, slots=True)
class LogStyle:
    """How lines are written."""

    json: bool
    timestamps: bool = True
    """Whether a line of text begins with its time; JSON always has it."""

    @classmethod
    def of(cls, setting: Setting, stream: TextIO, environ: Mapping[str, str]) -> Self:
        """Return the style for a stream. `auto` is text on a terminal; the journal puts times before lines itself."""
        as_json = setting == "json" or (setting == "auto" and not stream.isatty())
        return cls(as_json, timestamps=not environ.get("JOURNAL_STREAM"))


class LogObserver:
    """Writes a line for each event. `lost` counts the lines that the stream did not take.

    Inside an event loop the lines of one turn are written together, at its end: a busy server makes many in a turn, and
    a write for each of them costs more than all the rest of the line.
    """

    def __init__(self, stream: TextIO, setting: Setting, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._style = LogStyle.of(setting, stream, environ)
        self._waiting: list[str] = []
        self.lost = 0

    def observe(self, event: Event) -> None:
        """Write one line, now or at the end of the loop's turn."""
        line = _event(event) if self._style.json else _stamped(self._style, event.at, text_line(event))
        self._waiting.append(line)
        if len(self._waiting) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self._write)
        except RuntimeError:
            self._write()

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        try:
            # one call, so that lines of the logging module come before or behind them
            self._stream.write(_writable("\n".join(lines), self._stream) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe or file: mail goes on without a log
            self.lost += len(lines)


def setup_logging(level: Level, setting: Setting, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
    """Send everything that is logged by name to a stream, in our style. May be called again, after a reload.

    This changes the state of the process, so it is for the program's start, not for a library's.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(LogStyle.of(setting, stream, environ), stream))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)


class _Formatter(logging.Formatter):
    def __init__(self, style: LogStyle, stream: TextIO) -> None:
        super().__init__()
        self._log_style = style
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info).split("\n")[-MAX_ITEMS:] if record.exc_info else []
        at = datetime.fromtimestamp(record.created, UTC)
        level, message = record.levelname.lower(), record.getMessage()
        if self._log_style.json:
            data = {"time": _iso(at), "type": "log", "level": level, "logger": record.name, "message": message}
            return _dumped({**data, "traceback": trace} if trace else data)
        line = _stamped(self._log_style, at, f"{level}: {record.name}: {escaped(message)}")
        # the bar shows that a line belongs to the one above, whatever the exception's text pretends to be
        return _writable("\n".join([line, *(f"  | {escaped(part)}" for part in trace)]), self._stream)


def text_line(event: Event) -> str:
    """Return an event as one line of text, without its time."""
    if event.type is EventType.ACCEPTED:
        return _listed(event.queue_id, _accepted(event))
    if event.type in _STATUS:
        return _listed(event.queue_id, _of_delivery(event))
    named = {
        "account": event.account,
        "stream": event.stream,
        "to": event.recipient,
        "queued": event.queue_id,
        **event.detail,
    }
    return _listed(event.type, [f"{name}={_item(value)}" for name, value in named.items() if value is not None])


def escaped(text: str, special: str = "", limit: int = MAX_TEXT) -> str:
    """Return text of bounded length in which controls, backslashes and the special letters are escaped."""
    kept = "".join(
        letter if letter.isprintable() and letter != "\\" and letter not in special else _escape(letter)
        for letter in text[:limit]
    )
    return kept if len(text) <= limit else kept + "..."


def _accepted(event: Event) -> list[str]:
    # an unknown sender is not the null one, which is written as <>
    parts = [f"from={_bracketed(event.detail['sender'])}"] if "sender" in event.detail else []
    parts += [
        f"size={_item(event.detail.get('size'))}",
        f"nrcpt={_item(event.detail.get('recipients'))}",
        f"message-id={_bracketed((event.message_id or '').removeprefix('<').removesuffix('>'))}",
        f"account={_item(event.account)}",
        f"stream={_item(event.stream)}",
    ]
    if "dsn_for" in event.detail:
        parts.append(f"dsn_for={_item(event.detail['dsn_for'])}")
    return parts


def _of_delivery(event: Event) -> list[str]:
    parts = [f"to={_bracketed(event.recipient)}"]
    if event.attempt is not None:
        parts += [f"relay={_relay(event)}", f"attempt={event.attempt}"]
        parts += [f"delay={delay:.1f}"] if (delay := _delay(event)) is not None else []
    words = str(event.detail.get("reason") or "")
    if event.reply is not None:
        parts.append(f"dsn={event.reply.status or f'{event.reply.code // 100}.0.0'}")
        words = str(event.reply)
    status = f"status={_STATUS[event.type]}"
    return [*parts, f"{status} ({escaped(words)})" if words else status]


def _relay(event: Event) -> str:
    if not event.tries:
        return "none"
    last = event.tries[-1]
    return f"{_item(last.host)}[{_item(last.address)}]:{last.port}"


def _delay(event: Event) -> float | None:
    """Seconds since the message was accepted, which its id tells."""
    try:
        return max(0.0, (event.at - time_of(event.queue_id or "")).total_seconds())
    except ValueError:
        return None


def _listed(name: str | None, parts: list[str]) -> str:
    return f"{_item(name or 'NOQUEUE')}: {', '.join(parts)}"


def _bracketed(value: object) -> str:
    return f"<{escaped('' if value is None else str(value), _IN_BRACKETS)}>"


def _item(value: object) -> str:
    return escaped("" if value is None else str(value), _IN_LIST)


def _escape(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _stamped(style: LogStyle, at: datetime, line: str) -> str:
    return f"{_iso(at)} {line}" if style.timestamps else line


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(event: Event) -> str:
    text = event_to_text(event)
    # what is short as a whole has no part that is too long
    return text if len(text) <= MAX_TEXT else _dumped(event_to_json(event))


def _dumped(data: Mapping[str, Any]) -> str:
    # ASCII only, so that no letter of a stranger reaches a terminal as it is
    line = _JSON.encode(data)
    # what is short as a whole has no part that is too long
    return line if len(line) <= MAX_TEXT else _JSON.encode(_bounded(data))


def _bounded(value: Any) -> Any:
    match value:
        case str():
            return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "..."
        case Mapping():
            return {str(name)[:MAX_TEXT]: _bounded(one) for name, one in list(value.items())[:MAX_ITEMS]}
        case list() | tuple():
            return [_bounded(one) for one in value[-MAX_ITEMS:]]
        case _:
            return value


def _writable(line: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
