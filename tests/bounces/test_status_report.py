"""Delivery status notifications of others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.reading import read
from mta.bounces.report import Action, Hardness, Kind, Reason
from mta.bounces.rules import Rules
from mta.bounces.status_report import StatusReport, fields_of
from tests.bounces.letters import report

MESSAGE = "Reporting-MTA: dns; mx.dest.example\nOriginal-Envelope-Id: env-7\n"
FAILED = """
Final-Recipient: rfc822; kay@dest.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.dest.example
Diagnostic-Code: smtp; 550 5.1.1 <kay@dest.example>: Recipient
    address rejected: User unknown
"""


def test_a_failed_recipient_is_read_with_all_that_is_said_of_it(rules: Rules) -> None:
    found = read(report(MESSAGE + FAILED), rules)
    (recipient,) = found.recipients
    assert (found.kind, found.envelope_id, found.original_message_id) == (
        Kind.BOUNCE,
        "env-7",
        "<original@send.example.org>",
    )
    assert (recipient.address, recipient.action, str(recipient.status), recipient.smtp_code) == (
        "kay@dest.example",
        Action.FAILED,
        "5.1.1",
        550,
    )
    assert recipient.classification.reason is Reason.BAD_MAILBOX
    assert recipient.classification.hardness is Hardness.HARD
    assert recipient.diagnostic == "550 5.1.1 <kay@dest.example>: Recipient address rejected: User unknown"
    assert recipient.remote_mta == "mx.dest.example"


def test_the_returned_header_is_handed_on(rules: Rules) -> None:
    token = read(report(MESSAGE + FAILED), rules).returned.first("X-Token")
    assert token is not None
    assert token.text == "abc"


@pytest.mark.parametrize(
    ("actions", "kind", "addresses"),
    [
        (("failed", "failed"), Kind.BOUNCE, ["u0@d.example", "u1@d.example"]),
        (("failed", "delayed"), Kind.BOUNCE, ["u0@d.example", "u1@d.example"]),
        (("failed", "delivered"), Kind.BOUNCE, ["u0@d.example"]),
        (("delayed", "relayed"), Kind.DELAYED, ["u0@d.example"]),
        (("delivered", "expanded"), Kind.DELIVERED, ["u0@d.example", "u1@d.example"]),
    ],
)
def test_the_kind_follows_the_actions(actions: tuple[str, ...], kind: Kind, addresses: list[str], rules: Rules) -> None:
    status = "\n".join(
        f"Final-Recipient: rfc822; u{number}@d.example\nAction: {action}\nStatus: 4.0.0\n"
        for number, action in enumerate(actions)
    )
    found = read(report(f"{MESSAGE}\n{status}"), rules)
    assert (found.kind, [recipient.address for recipient in found.recipients]) == (kind, addresses)


@pytest.mark.parametrize(
    ("status", "prose", "action"),
    [
        ("5.1.1", "", "failed"),
        ("4.4.1", "It has been delayed and will be retried.", "delayed"),
        ("4.4.1", "It could not be delivered, and nobody will try again.", "failed"),
        ("2.0.0", "", "delivered"),
        ("", "", "failed"),
    ],
)
def test_a_missing_action_follows_from_status_and_prose(status: str, prose: str, action: str, rules: Rules) -> None:
    found = read(report(f"{MESSAGE}\nFinal-Recipient: rfc822; kay@dest.example\nStatus: {status}\n", prose), rules)
    assert [str(recipient.action) for recipient in found.recipients] == [action]


def test_an_international_recipient_is_read(rules: Rules) -> None:
    status = MESSAGE + "\nFinal-Recipient: utf-8; k\\x{E4}y@dest.example\nAction: failed\nStatus: 5.1.1\n"
    (recipient,) = read(report(status, kind="message/global-delivery-status"), rules).recipients
    assert recipient.address == "käy@dest.example"


def test_the_prose_explains_what_the_fields_do_not(rules: Rules) -> None:
    status = MESSAGE + "\nFinal-Recipient: rfc822; kay@dest.example\nAction: failed\nStatus: 5.0.0\n"
    prose = "<kay@dest.example>: host mx.dest.example said: 552 5.2.2 Mailbox\n    full (in reply to RCPT TO command)\n"
    (recipient,) = read(report(status, prose), rules).recipients
    assert (str(recipient.status), recipient.smtp_code) == ("5.2.2", 552)
    assert recipient.classification.reason is Reason.MAILBOX_FULL


def test_the_original_recipient_is_preferred(rules: Rules) -> None:
    status = FAILED.replace("\nFinal", "\nOriginal-Recipient: rfc822;alias@send.example.org\nFinal")
    assert read(report(MESSAGE + status), rules).recipients[0].address == "alias@send.example.org"


def test_blocks_that_run_together_are_told_apart() -> None:
    text = f"{MESSAGE}{FAILED.strip()}\n{FAILED.strip().replace('kay', 'lou')}"
    found = StatusReport.parse(text)
    assert [fields["final-recipient"] for fields in found.recipients] == [
        "rfc822; kay@dest.example",
        "rfc822; lou@dest.example",
    ]


def test_a_report_whose_parts_cannot_be_told_apart_is_read_all_the_same(rules: Rules) -> None:
    octets = report(MESSAGE + FAILED).replace(b"--=b", b"--=other")
    assert [recipient.address for recipient in read(octets, rules).recipients] == ["kay@dest.example"]


def test_what_the_sender_put_into_a_field_cannot_break_a_line(rules: Rules) -> None:
    status = FAILED.replace("User unknown", "User \x1b[31m unknown\u2028 \x00")
    assert read(report(MESSAGE + status), rules).recipients[0].diagnostic.isprintable()


def test_a_report_that_names_nobody_falls_back_to_its_prose(rules: Rules) -> None:
    prose = "Could not be delivered:\n\n  kay@dest.example\n  User unknown\n"
    found = read(report(MESSAGE, prose), rules)
    assert (found.kind, [recipient.address for recipient in found.recipients]) == (Kind.BOUNCE, ["kay@dest.example"])


def test_fields_are_unfolded_and_junk_is_passed_over() -> None:
    assert fields_of("a: b\n\tc\njunk\nd : e\nnot a field: x\n") == [("a", "b c"), ("d", "e")]


@given(st.text(max_size=500))
def test_any_text_gives_a_status_report(text: str) -> None:
    assert all(isinstance(fields, dict) for fields in StatusReport.parse(text).recipients)
