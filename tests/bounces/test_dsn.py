"""Notifications are read back with the standard library's parser, which shares no code with their writer."""

import email.header
import email.message
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.bounces.dsn import RETURN_LIMIT, DsnFacts, DsnMessage, compose
from mta.mail.address import Mailbox
from mta.mail.envelope import BodyType, Recipient, Return
from mta.mail.reply import Reply

ARRIVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = ARRIVED + timedelta(days=4, hours=2)
HEADER = b"Subject: The plan\r\nFrom: a@example.com\r\nMessage-ID: <original@example.com>\r\n"

FACTS = DsnFacts(
    hostname="mail.example.com",
    dsn_id="0123456789abcdef",
    reverse_path=Mailbox.parse("a@example.com"),
    recipient=Recipient(Mailbox.parse("b@example.net")),
    reply=Reply.parse(550, ["5.1.1 No such user here"]),
    arrived_at=ARRIVED,
    attempted_at=ARRIVED + timedelta(minutes=1),
    original_header=HEADER,
    remote_mta="mx.example.net",
)


def written(facts: DsnFacts) -> DsnMessage:
    return compose(facts, NOW)


def parsed(facts: DsnFacts) -> "email.message.Message[str, str]":
    dsn = written(facts)
    return email.message_from_bytes(dsn.header + b"\r\n" + dsn.body)


def part(facts: DsnFacts, number: int) -> "email.message.Message[str, str]":
    payload = parsed(facts).get_payload()
    assert isinstance(payload, list)
    found = payload[number]
    assert isinstance(found, email.message.Message)
    return found


def status_of(facts: DsnFacts) -> dict[str, str]:
    """The fields of the second part, those of the message and those of the recipient together."""
    blocks = part(facts, 1).get_payload()
    assert isinstance(blocks, list)
    fields: dict[str, str] = {}
    for block in blocks:
        assert isinstance(block, email.message.Message)
        fields |= dict(block.items())
    return fields


def people_read(facts: DsnFacts) -> str:
    human = part(facts, 0)
    octets = human.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode(str(human.get_content_charset())).replace("\r\n", "\n")


def comes_back(facts: DsnFacts) -> bytes:
    octets = part(facts, 2).get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


def test_it_is_a_report_of_three_parts() -> None:
    report = parsed(FACTS)
    payload = report.get_payload()
    assert isinstance(payload, list)
    assert (report.get_content_type(), report.get_param("report-type")) == ("multipart/report", "delivery-status")
    kinds = [one.get_content_type() for one in payload if isinstance(one, email.message.Message)]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("From", "Mail Delivery System <MAILER-DAEMON@mail.example.com>"),
        ("To", "<a@example.com>"),
        ("Subject", "Undelivered mail: The plan"),
        ("Date", "Tue, 06 Jan 2026 05:04:05 +0000"),
        ("Message-ID", "<0123456789abcdef@mail.example.com>"),
        ("In-Reply-To", "<original@example.com>"),
        ("References", "<original@example.com>"),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
    ],
)
def test_its_header_says_what_it_is_and_what_about(name: str, value: str) -> None:
    assert parsed(FACTS).get_all(name) == [value]


def test_programs_read_each_field_of_a_failure() -> None:
    facts = replace(FACTS, envid="QQ314159", recipient=replace(FACTS.recipient, orcpt="rfc822;list@example.org"))
    assert status_of(facts) == {
        "Reporting-MTA": "dns; mail.example.com",
        "Original-Envelope-Id": "QQ314159",
        "Arrival-Date": "Fri, 02 Jan 2026 03:04:05 +0000",
        "Original-Recipient": "rfc822;list@example.org",
        "Final-Recipient": "rfc822;b@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date": "Fri, 02 Jan 2026 03:05:05 +0000",
    }


def test_programs_read_until_when_a_late_message_is_tried() -> None:
    facts = replace(
        FACTS, delayed=True, reply=Reply.parse(450, ["4.2.2 full"]), will_retry_until=ARRIVED + timedelta(days=4)
    )
    fields = status_of(facts)
    assert (fields["Action"], fields["Status"], fields["Will-Retry-Until"]) == (
        "delayed",
        "4.2.2",
        "Tue, 06 Jan 2026 03:04:05 +0000",
    )


@pytest.mark.parametrize(
    ("reply", "delayed", "expired", "status"),
    [
        (Reply(550, None, "no"), False, False, "5.0.0"),
        (Reply(450, None, "later"), True, False, "4.0.0"),
        (Reply.of(554, "5.7.1", "no"), False, False, "5.7.1"),
        (Reply.of(450, "4.7.1", "later"), False, True, "5.4.7"),
        (Reply(421, None, "later"), False, True, "5.4.7"),
        # the action rules, whatever class the last reply was in
        (Reply.of(450, "4.7.1", "later"), False, False, "5.0.0"),
        (Reply.of(550, "5.1.1", "no"), True, False, "4.0.0"),
    ],
)
def test_the_status_agrees_with_the_action(reply: Reply, delayed: bool, expired: bool, status: str) -> None:
    assert status_of(replace(FACTS, reply=reply, delayed=delayed, expired=expired))["Status"] == status


def test_an_expired_delivery_keeps_the_last_reply_as_its_diagnostic() -> None:
    facts = replace(FACTS, expired=True, reply=Reply.parse(450, ["4.7.1 Greylisted"]))
    assert status_of(facts)["Diagnostic-Code"] == "smtp; 450 4.7.1 Greylisted"


def test_our_own_words_are_no_diagnostic_of_a_remote_host() -> None:
    assert not {"Diagnostic-Code", "Remote-MTA"} & set(status_of(replace(FACTS, remote_mta=None)))


def test_people_read_whom_what_why_and_what_next() -> None:
    assert people_read(FACTS) == (
        "This is the mail system at mail.example.com.\n"
        "\n"
        "Your message could not be delivered. It will not be tried again.\n"
        "\n"
        "    To:          <b@example.net>\n"
        "    Subject:     The plan\n"
        "    Sent:        Fri, 02 Jan 2026 03:04:05 +0000\n"
        "\n"
        "Why: There is no mailbox with this address.\n"
        "\n"
        "What you can do: Check the address for typing mistakes, or ask the\n"
        "recipient for the right one in another way.\n"
        "\n"
        "In the words of the mail server mx.example.net:\n"
        "\n"
        "    550 5.1.1 No such user here\n"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expired": True}, "It was tried for 4 days."),
        ({"delayed": True}, "You need not send it\nagain: we keep trying."),
        ({"delayed": True, "will_retry_until": NOW}, "Tried until: Tue, 06 Jan 2026 05:04:05 +0000"),
        ({"delayed": True}, "What you can do: Nothing now."),
        ({"remote_mta": None}, "For the administrator, in the words of our own server:"),
    ],
)
def test_people_read_what_kind_of_failure_it_is(change: dict[str, bool], words: str) -> None:
    assert words in people_read(replace(FACTS, **change))


def test_a_delayed_message_is_named_so_in_the_subject() -> None:
    assert parsed(replace(FACTS, delayed=True))["Subject"] == "Delayed mail: The plan"


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n", "Grüße"),
        ("Subject: Grüße\r\n".encode(), "Grüße"),
        (b"Subject: =?utf-8?q?a=0D=0ABcc:_x@example.org?=\r\n", "a Bcc: x@example.org"),
        (b"Subject: =?utf-8?b?a?=\r\n", "=?utf-8?b?a?="),
        (b"Subject: =?no-such-charset?q?x?=\r\n", "=?no-such-charset?q?x?="),
        (b"Subject: \xff\xfe\r\n", "��"),
        (b"Subject: " + b"long " * 100 + b"\r\n", "long " * 29 + "lo..."),
        (b"Subject: a\r\n b\r\n", "a b"),
    ],
)
def test_the_original_subject_is_shown_readable_and_harmless(raw: bytes, read: str) -> None:
    facts = replace(FACTS, original_header=raw)
    subject = str(parsed(facts)["Subject"])
    shown = "".join(
        part if isinstance(part, str) else part.decode(charset or "ascii")
        for part, charset in email.header.decode_header(re.sub(r"\r\n(?=[ \t])", "", subject))
    )
    assert shown == f"Undelivered mail: {read}"
    assert f"Subject:     {read}\n" in people_read(facts)


def test_a_message_without_subject_or_usable_message_id_is_reported_too() -> None:
    report = parsed(replace(FACTS, original_header=b"Message-ID: not an id\r\n"))
    assert (report["Subject"], report["In-Reply-To"]) == ("Undelivered mail", None)


# what comes back

FULL = replace(FACTS, ret=Return.FULL, original_body=(b"Hello\r\n", b"there\r\n"))


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (FACTS, "text/rfc822-headers"),
        (FULL, "message/rfc822"),
        (replace(FULL, ret=Return.HEADERS), "text/rfc822-headers"),
        (replace(FULL, ret=None), "text/rfc822-headers"),
        (replace(FULL, delayed=True), "text/rfc822-headers"),
        (replace(FULL, original_body=None), "text/rfc822-headers"),
        (replace(FULL, original_body=(b"x" * 70 + b"\r\n",) * 1000), "text/rfc822-headers"),
        (replace(FULL, original_body=(b"x" * 999 + b"\r\n",)), "text/rfc822-headers"),
        (replace(FULL, original_body=(b"bare\nline end\r\n",)), "text/rfc822-headers"),
    ],
)
def test_the_whole_message_comes_back_only_when_asked_for_small_and_clean(facts: DsnFacts, kind: str) -> None:
    assert part(facts, 2).get_content_type() == kind


def test_a_whole_message_comes_back_octet_for_octet() -> None:
    assert HEADER + b"\r\nHello\r\nthere\r\n\r\n--dsn-" in written(FULL).body


def test_a_header_comes_back_octet_for_octet() -> None:
    assert HEADER + b"\r\n--dsn-" in written(FACTS).body


def test_a_header_that_is_not_plain_is_encoded_and_still_comes_back_octet_for_octet() -> None:
    raw = b"Subject: \xfcml\xe4ut\r\nX-Long: " + b"x" * 2000 + b"\r\n"
    facts = replace(FACTS, original_header=raw)
    assert comes_back(facts) == raw
    assert written(facts).body_type is BodyType.SEVEN_BIT


def test_a_huge_header_comes_back_cut_between_two_fields() -> None:
    one = b"X-Field: " + b"x" * 89 + b"\r\n"
    facts = replace(FACTS, original_header=one * 2000)
    octets = comes_back(facts)
    assert 0 < len(octets) <= RETURN_LIMIT
    assert octets.replace(one, b"") == b""


def test_an_eight_bit_message_makes_an_eight_bit_report() -> None:
    facts = replace(FULL, original_body=(b"\xfc\r\n",))
    assert written(facts).body_type is BodyType.EIGHT_BIT
    assert part(facts, 2)["Content-Transfer-Encoding"] == "8bit"


def test_a_message_that_holds_boundaries_stays_one_part() -> None:
    stolen = written(FULL).body.split(b"\r\n", 1)[0]
    facts = replace(FULL, original_body=(stolen + b"\r\n\r\nnot a part\r\n" + stolen + b"--\r\n",))
    payload = parsed(facts).get_payload()
    assert isinstance(payload, list)
    assert len(payload) == 3


# addresses that are not ASCII (RFC 6533)

JÜRGEN = Recipient(Mailbox.parse("jürgen+x@example.net", utf8=True), orcpt="utf-8;jürgen@example.org")


def test_an_international_message_gets_an_international_report() -> None:
    facts = replace(FACTS, recipient=JÜRGEN, smtputf8=True, original_header=HEADER + "X: ü\r\n".encode())
    kinds = [part(facts, number).get_content_type() for number in range(3)]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert "Final-Recipient: utf-8;jürgen\\x{2B}x@example.net\r\n".encode() in written(facts).body
    assert "Original-Recipient: utf-8;jürgen@example.org\r\n".encode() in written(facts).body
    assert written(facts).body_type is BodyType.EIGHT_BIT


def test_its_whole_message_is_a_global_one() -> None:
    facts = replace(FULL, smtputf8=True, original_header="Subject: ü\r\n".encode())
    assert part(facts, 2).get_content_type() == "message/global"


def test_an_international_address_is_escaped_where_utf8_may_not_stand() -> None:
    fields = status_of(replace(FACTS, recipient=JÜRGEN))
    assert fields["Final-Recipient"] == "utf-8;j\\x{FC}rgen\\x{2B}x@example.net"
    assert fields["Original-Recipient"] == "utf-8;j\\x{FC}rgen@example.org"


def test_an_address_that_the_client_escaped_is_not_escaped_again() -> None:
    recipient = replace(JÜRGEN, orcpt="utf-8;j\\x{FC}rgen+x@example.org")
    assert status_of(replace(FACTS, recipient=recipient))["Original-Recipient"] == "utf-8;j\\x{FC}rgen+x@example.org"


def test_an_international_submission_that_is_plain_ascii_gets_a_plain_report() -> None:
    assert part(replace(FACTS, smtputf8=True), 1).get_content_type() == "message/delivery-status"


def test_only_an_international_reverse_path_makes_the_report_need_smtputf8() -> None:
    assert not written(replace(FACTS, recipient=JÜRGEN, smtputf8=True)).smtputf8
    to = replace(FACTS, reverse_path=Mailbox.parse("jürgen@example.com", utf8=True), smtputf8=True)
    assert written(to).smtputf8
    assert "To: <jürgen@example.com>\r\n".encode() in written(to).header


def test_blanks_of_a_quoted_local_part_are_kept() -> None:
    facts = replace(FACTS, recipient=Recipient(Mailbox.parse('"a   b"@example.net')))
    assert b'Final-Recipient: rfc822;"a   b"@example.net\r\n' in written(facts).body


# hostile text

HOSTILE = [
    "\r\nBcc: x@example.org",
    "\n\n--boundary",
    "\0",
    "\x1b[2J",
    "\u2028",
    "\ud800",
    "x" * 5000,
    "ü" * 3000,
    " " * 2000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_begins_neither_a_field_nor_a_part(text: str) -> None:
    check_structure(
        replace(
            FACTS,
            envid=text,
            reply=Reply(550, None, text),
            remote_mta=text,
            recipient=replace(FACTS.recipient, orcpt=f"{text};{text}"),
            original_header=f"Subject: {text}".encode("utf-8", "surrogatepass"),
        )
    )


MAILBOXES = st.sampled_from(
    ["a@example.com", '"a  b\\""@example.com', "jürgen@example.com", "用户+=\\@例え.test".replace("\\", "")]
)


@given(
    reply=st.builds(lambda code, lines: Reply.parse(code, lines), st.integers(400, 599), st.lists(st.text())),
    subject=st.binary(max_size=200),
    envid=st.none() | st.text(),
    orcpt=st.none() | st.text(),
    remote=st.none() | st.text(),
    to=MAILBOXES,
    recipient=MAILBOXES,
    body=st.none() | st.binary(max_size=200),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_whatever_strangers_write_the_report_keeps_its_structure(
    reply: Reply,
    subject: bytes,
    envid: str | None,
    orcpt: str | None,
    remote: str | None,
    to: str,
    recipient: str,
    body: bytes | None,
    flags: tuple[bool, bool, bool],
) -> None:
    delayed, expired, smtputf8 = flags
    check_structure(
        replace(
            FACTS,
            reply=reply,
            original_header=b"Subject: " + subject + b"\r\n",
            envid=envid,
            remote_mta=remote,
            reverse_path=Mailbox.parse(to, utf8=True),
            recipient=Recipient(Mailbox.parse(recipient, utf8=True), orcpt=orcpt),
            original_body=None if body is None else (body,),
            ret=Return.FULL,
            delayed=delayed,
            expired=expired,
            smtputf8=smtputf8,
        )
    )


ORDER = (
    "From To Subject Date Message-ID In-Reply-To References Auto-Submitted MIME-Version Content-Type",
    "Reporting-MTA Original-Envelope-Id Arrival-Date",
    "Original-Recipient Final-Recipient Action Status Remote-MTA Diagnostic-Code Last-Attempt-Date",
)


def check_structure(facts: DsnFacts) -> None:
    """Every line short and ended by CRLF, three parts, and in each place the known fields, once, in their order."""
    dsn = written(facts)
    octets = dsn.header + b"\r\n" + dsn.body
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert dsn.body.isascii() or dsn.body_type is BodyType.EIGHT_BIT
    assert dsn.header.isascii() or dsn.smtputf8
    boundary = dsn.body.split(b"\r\n", 1)[0]
    sections = (b"\r\n" + dsn.body).split(b"\r\n" + boundary)
    assert len(sections) == 5
    assert sections[4] == b"--\r\n"
    message, recipient = sections[2].split(b"\r\n\r\n", 1)[1].split(b"\r\n\r\n")
    for block, order in zip((dsn.header, message, recipient.rstrip(b"\r\n")), ORDER, strict=True):
        names = re.findall(r"^([!-9;-~]+):", block.decode("utf-8"), re.MULTILINE)
        assert names == [name for name in order.split() if name in names]
