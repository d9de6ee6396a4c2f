"""What a line of the log says, and that nobody but us can begin one."""

import asyncio
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.events import Event, EventType
from mta.events_json import event_to_json
from mta.mail import ids
from mta.mail.outcome import TlsUse, Try
from mta.mail.reply import Reply
from mta.observe.log import LogObserver, LogStyle, Setting, escaped, setup_logging, text_line

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
QUEUE_ID = ids.first_at(AT - timedelta(seconds=2.4))
OK = Reply.parse(250, ["2.0.0 Ok: queued"])
NO = Reply.parse(450, ["4.7.1 Greylisted", "come back"])
MX = Try("mx.example.net", "192.0.2.1", 25, "dot", OK, remote=True, tls=TlsUse("TLSv1.3", "TLS_AES_256_GCM_SHA384"))

DELIVERED = Event(
    id="e1",
    at=AT,
    type=EventType.DELIVERED,
    account="shop",
    stream="transactional",
    message_id="<m@example.com>",
    queue_id=QUEUE_ID,
    delivery_id="d1",
    recipient="b@example.net",
    attempt=1,
    reply=OK,
    tries=(MX,),
)


@pytest.fixture
def process_logging() -> Iterator[None]:
    """Puts back what `setup_logging` changes for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("mail.log", "uvicorn", "uvicorn.error", "aiosqlite")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)


def line_of(event: Event, setting: Setting = "text", environ: dict[str, str] | None = None) -> str:
    stream = io.StringIO()
    LogObserver(stream, setting, environ or {}).observe(event)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            DELIVERED,
            (
                "{id}: to=<b@example.net>, relay=mx.example.net[192.0.2.1]:25, attempt=1, delay=2.4, dsn=2.0.0, "
                "status=sent (250 2.0.0 Ok: queued)"
            ),
        ),
        (
            replace(DELIVERED, type=EventType.DEFERRED, attempt=2, reply=NO),
            (
                "{id}: to=<b@example.net>, relay=mx.example.net[192.0.2.1]:25, attempt=2, delay=2.4, dsn=4.7.1, "
                "status=deferred (450 4.7.1 Greylisted come back)"
            ),
        ),
        (
            replace(DELIVERED, type=EventType.BOUNCED, reply=Reply(550, None, "no"), tries=()),
            "{id}: to=<b@example.net>, relay=none, attempt=1, delay=2.4, dsn=5.0.0, status=bounced (550 no)",
        ),
        (
            replace(DELIVERED, type=EventType.EXPIRED, reply=NO),
            (
                "{id}: to=<b@example.net>, relay=mx.example.net[192.0.2.1]:25, attempt=1, delay=2.4, dsn=4.7.1, "
                "status=expired (450 4.7.1 Greylisted come back)"
            ),
        ),
        (
            replace(DELIVERED, type=EventType.HELD, attempt=None, reply=None, tries=(), detail={"reason": "no key"}),
            "{id}: to=<b@example.net>, status=held (no key)",
        ),
        (
            replace(DELIVERED, type=EventType.CANCELLED, attempt=None, reply=None, tries=()),
            "{id}: to=<b@example.net>, status=cancelled",
        ),
        (
            Event(
                "e2",
                AT,
                EventType.ACCEPTED,
                "shop",
                "bulk",
                message_id="<m@example.com>",
                queue_id=QUEUE_ID,
                detail={"sender": "a@example.com", "size": 1047, "recipients": 2},
            ),
            "{id}: from=<a@example.com>, size=1047, nrcpt=2, message-id=<m@example.com>, account=shop, stream=bulk",
        ),
        (
            Event("e3", AT, EventType.ACCOUNT_CHANGED, "shop", detail={"by": "root", "what": "password"}),
            "account_changed: account=shop, by=root, what=password",
        ),
    ],
)
def test_a_line_of_text_looks_as_administrators_know_it(event: Event, line: str) -> None:
    assert line_of(event) == f"2026-01-02T03:04:05.678Z {line.format(id=QUEUE_ID)}\n"


@pytest.mark.parametrize("kind", EventType)
def test_every_type_of_event_has_a_line(kind: EventType) -> None:
    assert len(line_of(replace(DELIVERED, type=kind)).splitlines()) == 1


def test_a_line_of_json_is_the_event() -> None:
    assert json.loads(line_of(DELIVERED, "json")) == event_to_json(DELIVERED)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("setting", "stream", "environ", "style"),
    [
        ("auto", Terminal(), {}, LogStyle(json=False)),
        ("auto", io.StringIO(), {}, LogStyle(json=True)),
        ("text", io.StringIO(), {}, LogStyle(json=False)),
        ("json", Terminal(), {}, LogStyle(json=True)),
        ("text", io.StringIO(), {"JOURNAL_STREAM": "8:123"}, LogStyle(json=False, timestamps=False)),
    ],
)
def test_the_style_suits_the_stream(
    setting: Setting, stream: io.StringIO, environ: dict[str, str], style: LogStyle
) -> None:
    assert LogStyle.of(setting, stream, environ) == style


def test_the_journal_puts_the_time_before_a_line_of_text() -> None:
    assert line_of(DELIVERED, environ={"JOURNAL_STREAM": "8:123"}).startswith(f"{QUEUE_ID}: to=")


# text of strangers

INJECTIONS = [
    "a\nQID: to=<x>, status=sent (250)",
    "a\r\nb",
    "\x00",
    "\x1b[31mred\x1b[0m",
    "\x85next",
    "\u2028line",
    "\u202egnp",
    "\ud800",
    "\\n",
]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("setting", ["text", "json"])
@pytest.mark.parametrize(
    "name", ["recipient", "account", "queue_id", "message_id", "stream", "sender", "host", "address", "reply", "reason"]
)
def test_text_of_strangers_begins_no_line(text: str, setting: Setting, name: str) -> None:
    line = line_of(hostile(name, text), setting)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line[:-1].isprintable()


def hostile(name: str, text: str) -> Event:
    event = replace(DELIVERED, type=EventType.DEFERRED)
    match name:
        case "host":
            return replace(event, tries=(replace(MX, host=text),))
        case "address":
            return replace(event, tries=(replace(MX, address=text),))
        case "reply":
            return replace(event, reply=Reply(450, None, text))
        case "reason":
            return replace(event, type=EventType.HELD, reply=None, detail={"reason": text, text: text})
        case "sender":
            return replace(event, type=EventType.ACCEPTED, detail={"sender": text, "size": text})
        case _:
            return replace(event, **{name: text})


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (replace(DELIVERED, recipient='"a>, status=sent (250), x=<b"@example.net'), 'to=<"a\\x3e, status=sent'),
        (
            replace(DELIVERED, tries=(replace(MX, host="mx[1.2.3.4]:25, dsn=2.0.0"),)),
            "relay=mx\\x5b1.2.3.4\\x5d:25\\x2c\\x20dsn\\x3d2",
        ),
        (replace(DELIVERED, recipient="a\\x3e@example.net"), "to=<a\\\\x3e@example.net>"),
    ],
)
def test_text_of_strangers_ends_no_field(event: Event, shown: str) -> None:
    assert shown in text_line(event)


@given(st.text())
def test_escaping_loses_nothing(text: str) -> None:
    shown = escaped(text, " ,<>")
    assert shown.isprintable()
    assert not set(" ,<>") & set(shown)
    assert _ESCAPE.sub(lambda found: "\\" if found[0] == "\\\\" else chr(int(found[0][2:], 16)), shown) == text


_ESCAPE = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


@pytest.mark.parametrize("setting", ["text", "json"])
def test_a_line_is_bounded(setting: Setting) -> None:
    huge = "x" * 1_000_000
    event = replace(
        DELIVERED,
        metadata=huge,
        reply=Reply(450, None, huge),
        tries=(MX,) * 1000,
        detail={str(n): huge for n in range(500)},
    )
    assert len(line_of(event, setting)) < 300_000


def test_a_stream_without_utf8_gets_escapes() -> None:
    octets = io.BytesIO()
    stream = io.TextIOWrapper(octets, encoding="ascii")
    LogObserver(stream, "text", {}).observe(replace(DELIVERED, recipient="jürgen@example.net"))
    assert b"to=<j\\xfcrgen@example.net>" in octets.getvalue()


async def test_in_an_event_loop_the_lines_of_one_turn_are_written_together() -> None:
    writes: list[str] = []

    class Counting(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    observer = LogObserver(Counting(), "json", {})
    observer.observe(DELIVERED)
    observer.observe(DELIVERED)
    assert writes == []
    await asyncio.sleep(0)
    (written,) = writes
    assert [json.loads(line)["type"] for line in written.splitlines()] == ["delivered", "delivered"]


def test_a_stream_that_fails_stops_nothing() -> None:
    stream = io.StringIO()
    observer = LogObserver(stream, "text", {})
    stream.close()
    observer.observe(DELIVERED)
    assert observer.lost == 1


# what is logged by name


@pytest.mark.usefixtures("process_logging")
def test_a_message_for_the_operator_is_one_line() -> None:
    stream = io.StringIO()
    setup_logging("info", "text", stream, {"JOURNAL_STREAM": "8:1"})
    logging.getLogger("mta.queue").warning("lost %s", "a\nb")
    assert stream.getvalue() == "warning: mta.queue: lost a\\x0ab\n"


@pytest.mark.usefixtures("process_logging")
def test_a_message_as_json_has_its_traceback_in_lines() -> None:
    stream = io.StringIO()
    setup_logging("info", "json", stream, {})
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("mta.queue").exception("it failed")
    data = json.loads(stream.getvalue())
    assert (data["type"], data["level"], data["logger"], data["message"]) == ("log", "error", "mta.queue", "it failed")
    assert data["traceback"][0] == "Traceback (most recent call last):"
    assert data["traceback"][-2:] == ["ValueError: first", "second"]


@pytest.mark.usefixtures("process_logging")
def test_a_traceback_as_text_cannot_be_taken_for_lines_of_the_log() -> None:
    stream = io.StringIO()
    setup_logging("info", "text", stream, {"JOURNAL_STREAM": "8:1"})
    try:
        raise ValueError("x\nQID: status=sent\x1b")
    except ValueError:
        logging.getLogger("mta.queue").exception("it failed")
    first, *rest = stream.getvalue().splitlines()
    assert first == "error: mta.queue: it failed"
    assert rest[-1] == "  | QID: status=sent\\x1b"
    assert all(line.startswith("  | ") for line in rest)


@pytest.mark.usefixtures("process_logging")
@pytest.mark.parametrize(
    ("level", "name", "heard"),
    [
        ("info", "mta.queue", ["info", "warning", "error"]),
        ("error", "mta.queue", ["error"]),
        ("debug", "mta.queue", ["debug", "info", "warning", "error"]),
        ("debug", "mail.log", ["warning", "error"]),
        ("debug", "uvicorn.error", ["warning", "error"]),
        ("error", "mail.log", ["error"]),
    ],
)
def test_the_level_rules_and_libraries_are_kept_quiet(level: str, name: str, heard: list[str]) -> None:
    stream = io.StringIO()
    setup_logging(level, "json", stream, {})  # type: ignore[arg-type]  # one of the levels
    for one in ("debug", "info", "warning", "error"):
        logging.getLogger(name).log(logging.getLevelName(one.upper()), "x")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == heard


@pytest.mark.usefixtures("process_logging")
def test_it_may_be_set_up_again() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup_logging("error", "json", first, {})
    setup_logging("info", "json", second, {})
    logging.getLogger("mta").info("hello")
    assert (first.getvalue(), json.loads(second.getvalue())["message"]) == ("", "hello")


@pytest.mark.usefixtures("process_logging")
def test_warnings_of_python_are_lines_too() -> None:
    stream = io.StringIO()
    setup_logging("info", "json", stream, {})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"
