"""Notifications in JSON, as Amazon SES mails them through SNS: bounces, complaints and deliveries of one message."""

import json
import re
from collections.abc import Mapping
from typing import Any

from mta.bounces.classify import Classifier
from mta.bounces.quoted import is_address, one_line, quote
from mta.bounces.report import Action, Feedback, Kind, Report, ReportedRecipient

_LISTS = {
    Kind.BOUNCE: ("bounce", "bouncedRecipients", Action.FAILED),
    Kind.DELAYED: ("deliveryDelay", "delayedRecipients", Action.DELAYED),
    Kind.COMPLAINT: ("complaint", "complainedRecipients", None),
}
_KINDS = {"bounce": Kind.BOUNCE, "complaint": Kind.COMPLAINT, "delivery": Kind.DELIVERED, "deliverydelay": Kind.DELAYED}
_MAX_RECIPIENTS = 100
_SUCCESS = re.compile(r"2[0-9]{2}\b", re.ASCII)


def read(text: str, classifier: Classifier) -> Report | None:
    """Return what a notification tells; None when the text is none."""
    notification = _object(text)
    if isinstance(wrapped := notification.get("Message"), str):
        notification = _object(wrapped)
    kind = _KINDS.get(_text(notification, "notificationType", "eventType").lower())
    if kind is None:
        return None
    mail = _mapping(notification, "mail")
    message_id = _text(_mapping(mail, "commonHeaders"), "messageId") or None
    if kind is Kind.DELIVERED:
        delivery = _mapping(notification, "delivery")
        return Report(kind, _delivered(delivery, mail), original_message_id=message_id)
    about, people, action = _LISTS[kind]
    told = _mapping(notification, about)
    entries = told.get(people)
    recipients = tuple(
        _recipient(entry, action, classifier)
        for entry in (entries if isinstance(entries, list) else [])[:_MAX_RECIPIENTS]
        if isinstance(entry, dict) and is_address(_text(entry, "emailAddress"))
    )
    if kind is Kind.COMPLAINT:
        reason = _text(told, "complaintFeedbackType").lower() or "abuse"
        return Report(kind, recipients, reason, message_id, feedback=Feedback(reason, _text(told, "userAgent") or None))
    return Report(kind, recipients, original_message_id=message_id)


def _recipient(entry: Mapping[str, Any], action: Action | None, classifier: Classifier) -> ReportedRecipient:
    address = one_line(_text(entry, "emailAddress"))
    if action is None:
        return ReportedRecipient(address)
    said = _text(entry, "diagnosticCode").partition(";")[2].strip() or _text(entry, "diagnosticCode")
    quoted = quote(said)
    status = quote(_text(entry, "status")).status or quoted.status
    meaning = classifier.reply(quoted.code, status, said)
    return ReportedRecipient(address, action, status, quoted.code, meaning, one_line(said))


def _delivered(delivery: Mapping[str, Any], mail: Mapping[str, Any]) -> tuple[ReportedRecipient, ...]:
    response = _text(delivery, "smtpResponse")
    code = int(response[:3]) if _SUCCESS.match(response) else None
    status = quote(response).status
    people = delivery.get("recipients") or mail.get("destination")
    return tuple(
        ReportedRecipient(one_line(address), Action.DELIVERED, status, code)
        for address in (people if isinstance(people, list) else [])[:_MAX_RECIPIENTS]
        if isinstance(address, str) and is_address(address)
    )


def _object(text: str) -> dict[str, Any]:
    """Return the object that a text begins with; a footer may follow."""
    start = text.lstrip()
    if not start.startswith("{"):
        return {}
    try:
        # line ends inside strings come from mailers that fold
        value, _ = json.JSONDecoder(strict=False).raw_decode(start)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _mapping(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _text(table: Mapping[str, Any], *keys: str) -> str:
    return next((value for key in keys if isinstance(value := table.get(key), str)), "")
