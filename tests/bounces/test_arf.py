"""Complaints."""

import pytest

from mta.bounces.reading import read
from mta.bounces.report import Kind
from mta.bounces.rules import Rules
from tests.bounces.letters import report


def complaint(fields: str) -> bytes:
    octets = report(fields, "This is an email abuse report.", kind="message/feedback-report")
    return octets.replace(b"report-type=delivery-status", b"report-type=feedback-report")


ABUSE = """Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <b7.abc@bounces.example.org>
Original-Rcpt-To: <kay@dest.example>
Original-Rcpt-To: lou@dest.example
Reported-Domain: send.example.org
Source-IP: 192.0.2.1
"""


def test_a_feedback_report_is_read_with_what_it_says(rules: Rules) -> None:
    found = read(complaint(ABUSE), rules)
    assert (found.kind, found.reason, found.original_message_id) == (
        Kind.COMPLAINT,
        "abuse",
        "<original@send.example.org>",
    )
    assert [recipient.address for recipient in found.recipients] == ["kay@dest.example", "lou@dest.example"]
    assert found.feedback is not None
    assert (found.feedback.source_ip, found.feedback.reported_domain, found.feedback.original_mail_from) == (
        "192.0.2.1",
        "send.example.org",
        "b7.abc@bounces.example.org",
    )


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ("Feedback-Type: Auth-Failure\n", Kind.COMPLAINT, "auth-failure"),
        ("Feedback-Type: fraud; x=y\n", Kind.COMPLAINT, "fraud"),
        ("User-Agent: x\n", Kind.COMPLAINT, "abuse"),
        ("Feedback-Type: not-spam\n", Kind.OTHER, "not-spam"),
    ],
)
def test_the_type_decides(fields: str, kind: Kind, reason: str, rules: Rules) -> None:
    found = read(complaint(fields), rules)
    assert (found.kind, found.reason) == (kind, reason)


def test_a_redacted_address_is_nobody(rules: Rules) -> None:
    assert read(complaint(ABUSE.replace("kay@", "redacted@").replace("lou@", "XXXX@")), rules).recipients == ()


def test_an_old_forward_names_the_complainer_in_our_message(rules: Rules) -> None:
    octets = (
        b"From: staff@mail.example\nSubject: complaint about message from 192.0.2.1\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        b"X-HmXmrOriginalRecipient: kay@dest.example\nMessage-ID: <original@send.example.org>\n\nHello\n--b--\n"
    )
    found = read(octets, rules)
    assert (found.kind, [recipient.address for recipient in found.recipients]) == (Kind.COMPLAINT, ["kay@dest.example"])
