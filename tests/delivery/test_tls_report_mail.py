"""The daily report as JSON and as a mail."""

import email
import email.policy
import gzip
import json
from datetime import date

import pytest

from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_report import AppliedPolicy, DomainDay, FailureDetails, PolicyTally, PolicyType
from mta.delivery.tls_report_mail import Submitter, report_json, report_mail
from mta.mail.address import Mailbox
from mta.mail.header import Header
from tests.fakes.clock import START

STS = AppliedPolicy(
    PolicyType.STS, "example.com", ("version: STSv1", "mode: testing", "mx: *.example.net"), ("*.example.net",)
)
WHAT = FailureDetails(
    TlsFailure.CERTIFICATE_EXPIRED, "192.0.2.1", "mx.example.net", "2001:db8::2", "valid until 2026-01-01"
)
TLSA = AppliedPolicy(PolicyType.TLSA, "mx.example.net", ("3 1 1 aa",))
SPARSE = FailureDetails(TlsFailure.STS_POLICY_FETCH_ERROR)
DAY = DomainDay(
    date(2026, 11, 21),
    "example.com",
    (PolicyTally(STS, 5326, 303, ((WHAT, 300), (SPARSE, 3))), PolicyTally(TLSA, 1)),
)
SUBMITTER = Submitter("Example Sender", "example.org", Mailbox.parse("tls-reports@example.org"))
TO = (Mailbox.parse("tls@example.com"), Mailbox.parse("second@example.net"))

EXPECTED = {
    "organization-name": "Example Sender",
    "date-range": {"start-datetime": "2026-11-21T00:00:00Z", "end-datetime": "2026-11-21T23:59:59Z"},
    "contact-info": "tls-reports@example.org",
    "report-id": "2026-11-21.0abc",
    "policies": [
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: testing", "mx: *.example.net"],
                "policy-domain": "example.com",
                "mx-host": ["*.example.net"],
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "192.0.2.1",
                    "receiving-mx-hostname": "mx.example.net",
                    "receiving-ip": "2001:db8::2",
                    "failed-session-count": 300,
                    "failure-reason-code": "valid until 2026-01-01",
                },
                {"result-type": "sts-policy-fetch-error", "failed-session-count": 3},
            ],
        },
        {
            "policy": {"policy-type": "tlsa", "policy-string": ["3 1 1 aa"], "policy-domain": "mx.example.net"},
            "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
            "failure-details": [],
        },
    ],
}


def test_the_report_is_what_the_schema_asks_for() -> None:
    assert json.loads(report_json(DAY, SUBMITTER, "2026-11-21.0abc")) == EXPECTED


def test_the_mail_carries_the_report() -> None:
    made = report_mail(DAY, SUBMITTER, TO, "2026-11-21.0abc", START)
    mail = email.message_from_bytes(made.header + b"\r\n" + made.body, policy=email.policy.default)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "tlsrpt"
    text, report = mail.iter_parts()
    assert "5327 connections" in text.get_content()
    assert report.get_content_type() == "application/tlsrpt+gzip"
    # midnight and the last second of the day, as the date command of an operator has them
    assert report.get_filename() == "example.org!example.com!1795219200!1795305599!2026-11-21.0abc.json.gz"
    assert json.loads(gzip.decompress(report.get_content())) == EXPECTED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("From", "<tls-reports@example.org>"),
        ("To", "<tls@example.com>, <second@example.net>"),
        (
            "Subject",
            "Report Domain: example.com Submitter: example.org Report-ID: <2026-11-21.0abc@example.org>",
        ),
        ("Message-ID", "<2026-11-21.0abc@example.org>"),
        ("Date", "Sun, 22 Nov 2026 12:00:00 +0000"),
        ("TLS-Report-Domain", "example.com"),
        ("TLS-Report-Submitter", "example.org"),
        ("TLS-Required", "No"),
        ("Auto-Submitted", "auto-generated"),
    ],
)
def test_the_mail_s_fields(name: str, value: str) -> None:
    made = report_mail(DAY, SUBMITTER, TO, "2026-11-21.0abc", START)
    assert [field.text for field in Header.parse(made.header).find(name)] == [value]


def test_the_mail_is_seven_bit_with_short_lines_that_end_in_crlf() -> None:
    made = report_mail(DAY, SUBMITTER, TO, "1", START)
    content = made.header + b"\r\n" + made.body
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 120


def test_the_same_report_is_the_same_octets() -> None:
    one, other = (report_mail(DAY, SUBMITTER, TO, "1", START) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("id", ["", "a b", "a\r\nBcc: x@example.com", "a>", "ä", '"'])
def test_an_id_that_is_none_is_refused(id: str) -> None:
    with pytest.raises(ValueError, match="is not a report id"):
        report_mail(DAY, SUBMITTER, TO, id, START)
