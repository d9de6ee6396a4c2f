"""What MAIL and RCPT may say, as tables: each parameter as it should be, and in every wrong way that comes to mind."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import DEFAULT_NOTIFY, BodyType, Notify, Recipient, Return
from mta.mail.reply import Reply
from mta.submission.parameters import (
    MAX_MAIL_LINE,
    MailArguments,
    decode_xtext,
    parse_date_time,
    parse_mail,
    parse_rcpt,
)

A = ReversePath(Mailbox("a", "own.example"))
B = Mailbox("b", "example.net")


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("FROM:<a@own.example>", MailArguments(A)),
        ("from:<a@own.example>", MailArguments(A)),
        ("FROM:<>", MailArguments(ReversePath(None))),
        ("FROM:<a@OWN.example> SIZE=0", MailArguments(A)),
        ("FROM:<a@own.example> SIZE=12345", MailArguments(A, size=12345)),
        ("FROM:<a@own.example>  size=1  ", MailArguments(A, size=1)),
        ("FROM:<a@own.example> BODY=8bitmime", MailArguments(A, body_type=BodyType.EIGHT_BIT)),
        ("FROM:<a@own.example> BODY=7BIT", MailArguments(A)),
        ("FROM:<a@own.example> SMTPUTF8", MailArguments(A, smtputf8=True)),
        ("FROM:<é@own.example> SMTPUTF8", MailArguments(ReversePath(Mailbox("é", "own.example")), smtputf8=True)),
        ("FROM:<a@own.example> RET=hdrs", MailArguments(A, ret=Return.HEADERS)),
        ("FROM:<a@own.example> ENVID=QQ314159", MailArguments(A, envid="QQ314159")),
        ("FROM:<a@own.example> ENVID=aB+2Bc+3D", MailArguments(A, envid="aB+c=")),
        ("FROM:<a@own.example> ENVID=" + "x" * 100, MailArguments(A, envid="x" * 100)),
        ("FROM:<a@own.example> ENVID=+20+7E", MailArguments(A, envid=" ~")),
        ("FROM:<a@own.example> HOLDFOR=1", MailArguments(A, hold_for=timedelta(seconds=1))),
        ("FROM:<a@own.example> holdFor=999999999", MailArguments(A, hold_for=timedelta(seconds=999_999_999))),
        (
            "FROM:<a@own.example> HOLDUNTIL=2026-11-22T03:00:00Z",
            MailArguments(A, hold_until=datetime(2026, 11, 22, 3, tzinfo=UTC)),
        ),
        ("FROM:<a@own.example> AUTH=<>", MailArguments(A)),
        ("FROM:<a@own.example> AUTH=e+3Dmc2@example.com", MailArguments(A)),
        ('FROM:<"a> SIZE=1 b"@own.example>', MailArguments(ReversePath(Mailbox('"a> SIZE=1 b"', "own.example")))),
    ],
)
def test_mail_is_read(argument: str, arguments: MailArguments) -> None:
    assert parse_mail(argument) == arguments


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", failures.BAD_SYNTAX),
        ("FROM", failures.BAD_SYNTAX),
        ("TO:<a@own.example>", failures.BAD_SYNTAX),
        ("FROM: <a@own.example>", failures.BAD_SYNTAX),
        ("FROM:a@own.example", failures.BAD_SYNTAX),
        ("FROM:<<a@own.example>>", failures.BAD_SYNTAX),
        ("FROM:<a@own.example>SIZE=1", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> =1", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> SIZE=", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> SIZE==1", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> ENVID=a=b", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> " + " ".join(f"X{n}" for n in range(21)), failures.BAD_SYNTAX),
        ("FROM:<a@own.example> SIZE", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=-1", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=1e9", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=١٢", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=" + "9" * 21, failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=1 size=2", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> BODY=BINARYMIME", failures.bad_parameter("BODY")),
        ("FROM:<a@own.example> BODY", failures.bad_parameter("BODY")),
        ("FROM:<a@own.example> SMTPUTF8=yes", failures.bad_parameter("SMTPUTF8")),
        ("FROM:<a@own.example> RET=ALL", failures.bad_parameter("RET")),
        ("FROM:<a@own.example> RET=HDRſ", failures.bad_parameter("RET")),
        ("FROM:<a@own.example> ENVID=" + "x" * 101, failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+0D+0Ab", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+2b", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> AUTH=a+0A", failures.bad_parameter("AUTH")),
        ("FROM:<a@own.example> AUTH", failures.bad_parameter("AUTH")),
        ("FROM:<a@own.example> ENVID", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> ENVID=a ENVID=a", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a envid=b", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+00", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+0D", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+0A", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+7F", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+80", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+C3+A9", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+GG", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=a+4", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> ENVID=é", failures.bad_parameter("ENVID")),
        ("FROM:<a@own.example> RET", failures.bad_parameter("RET")),
        ("FROM:<a@own.example> RET=FULL,HDRS", failures.bad_parameter("RET")),
        ("FROM:<a@own.example> RET=FULL RET=FULL", failures.bad_parameter("RET")),
        ("FROM:<a@own.example> BODY=8BIT", failures.bad_parameter("BODY")),
        ("FROM:<a@own.example> BODY=7BIT body=7bit", failures.bad_parameter("BODY")),
        ("FROM:<a@own.example> SMTPUTF8 SMTPUTF8", failures.bad_parameter("SMTPUTF8")),
        ("FROM:<a@own.example> SIZE=0x10", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=+1", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> SIZE=1,000", failures.bad_parameter("SIZE")),
        ("FROM:<a@own.example> AUTH=<> AUTH=<>", failures.bad_parameter("AUTH")),
        ("FROM:<a@own.example> AUTH=a+0D+0ABcc", failures.bad_parameter("AUTH")),
        ("FROM:<a@own.example> AUTH=a+00", failures.bad_parameter("AUTH")),
        ("FROM:<a@own.example> HOLDFOR", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> HOLDFOR=0", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=01", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=-1", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=1.5", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=1h", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=1000000000", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=" + "9" * 300, failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=١", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDFOR=1 HOLDFOR=1", failures.bad_parameter("HOLDFOR")),
        ("FROM:<a@own.example> HOLDUNTIL", failures.bad_parameter("HOLDUNTIL")),
        ("FROM:<a@own.example> HOLDUNTIL=3600", failures.bad_parameter("HOLDUNTIL")),
        ("FROM:<a@own.example> HOLDUNTIL=tomorrow", failures.bad_parameter("HOLDUNTIL")),
        ("FROM:<a@own.example> HOLDUNTIL=2026-11-22", failures.bad_parameter("HOLDUNTIL")),
        ("FROM:<a@own.example> HOLDUNTIL=2026-02-30T00:00:00Z", failures.bad_parameter("HOLDUNTIL")),
        (
            "FROM:<a@own.example> HOLDUNTIL=2026-11-22T03:00:00Z holduntil=2026-11-22T03:00:00Z",
            failures.bad_parameter("HOLDUNTIL"),
        ),
        (
            "FROM:<a@own.example> HOLDUNTIL=2026-11-22T03:00:00Z HOLDFOR=1",
            failures.bad_release("HOLDFOR and HOLDUNTIL exclude one another"),
        ),
        ("FROM:<a@own.example> REQUIRETLS=yes", failures.unknown_parameter("REQUIRETLS")),
        ("FROM:<a@own.example> ORCPT=rfc822;a@b", failures.unknown_parameter("ORCPT")),
        ("FROM:<a@own.example> X-NOT-KNOWN", failures.unknown_parameter("X-NOT-KNOWN")),
        ("FROM:<a@own.example> BY=120;R", failures.unknown_parameter("BY")),
        ("FROM:<a@own.example> -X", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> HOLD\u017fOR=1", failures.BAD_SYNTAX),
        ("FROM:<a@own.example> MT-PRIORITY=3", failures.unknown_parameter("MT-PRIORITY")),
        ("FROM:<a@own.example> REQUIRETLS", failures.unknown_parameter("REQUIRETLS")),
        ("FROM:<a@own.example> NOTIFY=NEVER", failures.unknown_parameter("NOTIFY")),
    ],
)
def test_mail_that_is_not_to_the_letter_is_refused(argument: str, reply: Reply) -> None:
    assert parse_mail(argument) == reply


@pytest.mark.parametrize(
    "path",
    [
        "<a@own.example",
        "<a>",
        "<@own.example>",
        "<a@>",
        "<@b.example:a@own.example>",
        "<a b@own.example>",
        '<"a@own.example>',
        "<a@[127.0.0.1]>",
        "<a@127.0.0.1>",
        "<a@own..example>",
        "<a@own.example:25>",
        "<a@-own.example>",
        "<é@own.example>",
        "<a@bücher.example>",
        "<a@" + "x" * 64 + ".example>",
        "<" + "x" * 65 + "@own.example>",
        "<\udcff@own.example>",
        "< >",
    ],
)
def test_paths_that_are_none_are_refused_with_their_codes(path: str) -> None:
    mail, rcpt = parse_mail(f"FROM:{path}"), parse_rcpt(f"TO:{path}", utf8=False)
    assert isinstance(mail, Reply)
    assert isinstance(rcpt, Reply)
    assert (str(mail)[:10], str(rcpt)[:10]) == ("501 5.1.7 ", "501 5.1.3 ")


@pytest.mark.parametrize(
    ("argument", "recipient"),
    [
        ("TO:<b@example.net>", Recipient(B)),
        ("To:<b@EXAMPLE.net>", Recipient(B)),
        ("TO:<b@example.net> NOTIFY=NEVER", Recipient(B, frozenset({Notify.NEVER}))),
        ("TO:<b@example.net> notify=success,Failure", Recipient(B, frozenset({Notify.SUCCESS, Notify.FAILURE}))),
        ("TO:<b@example.net> ORCPT=rfc822;Bob@Example.net", Recipient(B, DEFAULT_NOTIFY, "rfc822;Bob@Example.net")),
        ("TO:<b@example.net> ORCPT=rfc822;b+2Bx@example.net", Recipient(B, DEFAULT_NOTIFY, "rfc822;b+x@example.net")),
        ("TO:<b@example.net> ORCPT=utf-8;é@example.net", Recipient(B, DEFAULT_NOTIFY, "utf-8;é@example.net")),
        (
            "TO:<b@example.net> ORCPT=utf-8;\\x{E9}@example.net",
            Recipient(B, DEFAULT_NOTIFY, "utf-8;\\x{E9}@example.net"),
        ),
        ("TO:<é@example.net>", Recipient(Mailbox("é", "example.net"))),
    ],
)
def test_rcpt_is_read(argument: str, recipient: Recipient) -> None:
    assert parse_rcpt(argument, utf8=True) == recipient


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("FROM:<b@example.net>", failures.BAD_SYNTAX),
        ("TO: <b@example.net>", failures.BAD_SYNTAX),
        ("TO:b@example.net", failures.BAD_SYNTAX),
        ("TO:Postmaster", failures.BAD_SYNTAX),
        ("TO:<b@example.net> NOTIFY", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> NOTIFY=NEVER,SUCCESS", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> NOTIFY=SUCCESS,", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> NOTIFY=ALWAYS", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> ORCPT=b@example.net", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=;b@example.net", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+0Abcc", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+C3+A9", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;é@example.net", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=utf-8;\u2028@example.net", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;" + "x" * 500, failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> NOTIFY=", failures.BAD_SYNTAX),
        ("TO:<b@example.net> NOTIFY=NEVER,NEVER", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> NOTIFY=SUCCESS;FAILURE", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> NOTIFY=\u017fUCCESS", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> NOTIFY=SUCCESS notify=FAILURE", failures.bad_parameter("NOTIFY")),
        ("TO:<b@example.net> ORCPT", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b ORCPT=rfc822;b", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+0D", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+0D+0AFrom:x", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+00", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+1B[31m", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+E9", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+e9", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc822;b+", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc+0A822;b", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=rfc_822;b", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=" + "x" * 61 + ";b", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=utf-8;é\x85", failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> ORCPT=utf-8;" + "é" * 248, failures.bad_parameter("ORCPT")),
        ("TO:<b@example.net> HOLDFOR=1", failures.unknown_parameter("HOLDFOR")),
        ("TO:<b@example.net> ENVID=1", failures.unknown_parameter("ENVID")),
        ("TO:<b@example.net> RRVS=2014-04-03T23:01:00Z", failures.unknown_parameter("RRVS")),
        ("TO:<b@example.net> SIZE=1", failures.unknown_parameter("SIZE")),
    ],
)
def test_rcpt_that_is_not_to_the_letter_is_refused(argument: str, reply: Reply) -> None:
    assert parse_rcpt(argument, utf8=True) == reply


def test_an_original_recipient_beyond_ascii_needs_smtputf8() -> None:
    assert parse_rcpt("TO:<b@example.net> ORCPT=utf-8;é@x", utf8=False) == failures.bad_parameter("ORCPT")


@pytest.mark.parametrize(
    ("parameter", "answer"),
    [
        ("REQUIRETLS", MailArguments(A, requiretls=True)),
        ("requiretls", MailArguments(A, requiretls=True)),
        ("REQUIRETLS=yes", failures.bad_parameter("REQUIRETLS")),
        ("REQUIRETLS=", failures.BAD_SYNTAX),
        ("REQUIRETLS REQUIRETLS", failures.bad_parameter("REQUIRETLS")),
    ],
)
def test_requiretls_is_read_where_it_was_offered(parameter: str, answer: MailArguments | Reply) -> None:
    assert parse_mail(f"FROM:<a@own.example> {parameter}", requiretls=True) == answer


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22t12:00:00z", NOON),
        ("2026-11-22T13:30:00+01:30", NOON),
        ("2026-11-22T02:00:00-10:00", NOON),
        ("2026-11-22T12:00:00-00:00", NOON),
        ("2026-11-22T12:00:00.5Z", NOON + timedelta(milliseconds=500)),
        ("2026-11-22T12:00:00.123456789Z", NOON + timedelta(microseconds=123_456)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_date_and_time_is_read_as_utc(text: str, at: datetime) -> None:
    assert parse_date_time(text) == at
    assert parse_date_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "12:00:00Z",
        "2026-11-22T12:00:00",
        "2026-11-22 12:00:00Z",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:00+0100",
        "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00+01:60",
        "2026-11-22T12:00:00.Z",
        "2026-11-22T12:00:00,5Z",
        "2026-13-22T12:00:00Z",
        "2026-11-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T12:60:00Z",
        "2026-11-22T12:00:61Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "12026-11-22T12:00:00Z",
        "20261122T120000Z",
        "2026-W47-7T12:00:00Z",
        "٢٠٢٦-11-22T12:00:00Z",
        "2026-11-22T12:00:00Z ",
        "2026-11-22T12:00:00Z\n",
    ],
)
def test_what_is_no_date_and_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"2026-11-22T03:00:00Z|clock|calendar"):
        parse_date_time(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_printed_date_and_time_is_read_back(at: datetime) -> None:
    assert parse_date_time(at.isoformat()) == at


@given(st.text(st.sampled_from("0123456789-T:.Z+"), max_size=40))
def test_any_text_is_a_date_and_time_or_is_refused(text: str) -> None:
    try:
        at = parse_date_time(text)
    except ValueError:
        return
    assert parse_date_time(at.isoformat()) == at


def test_the_longest_mail_that_all_extensions_allow_fits_its_line() -> None:
    path = "a" * 64 + "@" + ".".join(["b" * 63] * 2 + ["c" * 61])
    parameters = (
        f"SIZE={'9' * 20} BODY=8BITMIME SMTPUTF8 RET=FULL ENVID={'x' * 100} AUTH={'y' * 490} REQUIRETLS "
        "HOLDUNTIL=2026-11-22T03:00:00.000000+00:00"
    )
    line = f"MAIL FROM:<{path}> {parameters}\r\n"
    assert isinstance(parse_mail(line[5:-2], requiretls=True), MailArguments)
    assert len(line) <= MAX_MAIL_LINE


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=50))
def test_xtext_stands_for_what_was_encoded(text: str) -> None:
    encoded = "".join(
        letter if "!" <= letter <= "~" and letter not in "+=" else f"+{ord(letter):02X}" for letter in text
    )
    assert decode_xtext(encoded) == text


@given(st.text(max_size=60))
def test_any_argument_gives_arguments_or_a_refusal(text: str) -> None:
    holds = (f"FROM:<a@own.example> {name}={text}" for name in ("HOLDFOR", "HOLDUNTIL", "ENVID", "AUTH", "RET"))
    for argument in (text, f"FROM:{text}", f"FROM:<a@own.example> {text}", f"FROM:<{text}>", *holds):
        read = parse_mail(argument)
        assert isinstance(read, MailArguments) or read.is_permanent
    for argument in (text, f"TO:{text}", f"TO:<a@own.example> {text}", f"TO:<a@own.example> ORCPT={text}"):
        found = parse_rcpt(argument, utf8=True)
        assert isinstance(found, Recipient) or found.is_permanent
