"""Reading delivery status notifications of others (RFC 3464, RFC 6533): fields in, recipients out.

Much of what is sent as one is none: fields are missing, blocks run together, the reason stands in the prose only. Then
the prose decides, or the status's class.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mta.bounces.classify import Classifier
from mta.bounces.prose import Notice, told
from mta.bounces.quoted import Quote, one_line, quote, typed_address
from mta.bounces.report import Action, Kind, Report, ReportedRecipient
from mta.mail.reply import EnhancedStatus

KINDS = ("message/delivery-status", "message/global-delivery-status")

Fields = dict[str, str]

_ACTIONS = {2: Action.DELIVERED, 4: Action.DELAYED, 5: Action.FAILED}
_GOOD = frozenset({Action.DELIVERED, Action.RELAYED, Action.EXPANDED})
_SPLITS = ("original-recipient", "final-recipient", "action")
# IronPort puts its own opinion before the reply, "Unknown address error" before anything at RCPT
_WRAPPED = re.compile(r"[245]\.[0-9]\.[0-9]{1,3} - [A-Za-z ]{3,50}(?=[245][0-9]{2}-')")
_MAX_RECIPIENTS = 100


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A status part as it was written."""

    message: Fields
    recipients: tuple[Fields, ...]

    @classmethod
    def parse(cls, text: str) -> "StatusReport":
        """Read the fields; anything can be read."""
        blocks = list(_blocks(text))
        recipients = tuple(block for block in blocks if _address(block))[:_MAX_RECIPIENTS]
        return cls(next((block for block in blocks if not _address(block)), {}), recipients)


def read(text: str, notice: Notice, classifier: Classifier) -> Report | None:
    """Return what a status part says; None when it names nobody."""
    status = StatusReport.parse(text)
    recipients = tuple(
        _recipient(fields, notice, classifier, alone=len(status.recipients) == 1) for fields in status.recipients
    )
    if not recipients:
        return None
    actions = {recipient.action for recipient in recipients}
    kinds = ((Action.FAILED, Kind.BOUNCE), (Action.DELAYED, Kind.DELAYED))
    kind = next((kind for action, kind in kinds if action in actions), Kind.DELIVERED)
    if kind is not Kind.DELIVERED:
        recipients = tuple(recipient for recipient in recipients if recipient.action not in _GOOD)
    return Report(kind, recipients, envelope_id=status.message.get("original-envelope-id") or None)


def fields_of(text: str) -> list[tuple[str, str]]:
    """Return the fields of a block, unfolded, cut, without control characters; what is no field is passed over."""
    fields: list[list[str]] = []
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and fields:
            fields[-1].append(line.strip())
        elif colon and name.strip() and " " not in name.strip():
            fields.append([name.strip().lower(), value.strip()])
    return [(name, one_line(" ".join(values))) for name, *values in fields]


def _blocks(text: str) -> Iterator[Fields]:
    """Yield the blocks; one that names a second recipient is two (some forget the blank line between)."""
    for paragraph in text.split("\n\n"):
        block: Fields = {}
        for name, value in fields_of(paragraph):
            if name in _SPLITS and name in block and _address(block):
                yield block
                block = {}
            block.setdefault(name, value)
        if block:
            yield block


def _address(fields: Fields) -> str:
    for name in ("original-recipient", "final-recipient", "x-actual-recipient"):
        if address := typed_address(fields.get(name, "")):
            return address
    return ""


def _recipient(fields: Fields, notice: Notice, classifier: Classifier, *, alone: bool) -> ReportedRecipient:
    address = _address(fields)
    diagnostic = fields.get("diagnostic-code", "")
    kind, semicolon, said = diagnostic.partition(";")
    said = _WRAPPED.sub("", said.strip() if semicolon and " " not in kind.strip() else diagnostic)
    final = typed_address(fields.get("final-recipient", ""))
    near = told(notice.about(address) or notice.about(final))
    theirs, prose = quote(said), quote(near)
    status = _status(fields, theirs, prose)
    code = theirs.code or prose.code
    action = _action(fields, status, notice)
    return ReportedRecipient(
        address,
        action,
        status,
        code,
        classifier.reply(code, status, said, prose.context, near, told(notice.text) if alone else ""),
        one_line(said) or prose.text,
        fields.get("remote-mta", "").partition(";")[2].strip() or None,
    )


def _status(fields: Fields, *quotes: Quote) -> EnhancedStatus | None:
    """Return the most specific code: `5.0.0` says less than what the quoted reply says."""
    declared = quote(fields.get("status", "")).status
    candidates = [one for one in (declared, *(quoted.status for quoted in quotes)) if one is not None]
    return next((one for one in candidates if one.subject or one.detail), next(iter(candidates), None))


def _action(fields: Fields, status: EnhancedStatus | None, notice: Notice) -> Action:
    written = fields.get("action", "").partition(" ")[0].strip("();,.").lower()
    if written in list(Action):
        return Action(written)
    if status is None or status.klass == 4:
        return Action.DELAYED if notice.is_delay else Action.FAILED
    return _ACTIONS[status.klass]
