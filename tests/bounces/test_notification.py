"""Notifications in JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.classify import Classifier
from mta.bounces.notification import read as read_notification
from mta.bounces.reading import read
from mta.bounces.report import Kind, Reason, Report
from mta.bounces.rules import Rules
from tests.bounces.letters import plain

MAIL = {"destination": ["kay@dest.example"], "commonHeaders": {"messageId": "<original@send.example.org>"}}
BOUNCE = {
    "notificationType": "Bounce",
    "bounce": {
        "bouncedRecipients": [
            {
                "emailAddress": "kay@dest.example",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }
        ]
    },
    "mail": MAIL,
}
FOOTER = "\n\n--\nIf you wish to stop receiving notifications, unsubscribe at https://sns.example/\n"


def mailed(notification: dict[str, Any], rules: Rules) -> Report:
    return read(plain(json.dumps(notification) + FOOTER, Subject="AWS Notification Message"), rules)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bounce_is_read(wrapped: bool, rules: Rules) -> None:
    found = mailed({"Type": "Notification", "Message": json.dumps(BOUNCE)} if wrapped else BOUNCE, rules)
    (recipient,) = found.recipients
    assert (found.kind, found.original_message_id) == (Kind.BOUNCE, "<original@send.example.org>")
    assert (recipient.address, recipient.smtp_code, recipient.classification.reason) == (
        "kay@dest.example",
        550,
        Reason.BAD_MAILBOX,
    )


def test_a_complaint_and_a_delivery_are_read(rules: Rules) -> None:
    complained = {"complainedRecipients": [{"emailAddress": "kay@dest.example"}], "complaintFeedbackType": "Fraud"}
    complaint = mailed({"eventType": "Complaint", "complaint": complained, "mail": MAIL}, rules)
    assert (complaint.kind, complaint.reason, len(complaint.recipients)) == (Kind.COMPLAINT, "fraud", 1)
    delivery = {"smtpResponse": "250 2.6.0 Message received", "recipients": ["kay@dest.example"]}
    delivered = mailed({"notificationType": "Delivery", "delivery": delivery, "mail": MAIL}, rules)
    assert (delivered.kind, delivered.recipients[0].smtp_code) == (Kind.DELIVERED, 250)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["Bounce", "Complaint"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["notificationType", "bounce", "complaint", "bouncedRecipients", "emailAddress", "mail"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_gives_a_report_or_none(value: Any) -> None:
    found = read_notification(json.dumps(value), Classifier(Rules.parse("")))
    assert found is None or isinstance(found, Report)


@pytest.mark.parametrize("text", ["{" * 100_000, '{"a":' * 100_000, '{"a": ' + "9" * 60_000 + "}", "[1]", "{}", ""])
def test_what_is_no_notification_is_passed_over(text: str) -> None:
    assert read_notification(text, Classifier(Rules.parse(""))) is None
