"""What MAIL and RCPT say: arguments or a reply, and what was taken in can be written anywhere."""

from dataclasses import dataclass
from datetime import UTC, datetime

from mta.bounces.dsn import DsnFacts, compose
from mta.delivery.esmtp import Offers, rcpt_command
from mta.mail.address import Mailbox
from mta.mail.envelope import Recipient
from mta.mail.header import Header, read_name
from mta.mail.intake import Circumstances, received
from mta.mail.reply import Reply
from mta.submission.parameters import MailArguments, parse_mail, parse_rcpt

AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
SENDER = Mailbox("a", "own.example")
BREAKS = frozenset("\r\n\0\x85\u2028\u2029")


@dataclass(frozen=True, slots=True)
class _Written:
    """Who is told, of whom, in which words."""

    to: Mailbox
    recipient: Recipient
    envid: str | None
    smtputf8: bool


def check(octets: bytes) -> None:
    """Read octets as the argument of MAIL, and of RCPT with and without SMTPUTF8."""
    text = octets.decode("utf-8", "surrogateescape")
    for argument in (text, f"FROM:{text}", f"FROM:<a@own.example> {text}"):
        came = parse_mail(argument)
        if isinstance(came, Reply):
            _check_refusal(came)
        else:
            _check_mail(came)
    for argument in (text, f"TO:{text}", f"TO:<b@example.net> {text}"):
        for utf8 in (False, True):
            recipient = parse_rcpt(argument, utf8=utf8)
            if isinstance(recipient, Reply):
                _check_refusal(recipient)
            else:
                _check_rcpt(recipient, utf8=utf8)


def _check_refusal(reply: Reply) -> None:
    assert reply.is_permanent
    for line in reply.lines():
        assert not BREAKS & set(line)
        assert len(line.encode("utf-8")) <= 510


def _check_mail(came: MailArguments) -> None:
    assert came.envid is None or (came.envid.isascii() and came.envid.isprintable())
    assert 0 <= came.size < 10**20
    assert came.hold_for is None or came.hold_until is None
    if came.reverse_path.mailbox is not None:
        recipient = Recipient(Mailbox("b", "example.net"))
        _check_written(_Written(came.reverse_path.mailbox, recipient, came.envid, came.smtputf8))


def _check_rcpt(recipient: Recipient, *, utf8: bool) -> None:
    assert recipient.orcpt is None or not BREAKS & set(recipient.orcpt)
    command = rcpt_command(recipient, Offers(dsn=True))
    assert not {10, 13, 0} & set(command)
    again = parse_rcpt(command.decode("utf-8").removeprefix("RCPT "), utf8=utf8)
    assert isinstance(again, Recipient)
    if recipient.orcpt is None or recipient.orcpt.isascii():
        assert again == recipient
    _check_written(_Written(SENDER, recipient, "an id", utf8))


def _check_written(written: _Written) -> None:
    trace = received(
        Circumstances("0123456789abcdef", AT, "mail.example.com", "x", "ESMTPSA", recipient=written.recipient.mailbox)
    )
    assert [one.name for one in Header.parse(trace).fields] == ["received"]
    dsn = compose(
        DsnFacts(
            hostname="mail.example.com",
            dsn_id="0123456789abcdef",
            reverse_path=written.to,
            recipient=written.recipient,
            reply=Reply.of(550, "5.1.1", "No such user"),
            arrived_at=AT,
            attempted_at=AT,
            original_header=b"Subject: hello\r\n",
            envid=written.envid,
            smtputf8=written.smtputf8,
        ),
        AT,
    )
    fields = Header.parse(dsn.header).fields
    assert all(read_name(one.raw)[1] for one in fields)
    assert [one.name for one in fields].count("to") == 1
    assert {one.name for one in fields} <= _DSN_FIELDS
    boundary = dsn.body.split(b"\r\n", 1)[0]
    blocks = (b"\r\n" + dsn.body).split(b"\r\n" + boundary)[2].split(b"\r\n\r\n")
    status = Header.parse(b"\r\n".join(block.strip(b"\r\n") for block in blocks[1:] if block)).fields
    assert all(read_name(one.raw)[1] for one in status)
    names = [one.name for one in status]
    assert len(set(names)) == len(names)
    assert set(names) <= _STATUS_FIELDS


_DSN_FIELDS = frozenset(
    {"from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type"}
)
_STATUS_FIELDS = frozenset(
    {
        "reporting-mta",
        "original-envelope-id",
        "arrival-date",
        "original-recipient",
        "final-recipient",
        "action",
        "status",
        "last-attempt-date",
    }
)
