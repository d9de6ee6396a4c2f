import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import DEFAULT_NOTIFY, BodyType, Notify, Recipient, Return
from mta.mail.reply import Reply
from mta.submission.parameters import MailArguments, decode_xtext, parse_mail, parse_rcpt

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
        ("TO:<b@example.net> SIZE=1", failures.unknown_parameter("SIZE")),
    ],
)
def test_rcpt_that_is_not_to_the_letter_is_refused(argument: str, reply: Reply) -> None:
    assert parse_rcpt(argument, utf8=True) == reply


def test_an_original_recipient_beyond_ascii_needs_smtputf8() -> None:
    assert parse_rcpt("TO:<b@example.net> ORCPT=utf-8;é@x", utf8=False) == failures.bad_parameter("ORCPT")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=50))
def test_xtext_stands_for_what_was_encoded(text: str) -> None:
    encoded = "".join(
        letter if "!" <= letter <= "~" and letter not in "+=" else f"+{ord(letter):02X}" for letter in text
    )
    assert decode_xtext(encoded) == text


@given(st.text(max_size=60))
def test_any_argument_gives_arguments_or_a_refusal(text: str) -> None:
    for argument in (text, f"FROM:{text}", f"FROM:<a@own.example> {text}", f"FROM:<{text}>"):
        read = parse_mail(argument)
        assert isinstance(read, MailArguments) or read.is_permanent
    for argument in (text, f"TO:{text}", f"TO:<a@own.example> {text}", f"TO:<a@own.example> ORCPT={text}"):
        found = parse_rcpt(argument, utf8=True)
        assert isinstance(found, Recipient) or found.is_permanent
