"""Why a delivery failed, and what its sender can do, in words of people who never saw an SMTP reply.

The enhanced status code (RFC 3463 §3) chooses the words; without one the reply code does. What class a bounce is in for
suppression and reputation is not decided here.
"""

from dataclasses import dataclass
from datetime import timedelta

from mta.mail.reply import EnhancedStatus, Reply


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two or three sentences for a person."""

    why: str
    advice: str


_CHECK_ADDRESS = "Check the address for typing mistakes, or ask the recipient for the right one in another way."
_LATER = "Send the message again later. If it fails again, reach the recipient in another way."
_ASK_RECIPIENT = "Tell the recipient in another way; only they, or their provider, can change this."
_ASK_ADMIN = "Show this report to the administrator of your own mail server, who can find out more."

_NO_ANSWER = Explanation("The recipient's mail server could not be reached.", _LATER)
_REFUSED = Explanation("The recipient's mail server refused the message.", _ASK_ADMIN)
_POLICY = Explanation(
    "The recipient's mail server refused the message because of its rules, perhaps as spam.",
    "The server's own words below may say more. If the message is wanted: " + _ASK_ADMIN,
)
_UNPROVEN = Explanation(
    "The recipient's mail server refused the message because it could not make sure that it really comes from your "
    "domain.",
    _ASK_ADMIN,
)
_NO_TLS = Explanation("A safe (encrypted) connection to the recipient's mail server could not be made.", _ASK_ADMIN)
_TOO_LARGE = Explanation(
    "The message is larger than the recipient's mail server takes.",
    "Send it again without large attachments, or share the files in another way.",
)
_MAILBOX_FULL = Explanation(
    "The recipient's mailbox is full.", "Tell the recipient in another way, or try again later."
)
_CONTENT = Explanation(
    "The recipient's mail server cannot handle the form of the message.",
    "Send it again in a plainer form, without unusual attachments. If that does not help: " + _ASK_ADMIN,
)

_BY_SUBJECT_AND_DETAIL: dict[tuple[int, int], Explanation] = {
    (1, 0): Explanation("The recipient's mail server does not accept mail for this address.", _CHECK_ADDRESS),
    (1, 1): Explanation("There is no mailbox with this address.", _CHECK_ADDRESS),
    (1, 2): Explanation("The domain of the address (the part behind the @) does not exist.", _CHECK_ADDRESS),
    (1, 3): Explanation("The recipient's mail server says that the address is not written properly.", _CHECK_ADDRESS),
    (1, 4): Explanation("The address stands for more than one mailbox.", _CHECK_ADDRESS),
    (1, 6): Explanation("The mailbox has moved and left no new address.", _CHECK_ADDRESS),
    (1, 7): Explanation("The recipient's mail server does not accept the sender's address.", _ASK_ADMIN),
    (1, 8): Explanation("The recipient's mail server does not accept the sender's domain.", _ASK_ADMIN),
    (1, 10): Explanation("The domain of the address (the part behind the @) takes no mail at all.", _CHECK_ADDRESS),
    (2, 0): Explanation("The recipient's mailbox cannot be used.", _ASK_RECIPIENT),
    (2, 1): Explanation("The recipient's mailbox is switched off and takes no messages.", _ASK_RECIPIENT),
    (2, 2): _MAILBOX_FULL,
    (2, 3): _TOO_LARGE,
    (2, 4): Explanation("The address is a mailing list that could not be worked through.", _ASK_RECIPIENT),
    (3, 1): Explanation("The recipient's mail server has no space left.", _LATER),
    (3, 4): _TOO_LARGE,
    (4, 1): _NO_ANSWER,
    (4, 2): Explanation("The connection to the recipient's mail server broke off.", _LATER),
    (4, 3): Explanation("It could not be found out where mail for the domain of the address goes.", _LATER),
    (4, 4): Explanation("The domain of the address has no mail server that can be reached.", _CHECK_ADDRESS),
    (4, 5): Explanation("The recipient's mail server is overloaded.", _LATER),
    (4, 6): Explanation("The message would go in a circle: mail servers send it to one another.", _ASK_ADMIN),
    (4, 7): Explanation("The recipient's mail server took too long.", _LATER),
    (6, 3): Explanation(
        "The message has letters beyond plain ASCII, and the recipient's mail server cannot take them.",
        "Send the message again as plain ASCII text. If that does not help: " + _ASK_ADMIN,
    ),
    (6, 7): Explanation(
        "An address of the message has letters beyond plain ASCII, and the recipient's mail server cannot take them.",
        "Ask the recipient for an address of plain ASCII letters, or send from such an address.",
    ),
    (7, 2): Explanation("Only chosen senders may write to this mailing list or group.", _ASK_RECIPIENT),
    (7, 4): _NO_TLS,
    (7, 5): _NO_TLS,
    (7, 10): _NO_TLS,
    (7, 13): Explanation("The recipient's account is switched off.", _ASK_RECIPIENT),
    (7, 17): Explanation("The mailbox has changed its owner since the address became known.", _CHECK_ADDRESS),
    (7, 18): Explanation("The domain of the address has changed its owner.", _CHECK_ADDRESS),
    (7, 30): Explanation("The message demands encryption that the recipient's mail server does not offer.", _ASK_ADMIN),
    **{(7, detail): _UNPROVEN for detail in range(20, 30)},
}

_BY_SUBJECT = {
    1: Explanation("Something is wrong with the recipient's address.", _CHECK_ADDRESS),
    2: Explanation("Something is wrong with the recipient's mailbox.", _ASK_RECIPIENT),
    3: Explanation("The recipient's mail server has a problem of its own.", _LATER),
    4: _NO_ANSWER,
    5: Explanation("The mail servers did not understand one another.", _ASK_ADMIN),
    6: _CONTENT,
    7: _POLICY,
}

_BY_CODE = {
    # codes have one meaning at RCPT and another at the final dot; these hold for both (RFC 5321 §4.2.3)
    552: Explanation(
        "The message is too large, or the recipient's mailbox is full.",
        "Send it again without large attachments, or tell the recipient in another way.",
    ),
    553: _BY_SUBJECT_AND_DETAIL[1, 3],
    421: Explanation("The recipient's mail server does not take messages just now.", _LATER),
    450: Explanation("The recipient's mail server does not take this message just now.", _LATER),
    451: Explanation("The recipient's mail server had a problem of its own.", _LATER),
    452: Explanation("The recipient's mail server has no space left, or too much to do.", _LATER),
}


def explain(reply: Reply) -> Explanation:
    """Return the words for a reply that says no."""
    found = None if reply.status is None else _by_status(reply.status)
    return found or _BY_CODE.get(reply.code) or _REFUSED


def _by_status(status: EnhancedStatus) -> Explanation | None:
    return _BY_SUBJECT_AND_DETAIL.get((status.subject, status.detail)) or _BY_SUBJECT.get(status.subject)


def span(length: timedelta) -> str:
    """Return a length of time as people say it, rounded down: "4 days", "5 hours", "1 minute"."""
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        count = length // unit
        # two of the smaller unit say more than one of the larger: 36 hours, not 1 day
        if count >= 2 or (count == 1 and not length % unit):
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "a minute" if length >= timedelta(minutes=1) else "less than a minute"
