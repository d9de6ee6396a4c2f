"""What a host's refusal means beyond its digits: its class, and whether the recipient is written to again.

A 5yz at MAIL is permanent unless it speaks of our reputation or our rate: then waiting may mend it. A recipient comes
onto the suppression list when a host said at RCPT or after the content that the address does not exist, or when its
domain does not exist, but the latter only when it is seen again a day later.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from mta.bounces.classify import Classifier
from mta.bounces.report import Classification, Hardness, Reason
from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, Try
from mta.mail.reply import Reply
from mta.queue.model import Claimed, State
from mta.queue.settle import Settlement
from mta.reputation.suppression import Cause, Expiry, Origin, Suppression

SEEN_AGAIN_AFTER = timedelta(hours=24)

_ABOUT_US = frozenset({Reason.REPUTATION, Reason.RATE_LIMITED})
_NAMES_RECIPIENT = frozenset({"rcpt", "data", "dot"})
_OF_DNS = frozenset({failures.NO_SUCH_DOMAIN, failures.NULL_MX})


class Verdicts:
    """Applies the rules of classification to attempts."""

    def __init__(self, classifier: Classifier, expiry: Expiry) -> None:
        self._classifier = classifier
        self._expiry = expiry

    def replace(self, expiry: Expiry) -> None:
        """Let entries end by other spans from now on."""
        self._expiry = expiry

    def expires(self, cause: Cause, at: datetime) -> datetime | None:
        """Return when an entry made at a time ends."""
        return self._expiry.of(cause, at)

    def of(self, outcome: Outcome) -> tuple[Outcome, Classification]:
        """Return what an attempt came to, with the class of its reply."""
        if isinstance(outcome, Delivered):
            return outcome, Classification()
        reply = outcome.reply
        classification = self._classifier.reply(reply.code, reply.status, reply.text)
        stage = _stage(outcome.tries)
        if isinstance(outcome, Bounced) and stage == "mail" and classification.reason in _ABOUT_US:
            return Deferred(reply, outcome.tries), classification
        if stage is not None and stage not in _NAMES_RECIPIENT and classification.hardness is Hardness.HARD:
            # no recipient was named yet: the mailbox or domain that does not exist is the sender's
            return outcome, replace(classification, hardness=Hardness.SOFT)
        return outcome, classification

    def is_about_us(self, reply: Reply) -> bool:
        """Return whether a refusal speaks of our reputation or rate: another way to the host may do better."""
        return self._classifier.reply(reply.code, reply.status, reply.text).reason in _ABOUT_US

    def judged(self, settlement: Settlement, now: datetime) -> Settlement:
        """Return a settlement of classified mail with its suppression, where the address is to blame for good."""
        if settlement.state is not State.BOUNCED or settlement.classification.hardness is not Hardness.HARD:
            return settlement
        dns_says = _dns_answer(settlement)
        if dns_says is None and not _said_by_host(settlement):
            return settlement
        entry = self.entry(settlement.claimed, Cause.HARD_BOUNCE, Origin.DELIVERY, str(settlement.reply), now)
        return replace(settlement, suppression=entry, suspicion=dns_says == failures.NO_SUCH_DOMAIN)

    def entry(self, claimed: Claimed, cause: Cause, origin: Origin, detail: str, now: datetime) -> Suppression:
        """Return what puts a delivery's recipient onto its account's list."""
        return Suppression(
            account=claimed.message.account,
            address=claimed.delivery.recipient.mailbox,
            cause=cause,
            origin=origin,
            at=now,
            expires_at=self._expiry.of(cause, now),
            detail=detail[:500],
            delivery_id=claimed.delivery.id,
        )


def _stage(tries: tuple[Try, ...]) -> str | None:
    return tries[-1].stage if tries else None


def _said_by_host(settlement: Settlement) -> bool:
    return bool(settlement.tries) and settlement.tries[-1].remote and settlement.reply.is_permanent


def _dns_answer(settlement: Settlement) -> Reply | None:
    """The final answer of DNS that a settlement rests on, without what was added to its text; None: a host spoke."""
    if settlement.tries:
        return None
    return next((known for known in _OF_DNS if known.status == settlement.reply.status), None)
