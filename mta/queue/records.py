"""The facts of a settlement as events, and its DSN as a message of our own (RFC 3464)."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from mta.bounces.dsn import DsnFacts, DsnMessage, compose
from mta.dkim.body_hash import RelaxedBodyHash
from mta.events import Event, EventType
from mta.mail.address import ReversePath
from mta.mail.envelope import Notify, Recipient, Return
from mta.mail.ids import IdSource
from mta.queue.breaker import Opened
from mta.queue.model import Content, Delivery, Message, NewMessage, State, Stream
from mta.queue.settle import Notice, Settled, Settlement
from mta.reputation.suppression import Suppression

OURS = ""
"""The account of what we write on nobody's behalf."""

Detail = dict[str, str | int | float | bool | None]


class Records:
    """Gives settlements their names, times and messages. One for each worker."""

    def __init__(self, hostname: str, ids: IdSource, now: Callable[[], datetime]) -> None:
        self._hostname = hostname
        self._ids = ids
        self._now = now

    def of(self, settlement: Settlement, original: Content | None) -> Settled:
        """Return what is to be written: the event of the settlement and, where a notice is due, its DSN.

        `original` is the message's content, looked at only when a notice is due; None when it cannot be had.
        """
        event = self._event(settlement)
        on_list = self._on_list(event, settlement)
        events = [event]
        if settlement.opened is not None:
            events.append(self._breaker_open(event, settlement.opened))
        if settlement.notice is None:
            return Settled(settlement, tuple(events), on_suppressing=on_list)
        dsn = self._dsn(settlement.notice, original)
        if settlement.event is EventType.DELAYED_NOTICE:
            # nothing was attempted, and nothing else happened
            events = [replace(event, detail={**event.detail, "dsn": dsn.message.id})]
        elif settlement.state is State.QUEUED:
            events.append(self._beside(event, EventType.DELAYED_NOTICE, {"dsn": dsn.message.id}))
        return Settled(settlement, (*events, self._accepted_dsn(dsn, event)), dsn, on_list)

    def is_notification(self, message: Message) -> bool:
        """Return whether a message is one that we wrote ourselves: it is in nobody's ratios, nor ever held."""
        return message.reverse_path.is_null and (message.from_domain == self._hostname or message.account == OURS)

    def new_id(self) -> str:
        """Return an identifier for something written beside the queue."""
        return self._ids.next()

    def _on_list(self, event: Event, settlement: Settlement) -> Event | None:
        entry = settlement.suppression
        if entry is None or settlement.withheld:
            return None
        return self._beside(event, EventType.SUPPRESSION_ADDED, suppression_detail(entry))

    def _event(self, settlement: Settlement) -> Event:
        message, delivery = settlement.claimed.message, settlement.claimed.delivery
        detail: Detail = {"accepted_at": message.accepted_at.isoformat()}
        if settlement.retry_in is not None:
            detail["retry_in"] = round(settlement.retry_in.total_seconds(), 3)
        if settlement.hold_reason is not None:
            detail["reason"] = settlement.hold_reason
        if settlement.in_doubt:
            detail["in_doubt"] = True
        if settlement.withheld:
            # it counts in nobody's ratio (`reputation.rates`), and suppresses nobody, until it is believed
            detail["breaker"] = True
        if settlement.late is not None:
            detail["late"] = settlement.late
        if self.is_notification(message):
            # notifications of ours are in nobody's ratios; a client's own mail from the null reverse-path is in its
            detail["notification"] = True
        return Event(
            id=self._ids.next(),
            at=self._now(),
            type=settlement.event,
            account=message.account,
            stream=message.stream,
            tag=message.tag,
            message_id=message.message_id,
            queue_id=message.id,
            delivery_id=delivery.id,
            recipient=str(delivery.recipient.mailbox),
            site=settlement.site or delivery.site,
            source=delivery.source,
            attempt=delivery.attempts + 1 if settlement.attempted else None,
            reply=settlement.reply,
            klass=settlement.classification.reason,
            hardness=settlement.classification.hardness,
            tries=settlement.tries,
            duration=settlement.duration,
            metadata=message.metadata,
            detail=detail,
        )

    def _breaker_open(self, event: Event, opened: Opened) -> Event:
        detail: Detail = {
            "site": opened.site,
            "hard_bounces": opened.hard,
            "results": opened.results,
            "delivered_lately": opened.known,
            "accounts": opened.accounts,
            "usual_ratio": opened.usual,
        }
        # it is the site's, whoever's bounce was the last drop
        return Event(id=self._ids.next(), at=event.at, type=EventType.BREAKER_OPEN, site=opened.site, detail=detail)

    def _beside(self, event: Event, kind: EventType, detail: Detail) -> Event:
        return Event(
            id=self._ids.next(),
            at=event.at,
            type=kind,
            account=event.account,
            stream=event.stream,
            tag=event.tag,
            message_id=event.message_id,
            queue_id=event.queue_id,
            delivery_id=event.delivery_id,
            recipient=event.recipient,
            metadata=event.metadata,
            detail=detail,
        )

    def _accepted_dsn(self, dsn: NewMessage, cause: Event) -> Event:
        return Event(
            id=self._ids.next(),
            at=cause.at,
            type=EventType.ACCEPTED,
            account=dsn.message.account,
            stream=dsn.message.stream,
            message_id=dsn.message.message_id,
            queue_id=dsn.message.id,
            detail={"size": dsn.message.size, "recipients": 1, "dsn_for": cause.queue_id, "sender": ""},
        )

    def _dsn(self, notice: Notice, original: Content | None) -> NewMessage:
        now = self._now()
        queue_id = self._ids.next()
        composed = compose(self._facts(notice, original, queue_id), now)
        return self._as_new(composed, notice.claimed.message, queue_id, now)

    def _facts(self, notice: Notice, original: Content | None, queue_id: str) -> DsnFacts:
        message, delivery = notice.claimed.message, notice.claimed.delivery
        assert message.reverse_path.mailbox is not None  # noqa: S101  settle makes no notice for the null reverse-path
        return DsnFacts(
            hostname=self._hostname,
            dsn_id=queue_id,
            reverse_path=message.reverse_path.mailbox,
            recipient=delivery.recipient,
            delayed=notice.state is State.QUEUED,
            relayed=notice.state is State.DELIVERED,
            expired=notice.state is State.EXPIRED,
            reply=notice.reply,
            remote_mta=notice.remote_mta,
            arrived_at=message.accepted_at,
            attempted_at=self._now(),
            will_retry_until=notice.will_retry_until,
            envid=message.envid,
            original_header=original.header if original else b"",
            # a report brings the header back without the body, which is not the whole message
            original_body=original.body if original and original.body else None,
            # whether a notification's own way is as safe, nobody knows (RFC 8689 §5)
            ret=Return.HEADERS if message.requiretls else message.ret,
            smtputf8=message.smtputf8,
        )

    def _as_new(self, composed: DsnMessage, about: Message, queue_id: str, now: datetime) -> NewMessage:
        assert about.reverse_path.mailbox is not None  # noqa: S101  see _facts
        body_hash = RelaxedBodyHash()
        body_hash.update(composed.body)
        message = Message(
            id=queue_id,
            accepted_at=now,
            account=about.account,
            stream=Stream.TRANSACTIONAL,
            reverse_path=ReversePath(None),
            from_domain=self._hostname,
            message_id=composed.message_id,
            size=len(composed.header) + 2 + len(composed.body),
            checksum=hashlib.sha256(composed.header + b"\r\n" + composed.body).digest(),
            body_hash=body_hash.digest(),
            body_type=composed.body_type,
            smtputf8=composed.smtputf8,
        )
        recipient = Recipient(about.reverse_path.mailbox, notify=frozenset({Notify.NEVER}))
        delivery = Delivery(self._ids.next(), queue_id, recipient, State.QUEUED, now, return_path=None)
        return NewMessage(message, (delivery,), Content(composed.header, (composed.body,)))


def suppression_detail(entry: Suppression) -> Detail:
    """Return what an event tells of an entry of the suppression list."""
    return {
        "cause": entry.cause.value,
        "origin": entry.origin.value,
        "expires_at": entry.expires_at.isoformat() if entry.expires_at else None,
        "reason": entry.detail,
    }
