"""The daily report about TLS as JSON and as a mail, ready for the queue (RFC 8460 §4, RFC 8460 §5.3).

Signing is left to the sealer: the From domain is one of ours, whose key record must allow the service `tlsrpt` (one
without `s=` does). The mail is to be queued with the null reverse-path and with TLS optional, since a domain must hear
of its broken TLS (RFC 8460 §3).
"""

import base64
import gzip
import hashlib
import json
import textwrap
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime

from mta.delivery.tls_report import DomainDay, FailureDetails, PolicyTally
from mta.mail.address import Mailbox
from mta.mail.header import field

_WIDTH = 76


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who reports."""

    organization: str
    domain: str
    """Ours, that signs."""
    contact: Mailbox
    """In the report, and the mail's From; at `domain`."""


@dataclass(frozen=True, slots=True)
class ReportMail:
    """A report, ready for the queue: 7-bit, all line ends CRLF."""

    header: bytes
    """Without the blank line behind it."""
    body: bytes
    message_id: str


def report_json(day: DomainDay, submitter: Submitter, report_id: str) -> bytes:
    """Return the report (RFC 8460 §4.4)."""
    begin, end = _span(day.day)
    report = {
        "organization-name": submitter.organization,
        "date-range": {"start-datetime": _time(begin), "end-datetime": _time(end)},
        "contact-info": str(submitter.contact),
        "report-id": report_id,
        "policies": [_policy(tally) for tally in day.tallies],
    }
    return json.dumps(report, indent=1).encode("ascii")


def report_mail(
    day: DomainDay, submitter: Submitter, to: tuple[Mailbox, ...], report_id: str, now: datetime
) -> ReportMail:
    """Write the mail with one day's report. `report_id` is new each time, of letters, digits, `-`, `.` and `_`.

    Raises:
        ValueError: a text does not fit into a header field; a report id could change the structure of one.
    """
    if not report_id.isascii() or not report_id.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise ValueError(f"{report_id!r} is not a report id")
    octets = gzip.compress(report_json(day, submitter, report_id), mtime=0)
    boundary = f"tlsrpt-{hashlib.sha256(octets).hexdigest()[:40]}"
    message_id = f"<{report_id}@{submitter.domain}>"
    fields = (
        field("From", f"<{submitter.contact}>"),
        field("To", ", ".join(f"<{mailbox}>" for mailbox in to)),
        field("Subject", f"Report Domain: {day.domain} Submitter: {submitter.domain} Report-ID: {message_id}"),
        field("Date", format_datetime(now)),
        field("Message-ID", message_id),
        field("TLS-Report-Domain", day.domain),
        field("TLS-Report-Submitter", submitter.domain),
        # RFC 8689 §3; for the hosts behind ours, too
        field("TLS-Required", "No"),
        field("Auto-Submitted", "auto-generated"),
        field("MIME-Version", "1.0"),
        field("Content-Type", f'multipart/report; report-type="tlsrpt"; boundary="{boundary}"'),
    )
    parts = (_text_part(day, submitter), _report_part(octets, _file_name(day, submitter, report_id)))
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return ReportMail(b"".join(fields), body.encode("ascii"), message_id)


def _policy(tally: PolicyTally) -> dict[str, object]:
    policy: dict[str, object] = {"policy-type": tally.policy.type, "policy-domain": tally.policy.domain}
    if tally.policy.lines:
        policy["policy-string"] = tally.policy.lines
    if tally.policy.mx_hosts:
        # an array, as everybody has it (RFC 8460 Appendix B), though the section on the schema reads like one string
        policy["mx-host"] = tally.policy.mx_hosts
    summary = {
        "total-successful-session-count": tally.successes,
        "total-failure-session-count": tally.failures,
    }
    return {
        "policy": policy,
        "summary": summary,
        "failure-details": [_failure(what, count) for what, count in tally.details],
    }


def _failure(what: FailureDetails, count: int) -> dict[str, object]:
    known = {
        "result-type": what.type,
        "sending-mta-ip": what.sending_ip,
        "receiving-mx-hostname": what.receiving_host,
        "receiving-ip": what.receiving_ip,
        "failed-session-count": count,
        "failure-reason-code": what.reason,
    }
    return {key: value for key, value in known.items() if value != ""}


def _text_part(day: DomainDay, submitter: Submitter) -> str:
    good = sum(tally.successes for tally in day.tallies)
    bad = sum(tally.failures for tally in day.tallies)
    lines = (
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is the report of {submitter.domain} about TLS with the mail hosts of",
        f"{day.domain} on {day.day.isoformat()} (UTC): {good} connections met the",
        f"policies that apply, {bad} did not. The attached file has the details",
        "(RFC 8460).",
        "",
    )
    return "\r\n".join(lines)


def _report_part(octets: bytes, name: str) -> str:
    lines = (
        "Content-Type: application/tlsrpt+gzip",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n filename="{name}"',
        "",
        *textwrap.wrap(base64.b64encode(octets).decode("ascii"), _WIDTH),
        "",
    )
    return "\r\n".join(lines)


def _file_name(day: DomainDay, submitter: Submitter, report_id: str) -> str:
    """RFC 8460 §5.1."""
    begin, end = (int(at.timestamp()) for at in _span(day.day))
    return f"{submitter.domain}!{day.domain}!{begin}!{end}!{report_id}.json.gz"


def _span(day: date) -> tuple[datetime, datetime]:
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + timedelta(days=1, seconds=-1)


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
