"""Messages for tests, complete enough for every store and transport."""

import hashlib
import random
from collections.abc import Iterable
from datetime import datetime

from mta.clock import Clock
from mta.dkim.body_hash import RelaxedBodyHash
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import Recipient
from mta.mail.ids import IdSource
from mta.queue.model import Content, Delivery, Message, NewMessage, State, Stream

HEADER = b"From: app@example.com\r\nTo: a@example.net\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n"
BODY = b"Good morning.\r\n"


class Letters:
    """Writes messages with identifiers of its own."""

    def __init__(self, clock: Clock, worker: int = 9) -> None:
        self._clock = clock
        self.ids = IdSource(clock, worker, random.Random(1))

    def new(
        self,
        recipients: Iterable[str] = ("a@example.net",),
        *,
        sender: str = "app@example.com",
        from_domain: str | None = None,
        body: bytes = BODY,
        account: str = "app",
        stream: Stream = Stream.TRANSACTIONAL,
        expires_at: datetime | None = None,
        shared: str | None = None,
    ) -> NewMessage:
        """Return a message on its way into the store; an empty sender is the null reverse-path.

        `shared` is the local part of a return path that all its deliveries have.

        Mail from there is a notification of our own unless another domain of its From is given.
        """
        now, queue_id = self._clock.now(), self.ids.next()
        body_hash = RelaxedBodyHash()
        body_hash.update(body)
        message = Message(
            id=queue_id,
            accepted_at=now,
            account=account,
            stream=stream,
            reverse_path=ReversePath(Mailbox.parse(sender) if sender else None),
            from_domain=from_domain or ("example.com" if sender else "mail.example.com"),
            message_id="<1@example.com>",
            size=len(HEADER) + 2 + len(body),
            checksum=hashlib.sha256(HEADER + b"\r\n" + body).digest(),
            body_hash=body_hash.digest(),
            expires_at=expires_at,
        )
        return NewMessage(
            message,
            tuple(self._delivery(queue_id, each, shared, bounces=bool(sender)) for each in recipients),
            Content(HEADER, (body,)),
        )

    def _delivery(self, queue_id: str, address: str, shared: str | None, *, bounces: bool) -> Delivery:
        own = self.ids.next()
        return_path = Mailbox(shared or f"b{own}", "bounces.example.com") if bounces else None
        return Delivery(own, queue_id, Recipient(Mailbox.parse(address)), State.QUEUED, self._clock.now(), return_path)
