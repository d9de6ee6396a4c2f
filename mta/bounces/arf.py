"""Reading feedback reports (RFC 5965), and the complaints that providers send without that format."""

import re

from mta.bounces.letter import Letter
from mta.bounces.phrases import fold
from mta.bounces.quoted import addresses, typed_address
from mta.bounces.report import Feedback, Kind, Report, ReportedRecipient
from mta.bounces.rules import Rules
from mta.bounces.status_report import fields_of
from mta.mail.header import Header

KIND = "message/feedback-report"

_RECIPIENTS = ("original-rcpt-to", "removal-recipient", "original-recipient")
_FORWARDED = ("X-HmXmrOriginalRecipient", "X-MSK-Original-Recipient")
_REDACTED = re.compile(r"\A(?:redacted|x{3,}|\*|[0-9a-f]{32,}\Z)", re.IGNORECASE)
_MAX_RECIPIENTS = 100


def read(letter: Letter, returned: Header, rules: Rules) -> Report | None:
    """Return the complaint that a letter is; None when it is none."""
    text = letter.first(KIND)
    if text is None:
        return _forwarded(letter, returned, rules)
    fields = fields_of(text)
    first = dict(reversed(fields))
    kind = first.get("feedback-type", "").partition(";")[0].strip().lower() or "abuse"
    if kind == "not-spam":
        return Report(Kind.OTHER, reason=kind)
    named = [address for name, value in fields if name in _RECIPIENTS and (address := typed_address(value))]
    feedback = Feedback(
        kind,
        first.get("user-agent"),
        first.get("source-ip"),
        first.get("reported-domain"),
        typed_address(first.get("original-mail-from", "")) or None,
    )
    return Report(Kind.COMPLAINT, _recipients(named or _hinted(letter)), kind, feedback=feedback)


def _forwarded(letter: Letter, returned: Header, rules: Rules) -> Report | None:
    """Older programmes send the message itself, with the complainer in a field of its own."""
    subject = fold(letter.field("Subject"))
    told = next((one for one in rules.complaints if returned.fields and one.subjects.any_in(subject)), None)
    hinted = _hinted(letter)
    if told is None and not hinted:
        return None
    kind = told.reason if told else "abuse"
    return Report(Kind.COMPLAINT, _recipients(hinted), kind, feedback=Feedback(kind))


def _hinted(letter: Letter) -> list[str]:
    return [
        address
        for name in _FORWARDED
        for value in (*letter.fields(name), *(field.text for field in letter.returned.find(name)))
        for address in addresses(value)
    ]


def _recipients(named: list[str]) -> tuple[ReportedRecipient, ...]:
    whole = [address for address in dict.fromkeys(named) if not _REDACTED.match(address)]
    return tuple(ReportedRecipient(address) for address in whole[:_MAX_RECIPIENTS])
