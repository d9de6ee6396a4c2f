"""Mail that the server writes on nobody's behalf, on its way into the queue: reports about TLS."""

import hashlib
from datetime import datetime

from mta.delivery.tls_report_mail import ReportMail
from mta.dkim.body_hash import RelaxedBodyHash
from mta.events import Event, EventType, Observer
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import Notify, Recipient
from mta.mail.ids import IdSource
from mta.queue.model import Content, Delivery, Message, NewMessage, State, Stream
from mta.queue.records import OURS
from mta.queue.store import Store


class OwnMail:
    """Queues it: from the null reverse-path, so that nothing comes back, and in no account's ratios."""

    def __init__(self, store: Store, ids: IdSource, domain: str, observer: Observer) -> None:
        """`domain` is that of its From, which signs it."""
        self._store = store
        self._ids = ids
        self._domain = domain
        self._observer = observer

    async def report(self, mail: ReportMail, to: tuple[Mailbox, ...]) -> None:
        """Queue a report about TLS (RFC 8460 §3); return when it is on stable storage.

        Raises:
            StoreUnavailable: it was not queued.
        """
        now = self._store.now()
        message = self._message(mail, now)
        deliveries = tuple(
            Delivery(
                self._ids.next(),
                message.id,
                Recipient(one, notify=frozenset({Notify.NEVER})),
                State.QUEUED,
                now,
                return_path=None,
            )
            for one in to
        )
        event = Event(
            id=self._ids.next(),
            at=now,
            type=EventType.ACCEPTED,
            account=message.account,
            stream=message.stream,
            message_id=message.message_id,
            queue_id=message.id,
            detail={"sender": "", "size": message.size, "recipients": len(to), "notification": True},
        )
        accepted = await self._store.accept(
            NewMessage(message, deliveries, Content(mail.header, (mail.body,))), (event,)
        )
        for written in accepted.events:
            self._observer.observe(written)

    def _message(self, mail: ReportMail, now: datetime) -> Message:
        body_hash = RelaxedBodyHash()
        body_hash.update(mail.body)
        return Message(
            id=self._ids.next(),
            accepted_at=now,
            account=OURS,
            stream=Stream.TRANSACTIONAL,
            reverse_path=ReversePath(None),
            from_domain=self._domain,
            message_id=mail.message_id,
            size=len(mail.header) + 2 + len(mail.body),
            checksum=hashlib.sha256(mail.header + b"\r\n" + mail.body).digest(),
            body_hash=body_hash.digest(),
        )
