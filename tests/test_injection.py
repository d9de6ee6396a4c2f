"""Text of strangers in a log, a trace field and a notification of ours: it begins no line, no field and no part."""

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.bounces.dsn import DsnFacts, compose
from mta.delivery.esmtp import Offers, rcpt_command
from mta.events import Event, EventType
from mta.events_json import event_from_json
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import Recipient
from mta.mail.header import Header, read_name
from mta.mail.intake import Circumstances, Intake, received, take_in
from mta.mail.outcome import Try
from mta.mail.reply import Reply, clean
from mta.observe.log import LogObserver
from mta.submission.parameters import MailArguments, parse_mail, parse_rcpt

AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
HOSTILE = (
    "\r\nBcc: x@evil.example",
    "\n.\r\n",
    "\r",
    "\0",
    "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "\r\n\r\n--dsn-",
    ", status=sent (",
    '", "type": "delivered',
    ">;<",
    " " * 100,
    "x" * 3000,
    "ü" * 1000,
    "+0D+0A",
    "=?utf-8?q?=0D=0A?=",
)
texts = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=10)), max_size=4).map("".join)


def log_line(event: Event, setting: str) -> str:
    stream = io.StringIO()
    LogObserver(stream, "json" if setting == "json" else "text", {}).observe(event)
    text = stream.getvalue()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert text[:-1].isprintable()
    return text[:-1]


def deferred(text: str) -> Event:
    reply = Reply.parse(450, [text])
    return Event(
        id="e1",
        at=AT,
        type=EventType.DEFERRED,
        account=text,
        message_id=text,
        queue_id="0123456789abcdef",
        recipient=text,
        attempt=1,
        reply=reply,
        tries=(Try(text, "192.0.2.1", 25, "rcpt", reply, remote=True),),
        detail={"reason": text},
    )


def accepted(text: str) -> Event:
    detail: dict[str, str | int | float | bool | None] = {"sender": text, "size": 1, "recipients": 1, "helo": text}
    return replace(deferred("x"), type=EventType.ACCEPTED, account=text, message_id=text, reply=None, detail=detail)


def other(text: str) -> Event:
    return replace(deferred(text), type=EventType.SUPPRESSION_ADDED, detail={"reason": text, "cause": "manual"})


KINDS = pytest.mark.parametrize("event", [deferred, accepted, other])


@KINDS
@given(text=texts)
def test_a_line_of_the_text_log_has_the_fields_that_it_has_for_honest_text(
    event: Callable[[str], Event], text: str
) -> None:
    named = re.compile(r"(?:^|, | )([a-z_-]+)=")

    def fields(line: str) -> list[str]:
        # what stands in brackets is the value of one field, and the words at the end stand in parentheses
        line = re.sub(r"<[^<>]*>", "<>", line)
        return named.findall(line.partition(" (")[0])

    assert fields(log_line(event(text), "text")) == fields(log_line(event("honest"), "text"))


@KINDS
@given(text=texts)
def test_a_line_of_the_json_log_is_the_event_and_nothing_else(event: Callable[[str], Event], text: str) -> None:
    read = event_from_json(json.loads(log_line(event(text), "json")))
    shown = text if len(text) <= 2000 else text[:2000] + "..."
    expected = event(text)
    assert read.type is expected.type
    assert read.account == shown
    assert set(read.detail) == set(expected.detail)


def own_structure(header: bytes) -> list[str]:
    fields = Header.parse(header).fields
    assert all(read_name(one.raw)[1] for one in fields)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", header)
    assert max(map(len, header.split(b"\r\n"))) <= 998
    return [one.name for one in fields]


@given(helo=texts, envid=texts, orcpt=texts, sender=texts, recipient=texts, words=texts, host=texts, utf8=st.booleans())
@example(
    helo="x\r\nBcc: y",
    envid="a\r\nStatus: 2.0.0",
    orcpt="rfc822;x\r\nAction: delivered",
    sender='"a\r\nBcc: y"@own.example',
    recipient="<b@example.net>\r\nDATA",
    words="5.1.1 no\r\n\r\n--x",
    host="mx\r\n.example",
    utf8=True,
)
def test_whatever_was_taken_in_is_written_without_harm(
    helo: str, envid: str, orcpt: str, sender: str, recipient: str, words: str, host: str, utf8: bool
) -> None:
    """Nothing that the door takes is trusted by what writes it, and nothing that it refuses would have done harm."""
    to = Recipient(_mailbox(recipient) or Mailbox("b", "example.net"), orcpt=orcpt)
    how = Circumstances("0123456789abcdef", AT, "mail.example.com", helo, "ESMTPSA", recipient=to.mailbox)
    assert own_structure(received(how)) == ["received"]
    dsn = compose(
        DsnFacts(
            hostname="mail.example.com",
            dsn_id="0123456789abcdef",
            reverse_path=_mailbox(sender) or Mailbox("a", "own.example"),
            recipient=to,
            reply=Reply.parse(550, words.split("\n")),
            arrived_at=AT,
            attempted_at=AT,
            original_header=f"Subject: {words}\r\nMessage-ID: <{envid}>\r\n".encode("utf-8", "replace"),
            remote_mta=host,
            envid=envid,
            smtputf8=utf8,
        ),
        AT,
    )
    names = own_structure(dsn.header)
    assert len(set(names)) == len(names)
    assert not {"bcc", "cc", "sender"} & set(names)
    boundary = dsn.body.split(b"\r\n", 1)[0]
    parts = (b"\r\n" + dsn.body).split(b"\r\n" + boundary)
    assert [len(parts), parts[-1]] == [5, b"--\r\n"]
    _, message, recipients, _ = (parts[2] + b"\r\n").split(b"\r\n\r\n", 3)
    assert own_structure(message)[0] == "reporting-mta"
    fields = own_structure(recipients)
    assert [fields.count(name) for name in ("final-recipient", "action", "status")] == [1, 1, 1]


@given(argument=texts, utf8=st.booleans())
@example(argument="TO:<b@example.net> ORCPT=rfc822;x+0D+0ADATA", utf8=False)
@example(argument='TO:<"b\\\r\n"@example.net>', utf8=True)
def test_what_a_client_says_of_a_recipient_makes_one_command_to_the_next_host(argument: str, utf8: bool) -> None:
    for text in (argument, f"TO:<{argument}>", f"TO:<b@example.net> ORCPT=rfc822;{argument}"):
        recipient = parse_rcpt(text, utf8=utf8)
        if isinstance(recipient, Recipient):
            command = rcpt_command(recipient, Offers(dsn=True))
            assert not {0, 10, 13} & set(command)


@given(argument=texts)
def test_what_a_client_says_of_a_sender_is_refused_on_one_line_or_clean(argument: str) -> None:
    for text in (argument, f"FROM:<{argument}>", f"FROM:<a@own.example> ENVID={argument}"):
        came = parse_mail(text)
        if isinstance(came, MailArguments):
            assert came.reverse_path == ReversePath.parse(f"<{came.reverse_path}>", utf8=True)
            assert clean(came.envid or "") == (came.envid or "")
        else:
            assert all(len(line.splitlines()) == 1 for line in came.lines())


@given(value=texts)
def test_what_a_header_says_is_clean_where_it_is_shown(value: str) -> None:
    how = Circumstances("0123456789abcdef", AT, "mail.example.com", "x", "ESMTPSA")
    octets = f"From: a@own.example\r\nMessage-ID: {value}\r\nX-MTA-Tag: {value}\r\n".encode("utf-8", "replace")
    intake = take_in(Header.parse(octets), how)
    shown = [intake.message_id, intake.control.tag or ""] if isinstance(intake, Intake) else intake.lines()
    assert all(clean(text) == text for text in shown)


def _mailbox(text: str) -> Mailbox | None:
    for written in (text, f"{text}@example.net", f'"{text}"@example.net'):
        try:
            return Mailbox.parse(written, utf8=True)
        except ValueError:
            continue
    return None
