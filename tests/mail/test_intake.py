import re
import time
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.accounts.account import STREAMS
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.header import Header, read_name
from mta.mail.intake import MAX_FIELDS, MAX_HEADER, MAX_METADATA, Circumstances, Control, Intake, received, take_in
from mta.mail.reply import Reply
from mta.queue.model import Stream
from tests.mail.circumstances import AT, HOW

TRACE = (
    b"Received: from client.example.net\r\n"
    b" by mail.example.com with ESMTPSA id 0123456789abcdef;\r\n"
    b" Sun, 22 Nov 2026 03:04:05 +0000\r\n"
)
PLAIN = b"From: a@own.example\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\nMessage-ID: <1@own.example>\r\n"


def taken(octets: bytes, how: Circumstances = HOW) -> Intake:
    intake = take_in(Header.parse(octets), how)
    assert isinstance(intake, Intake), intake
    return intake


def refused(octets: bytes) -> Reply:
    reply = take_in(Header.parse(octets), HOW)
    assert isinstance(reply, Reply), reply
    return reply


def test_a_complete_header_only_gets_a_trace_field() -> None:
    assert bytes(taken(PLAIN).header) == TRACE + PLAIN


def test_missing_date_and_message_id_are_added_below_the_trace_field() -> None:
    assert bytes(taken(b"From: a@own.example\r\n").header) == (
        TRACE
        + b"Date: Sun, 22 Nov 2026 03:04:05 +0000\r\nMessage-ID: <0123456789abcdef@mail.example.com>\r\n"
        + b"From: a@own.example\r\n"
    )


def test_the_clients_message_id_is_known_and_kept() -> None:
    assert taken(PLAIN).message_id == "<1@own.example>"


@pytest.mark.parametrize("times", [1, 2])
def test_fields_without_a_value_are_replaced_not_doubled(times: int) -> None:
    header = taken(b"From: a@own.example\r\n" + b"Date:\r\nMessage-ID: \r\n" * times).header
    assert [one.text for one in header.find("date")] == [format_datetime(AT)]
    assert [one.text for one in header.find("message-id")] == ["<0123456789abcdef@mail.example.com>"]


@pytest.mark.parametrize(
    "fields",
    [
        b"Date: \r\n soon\r\nMessage-ID: without brackets\r\n",
        b"Date: x\r\nDate: y\r\nMessage-ID: <1@own.example>\r\nMessage-ID: <2@own.example>\r\n",
        b"Message-ID:\r\nMessage-ID: <1@own.example>\r\nDate:\r\nDate: x\r\n",
        b"message-id:<1@own.example>\r\ndate:x\r\n",
    ],
)
def test_a_date_and_a_message_id_that_are_there_are_never_touched(fields: bytes) -> None:
    octets = b"From: a@own.example\r\n" + fields
    intake = taken(octets)
    assert bytes(intake.header) == TRACE + octets
    assert intake.message_id_given


def test_of_several_message_ids_the_first_that_is_one_is_told() -> None:
    fields = b"Date: x\r\nMessage-ID: \r\nMessage-ID: <1@own.example>\r\nMessage-ID: <2@own.example>\r\n"
    assert taken(b"From: a@own.example\r\n" + fields).message_id == "<1@own.example>"


@pytest.mark.parametrize("fields", [b"", b"Message-ID:\r\n", b"X-MTA-Message-ID: <1@own.example>\r\n"])
def test_it_is_told_when_the_message_id_is_ours(fields: bytes) -> None:
    assert not taken(b"From: a@own.example\r\n" + fields).message_id_given


def test_a_message_id_that_would_spoil_a_log_is_cleaned_where_it_is_shown_only() -> None:
    octets = b"From: a@own.example\r\nDate: x\r\nMessage-ID: <\x1b[2J\xff@own.example>\r\n"
    intake = taken(octets)
    assert intake.message_id == "<?[2J\ufffd@own.example>"
    assert bytes(intake.header) == TRACE + octets


@pytest.mark.parametrize(
    "field",
    [
        b"Bcc: secret@example.net\r\n",
        b"bcc:secret@example.net\r\n",
        b"BCC : secret@example.net\r\n",
        b"Bcc: a@example.net,\r\n secret@example.net,\r\n\tb@example.net\r\n",
        b"Bcc\r\n : secret@example.net\r\n",
        b"Bcc \r\n\t : secret@example.net\r\n",
        b"Bcc\t: secret@example.net\r\n",
        b"Bcc:\r\n",
        b"Bcc:\r\n \r\n secret@example.net\r\n",
        b"Bcc: secret@example.net\r\nX-MTA-Tag: secret\r\nBcc: secret2@example.net\r\n",
        b"Bcc: secret@example.net\r\nbCC: secret2@example.net\r\n",
        b"Resent-Bcc: secret@example.net\r\n",
        b"RESENT-bcc \t:\r\n secret@example.net\r\nResent-Bcc:\r\n",
        b"Resent-Bcc\r\n :secret@example.net\r\n",
        b"Return-Path: <secret@example.net>\r\n",
        b"return-PATH : <secret@example.net>\r\nReturn-Path: <>\r\nReturn-Path:\r\n",
        b"Return-Path\r\n\t:<secret@example.net>\r\n",
        b"X-MTA-Pool: secret\r\n",
        b"X-MTA-Secret : secret\r\nx-mta-secret\r\n : secret\r\nX-MTA-:\r\n",
        b"X-MTA-Other: secret\r\nX-MTA-Other: secret\r\n",
        b"X-MTA-Whatever:\r\n secret\r\n",
        b"x-mta-TAG:\r\n\tsecret\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", b"Subject: x\r\n"])
def test_what_recipients_must_not_see_is_removed_and_nothing_else(before: bytes, field: bytes) -> None:
    assert bytes(taken(before + field + PLAIN).header) == TRACE + before + PLAIN


def test_fields_that_only_look_alike_stay() -> None:
    octets = PLAIN + b"X-Bcc: x\r\nXMTA-Tag: x\r\nBccc: x\r\nX-MTA: x\r\n"
    assert bytes(taken(octets).header) == TRACE + octets


def test_odd_fields_are_carried_unchanged() -> None:
    octets = PLAIN + b"Odd!: \xff\r\n folded\r\n \r\nx:\r\nX-Empty: \r\n"
    assert bytes(taken(octets).header) == TRACE + octets


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"", failures.NO_FROM),
        (b"Subject: x\r\n", failures.NO_FROM),
        (b"X-From: a@own.example\r\n", failures.NO_FROM),
        (PLAIN + PLAIN, failures.MANY_FROM),
        (PLAIN + b"FROM :\tb@own.example\r\n", failures.MANY_FROM),
        (PLAIN + b"from\r\n : x@evil.example\r\n", failures.MANY_FROM),
        (b" folded\r\n" + PLAIN, failures.BAD_FIRST_LINE),
        (b"\tfolded\r\n" + PLAIN, failures.BAD_FIRST_LINE),
        (b"no field at all\r\n" + PLAIN, failures.NOT_A_FIELD),
        (b"From a@own.example Mon Jan  1 00:00:00 2026\r\n" + PLAIN, failures.NOT_A_FIELD),
        (PLAIN + b": nameless\r\n", failures.NOT_A_FIELD),
        (PLAIN + b"B\xe4d: x\r\n", failures.NOT_A_FIELD),
        (PLAIN + b"Subject : x\r\n", failures.NOT_A_FIELD),
        (b"Received: x\r\n" * 101 + PLAIN, failures.MAIL_LOOP),
        (PLAIN + b"X: " + b"x" * MAX_HEADER + b"\r\n", failures.HEADER_TOO_LARGE),
        (PLAIN + b"x:\r\n" * (MAX_FIELDS - 2), failures.HEADER_TOO_LARGE),
        # the reader of contents lets none of these through; this door holds without it
        (PLAIN + b"Subject: x\rFrom: x@evil.example\r\n", failures.BARE_LINE_END),
        (PLAIN + b"Subject: x\nBcc: x@evil.example\r\n", failures.BARE_LINE_END),
        (PLAIN + b"Subject: x\x00\r\n", failures.BARE_LINE_END),
        (b"\n\r" + PLAIN, failures.BARE_LINE_END),
    ],
)
def test_what_cannot_be_sent_is_refused(octets: bytes, reply: Reply) -> None:
    assert refused(octets) == reply


@pytest.mark.parametrize(
    "octets",
    [
        b"From:\r\n",
        b"From: undisclosed:;\r\n",
        b"From: a@own.example <x@evil.example>\r\n",
        PLAIN + b"Sender:\r\n",
        PLAIN + b"Sender: a@own.example, b@own.example\r\n",
        PLAIN + b"Sender: a@own.example\r\nSender: a@own.example\r\n",
        PLAIN + b"Resent-From:\r\n",
        PLAIN + b"Resent-Sender: all: a@own.example;\r\n",
    ],
)
def test_authors_that_cannot_be_read_in_one_way_are_refused(octets: bytes) -> None:
    assert str(refused(octets)).startswith("550 5.6.0 Bad From or Sender field")


def test_a_hundred_hops_are_not_yet_a_loop() -> None:
    assert len(taken(b"Received: x\r\n" * 100 + PLAIN).header.find("received")) == 101


def test_the_authors_and_the_sender_are_told() -> None:
    intake = taken(b"From: A <a@own.example>, b@own.example\r\nSender: c@own.example\r\n")
    assert intake.originators == (Mailbox("a", "own.example"), Mailbox("b", "own.example"))
    assert intake.sender == Mailbox("c", "own.example")
    assert intake.writers == (*intake.originators, Mailbox("c", "own.example"))


def test_whoever_resent_the_message_is_told_too() -> None:
    intake = taken(
        PLAIN
        + b"Resent-From: b@own.example, c@own.example\r\n"
        + b"Resent-Sender: d@own.example\r\nResent-To: x@example.net\r\n"
    )
    assert [str(one) for one in intake.resent] == ["b@own.example", "c@own.example", "d@own.example"]
    assert intake.writers == (Mailbox("a", "own.example"), *intake.resent)


def test_a_resent_field_that_cannot_be_read_is_named() -> None:
    assert "Resent-Sender: a group" in str(refused(PLAIN + b"Resent-Sender: all: a@own.example;\r\n"))


@pytest.mark.parametrize(
    ("fields", "control"),
    [
        (b"", Control()),
        (b"X-MTA-Stream: bulk\r\n", Control(stream="bulk")),
        (b"X-MTA-Stream: Transactional\r\n", Control(stream="transactional")),
        (b"X-MTA-Tag: spring sale \xc3\xa9\r\n", Control(tag="spring sale é")),
        (b"X-MTA-Topic: news\r\n", Control(topic="news")),
        (b'X-MTA-Metadata: {"order":\r\n 1}\r\n', Control(metadata='{"order": 1}')),
        (b"X-MTA-Expires: 15m\r\n", Control(expires_in=timedelta(minutes=15))),
        (b"X-MTA-Expires: 30d\r\n", Control(expires_in=timedelta(days=30))),
        (b"X-MTA-Pool: main\r\n", Control(pool="main")),
        (b"X-MTA-Track: none\r\n", Control()),
        (b"X-MTA-Track: Opens\r\n", Control(track=frozenset({"opens"}))),
        (b"X-MTA-Track: opens,\r\n clicks\r\n", Control(track=frozenset({"opens", "clicks"}))),
        (b"X-MTA-Other: x\r\nX-MTA-Other: y\r\n", Control()),
    ],
)
def test_control_fields_are_read(fields: bytes, control: Control) -> None:
    assert taken(PLAIN + fields).control == control


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (b"X-MTA-Stream: spam\r\n", "X-MTA-Stream"),
        (b"X-MTA-Stream:\r\n", "X-MTA-Stream"),
        (b"X-MTA-Stream: bulk\r\nX-MTA-Stream: bulk\r\n", "X-MTA-Stream"),
        (b"X-MTA-Tag:\r\n", "X-MTA-Tag"),
        (b"X-MTA-Tag: a\x07b\r\n", "X-MTA-Tag"),
        ("X-MTA-Tag: a\u2028b\r\n".encode(), "X-MTA-Tag"),
        ("X-MTA-Topic: a\u202eb\r\n".encode(), "X-MTA-Topic"),
        (b'X-MTA-Metadata: {"x": NaN}\r\n', "X-MTA-Metadata"),
        (b'X-MTA-Metadata: {"x": [-Infinity]}\r\n', "X-MTA-Metadata"),
        (b"X-MTA-Topic: " + b"x" * 129 + b"\r\n", "X-MTA-Topic"),
        (b"X-MTA-Metadata: [1]\r\n", "X-MTA-Metadata"),
        (b"X-MTA-Metadata: {\r\n", "X-MTA-Metadata"),
        (b"X-MTA-Metadata: " + b"[" * 3000 + b"\r\n", "X-MTA-Metadata"),
        (b'X-MTA-Metadata: {"x": "' + b"x" * MAX_METADATA + b'"}\r\n', "X-MTA-Metadata"),
        (b"X-MTA-Expires: 0m\r\n", "X-MTA-Expires"),
        (b"X-MTA-Expires: soon\r\n", "X-MTA-Expires"),
        (b"X-MTA-Expires: 9999999d\r\n", "X-MTA-Expires"),
        ("X-MTA-Expires: ١m\r\n".encode(), "X-MTA-Expires"),
        (b"X-MTA-Pool: main\r\nX-MTA-Pool: main\r\n", "X-MTA-Pool"),
        (b"X-MTA-Pool:\r\n", "X-MTA-Pool"),
        (b"X-MTA-Track: opens, none\r\n", "X-MTA-Track"),
        (b"X-MTA-Track: everything\r\n", "X-MTA-Track"),
        (b"X-MTA-Track:\r\n", "X-MTA-Track"),
    ],
)
def test_a_control_field_that_cannot_be_obeyed_is_refused_by_name(fields: bytes, name: str) -> None:
    assert str(refused(PLAIN + fields)).startswith(f"550 5.6.0 Bad {name} field")


def test_streams_are_called_the_same_everywhere() -> None:
    assert {taken(PLAIN + f"X-MTA-Stream: {one}\r\n".encode()).control.stream for one in Stream} == set(STREAMS)


@pytest.mark.parametrize(
    ("helo", "client"),
    [
        ("client.example.net", b"client.example.net"),
        ("Client.Example.NET", b"client.example.net"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("localhost", b"localhost"),
        ("[192.0.2.1]", b"unknown"),
        ("192.0.2.1", b"unknown"),
        ("[IPv6:2001:db8::1]", b"unknown"),
        ("a_b", b"unknown"),
        ("x (evil)", b"unknown"),
        ("x\r\nBcc: y", b"unknown"),
        ("\udc80", b"unknown"),
        ("", b"unknown"),
    ],
)
def test_only_a_name_that_is_one_gets_into_the_trace_field(helo: str, client: bytes) -> None:
    how = Circumstances(HOW.queue_id, AT, HOW.hostname, helo, "ESMTPSA")
    assert received(how).split(b"\r\n")[0] == b"Received: from " + client


@pytest.mark.parametrize(
    ("address", "shown"), [("192.0.2.1", b"([192.0.2.1])"), ("2001:db8::1", b"([IPv6:2001:db8::1])")]
)
def test_the_clients_address_is_shown_only_where_told(address: str, shown: bytes) -> None:
    how = Circumstances(HOW.queue_id, AT, HOW.hostname, "x.example", "ESMTPA", client_address=address)
    assert received(how).split(b"\r\n")[0] == b"Received: from x.example " + shown


def test_the_only_recipient_is_named() -> None:
    how = Circumstances(HOW.queue_id, AT, HOW.hostname, "x.example", "ESMTPSA", recipient=Mailbox("b", "example.net"))
    assert b"\r\n for <b@example.net>;\r\n" in received(how)


def test_nobody_is_named_where_there_are_several_recipients() -> None:
    assert b" for " not in received(HOW)


def test_a_long_trace_field_is_folded_and_says_the_same() -> None:
    name = ".".join(["a" * 60] * 4)
    how = replace(
        HOW,
        helo=name,
        hostname="b" + name[1:],
        client_address="2001:db8::1",
        recipient=Mailbox("c" * 64, "d" + name[1:]),
    )
    octets = received(how)
    assert octets.replace(b"\r\n", b"").decode() == (
        f"Received: from {name} ([IPv6:2001:db8::1]) by b{name[1:]} with ESMTPSA id 0123456789abcdef "
        f"for <{'c' * 64}@d{name[1:]}>; Sun, 22 Nov 2026 03:04:05 +0000"
    )
    words = [line.split() for line in octets.decode().split("\r\n")[:-1]]
    assert all(len(" ".join(line)) < 78 or len(line) <= 2 for line in words)


# RFC 5321 §4.4, as far as we write it: the date must be the last
_TRACE = (
    r"from [a-z0-9.-]+(?: \(\[[0-9a-fA-F:.IPv]+\]\))? by [a-z0-9.-]+ with (?:UTF8SMTP|ESMTP)S?A id [0-9a-z]{16}"
    r"(?: for <[^\x00-\x1f\x7f]+>)?; [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4}"
)


@given(
    helo=st.one_of(st.text(), st.sampled_from(["x.example", "bücher.example", "[192.0.2.1]"])),
    local_part=st.one_of(
        st.none(), st.text(min_size=1, max_size=60), st.text('"\\ab <>;,(', max_size=30).map('"{}"'.format)
    ),
    address=st.one_of(st.none(), st.ip_addresses().map(str)),
    protocol=st.sampled_from(["ESMTPSA", "ESMTPA", "UTF8SMTPSA", "UTF8SMTPA"]),
)
@example(helo="x\r\nBcc: y", local_part='"a b"', address="fe80::1%eth0", protocol="ESMTPSA")
@example(helo="(((", local_part='">;\\""', address=None, protocol="ESMTPSA")
def test_any_circumstances_give_one_trace_field(
    helo: str, local_part: str | None, address: str | None, protocol: str
) -> None:
    recipient = None
    if local_part is not None:
        try:
            recipient = Mailbox.parse(f"{local_part}@example.net", utf8=True)
        except ValueError:
            recipient = None
    octets = received(replace(HOW, helo=helo, recipient=recipient, client_address=address, protocol=protocol))
    (only,) = Header.parse(octets).fields
    assert only.name == "received"
    assert read_name(only.raw)[1]
    assert all(line.strip() and len(line) <= 998 for line in octets.split(b"\r\n")[:-1])
    assert re.fullmatch(_TRACE, only.text)


def test_a_part_that_would_start_a_field_is_not_written() -> None:
    with pytest.raises(ValueError, match="control character"):
        received(Circumstances("id\r\nBcc: x", AT, HOW.hostname, "x.example", "ESMTPSA"))


@pytest.mark.parametrize("unit", [b"a:\r\n", b"x\r\n", b" \r\n", b"Bcc\r\n \r\n", b"From\r\n ", b"X-MTA-Tag: x\r\n"])
def test_hostile_headers_take_linear_time(unit: bytes) -> None:
    octets = PLAIN + (unit * (MAX_HEADER // len(unit)))[: MAX_HEADER - 200] + b"\r\n"
    start = time.perf_counter()
    take_in(Header.parse(octets), HOW)
    assert time.perf_counter() - start < 2


@given(
    st.lists(st.sampled_from([b"From", b"Bcc", b"X-MTA-Tag", b"Subject", b":", b" ", b"\r\n", b"\r\n ", b"x", b"\xff"]))
)
@example([b"Bcc", b"\r\n ", b":", b"x"])
def test_any_header_is_refused_or_loses_only_what_is_documented(parts: list[bytes]) -> None:
    octets = PLAIN + b"".join(parts)
    intake = take_in(Header.parse(octets), HOW)
    if isinstance(intake, Reply):
        return
    left = iter(bytes(intake.header).removeprefix(TRACE))
    assert bytes(intake.header).startswith(TRACE)
    came = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    position = 0
    for octet in left:
        position = came.index(octet, position) + 1
    assert not intake.header.find("bcc")
