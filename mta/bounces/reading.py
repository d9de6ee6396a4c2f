"""Reading what comes back: octets in, a `Report` out, whatever the octets are.

The formats are tried from the most certain to the least. A letter in which a person forwards or quotes a report is that
person's, and `other`. Nothing in here decides whether a report is genuine.
"""

import re

from msgspec.structs import replace

from mta.bounces import answers, arf, notification, prose, status_report
from mta.bounces.classify import Classifier
from mta.bounces.letter import Letter, Unreadable
from mta.bounces.prose import Notice
from mta.bounces.report import Kind, Report
from mta.bounces.rules import Rules
from mta.mail.reply import clean

# what they report is no failure of a delivery (RFC 8098, RFC 8460)
_NOT_OURS = frozenset({"disposition-notification", "tlsrpt"})
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,900}>")


def read(octets: bytes, rules: Rules) -> Report:
    """Return what a message that came back says; `other` with a note when it cannot be read.

    Takes time in proportion to the size, up to a tenth of a second at the limits: not for the event loop.
    """
    try:
        letter = Letter.parse(octets)
    except Unreadable as error:
        return Report(Kind.OTHER, note=f"unreadable: {clean(str(error))}")
    notice = Notice(letter, rules.notices)
    return _completed(_read(letter, notice, rules), notice)


def _read(letter: Letter, notice: Notice, rules: Rules) -> Report:
    classifier = Classifier(rules)
    answer = answers.automatic(letter, rules) if letter.report_type not in _NOT_OURS else None
    # people's absence notes speak of mail, too: one that is known for one goes before prose
    known = answer if answer is not None and answer.reason is not None and not notice.is_from_system else None
    return (
        arf.read(letter, notice.returned, rules)
        or notification.read(letter.prose, classifier)
        or _status(letter, notice, classifier)
        or _wrapped(letter, notice, rules)
        or known
        or prose.read(notice, classifier)
        or answer
        or answers.departure(letter, rules)
        or Report(Kind.OTHER)
    )


def _completed(report: Report, notice: Notice) -> Report:
    """Return a report with what came back of our message."""
    returned = notice.returned
    if report.kind is Kind.OTHER or report.returned.fields:
        return report
    field = returned.first("Message-ID")
    found = _MESSAGE_ID.search(clean(field.text)) if field else None
    message_id = report.original_message_id or (found[0] if found else None)
    return replace(report, original_message_id=message_id, returned=returned)


def _status(letter: Letter, notice: Notice, classifier: Classifier) -> Report | None:
    # a person who forwards a report does so in a multipart/mixed
    if not (letter.kind == "multipart/report" or notice.is_from_system):
        return None
    text = letter.first(*status_report.KINDS)
    if text is None and notice.is_failure:
        # broken MIME: the fields stand in the text
        text = notice.text
    return status_report.read(text, notice, classifier) if text is not None else None


def _wrapped(letter: Letter, notice: Notice, rules: Rules) -> Report | None:
    """A gateway that sends on the status report of another one, as an attachment."""
    attached = letter.first("message/rfc822")
    if attached is None or not (notice.is_from_system and notice.is_failure) or notice.names_somebody:
        return None
    try:
        inner = Letter.parse(attached.encode("utf-8", "replace"))
    except Unreadable:
        return None
    theirs = Notice(inner, rules.notices)
    report = _status(inner, theirs, Classifier(rules))
    return _completed(report, theirs) if report is not None else None
