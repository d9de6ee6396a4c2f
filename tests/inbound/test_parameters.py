import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.inbound.parameters import MailArguments, parse_mail, parse_rcpt
from mta.mail.envelope import BodyType
from mta.mail.reply import Reply


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("FROM:<>", MailArguments("")),
        ("FROM: <>", MailArguments("")),
        ("FROM:<> SIZE=99 BODY=8BITMIME", MailArguments("", 99, BodyType.EIGHT_BIT)),
        ("FROM:<é@example.net> SMTPUTF8", MailArguments("é@example.net", smtputf8=True)),
        # whatever a host calls itself, nobody is going to answer
        ("FROM:<MAILER-DAEMON>", MailArguments("MAILER-DAEMON")),
        ("FROM:<root@[192.0.2.1]>", MailArguments("root@[192.0.2.1]")),
        ("FROM:<a@my_host.localdomain>", MailArguments("a@my_host.localdomain")),
        ("FROM:<@a.example,@b.example:c@d.example>", MailArguments("@a.example,@b.example:c@d.example")),
        ("FROM:<a\u202eb\x85>", MailArguments("a?b?")),
    ],
)
def test_any_reverse_path_is_taken(argument: str, arguments: MailArguments) -> None:
    assert parse_mail(argument) == arguments


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4"),
        ("FROM:a@example.net", "501 5.5.4"),
        ("FROM:<a@example.net", "501 5.1.7"),
        (f"FROM:<{'x' * 300}>", "501 5.1.7"),
        ("FROM:<> SIZE=x", "501 5.5.4"),
        ("FROM:<> SIZE=1 SIZE=1", "501 5.5.4"),
        ("FROM:<> RET=HDRS", "555 5.5.4"),
        ("FROM:<> ENVID=x", "555 5.5.4"),
        ("FROM:<> AUTH=<>", "555 5.5.4"),
        ("FROM:<> BODY=BINARYMIME", "501 5.5.4"),
    ],
)
def test_what_is_not_offered_or_malformed_is_refused(argument: str, reply: str) -> None:
    assert str(parse_mail(argument)).startswith(reply)


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("TO:<a@example.net>", "<a@example.net>"),
        ("TO: <postmaster>", "<postmaster>"),
        ("TO:<a@example.net> NOTIFY=NEVER", "555 5.5.4 Unsupported option: NOTIFY"),
        ("TO:a@example.net", "501 5.5.4 Syntax error in parameters or arguments"),
    ],
)
def test_a_recipient_has_a_path_and_nothing_else(argument: str, found: str) -> None:
    assert str(parse_rcpt(argument)) == found


@given(st.text(max_size=400))
def test_any_argument_gets_an_answer(text: str) -> None:
    for argument in (text, f"FROM:<{text}>", f"FROM:<> {text}"):
        assert isinstance(parse_mail(argument), MailArguments | Reply)
    assert isinstance(parse_rcpt(f"TO:{text}"), str | Reply)
