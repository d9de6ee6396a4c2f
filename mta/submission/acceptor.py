"""From a received content to a message on stable storage: the one place that may answer 250 to the final dot.

Once the store was asked, the acceptance runs to its end whatever becomes of the client (`smtp.unbroken`).
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from mta.accounts.account import Login
from mta.dkim.body_hash import RelaxedBodyHash
from mta.errors import StoreFull, StoreUnavailable
from mta.events import Event, EventType, Observer
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.envelope import BodyType, Envelope
from mta.mail.header import Header
from mta.mail.ids import IdSource
from mta.mail.intake import MAX_HEADER, Circumstances, Intake, take_in
from mta.mail.reply import Reply, clean
from mta.mail.token import ReturnPaths
from mta.queue.model import Content, Delivery, Dispatchable, Message, NewMessage, State, Stream
from mta.queue.store import Store
from mta.smtp.client import Client
from mta.smtp.data import split_header
from mta.smtp.unbroken import Unbroken
from mta.submission import rules
from mta.submission.gate import Suspended, may_send

_LARGE = 256 * 1024
"""Octets above which a content is read and hashed in a thread: there it takes longer than other clients should wait."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A received message, as it came."""

    login: Login
    envelope: Envelope
    pieces: tuple[bytes, ...]
    """Header, blank line and body, dot-stuffing undone, in pieces of at most `Content.PIECE` octets."""
    client: Client


@dataclass(frozen=True, slots=True)
class AcceptorSettings:
    """What goes into trace fields and return paths."""

    hostname: str
    return_path_domain: Callable[[str], str]
    """From the domain of From to the one where its bounces come back."""
    show_client_address: bool = False


@dataclass(frozen=True, slots=True)
class _Reading:
    """A message as it goes into the queue, before its parts have names."""

    intake: Intake
    stream: Stream
    content: Content
    size: int
    checksum: bytes
    body_hash: bytes
    body_type: BodyType
    smtputf8: bool


class Acceptor:
    """Takes messages in for good."""

    def __init__(
        self,
        settings: AcceptorSettings,
        store: Store,
        dispatchable: Dispatchable,
        observer: Observer,
        ids: IdSource,
        return_paths: ReturnPaths,
    ) -> None:
        self._settings = settings
        self._store = store
        self._dispatchable = dispatchable
        self._observer = observer
        self._ids = ids
        self._return_paths = return_paths
        self._promised = 0
        self.unbroken = Unbroken()
        """The acceptances that have been begun."""

    def replace(self, settings: AcceptorSettings) -> None:
        """Let other settings hold from the next message on."""
        self._settings = settings

    def replace_return_paths(self, return_paths: ReturnPaths) -> None:
        """Make return paths with another keyring from now on; what was accepted keeps its own."""
        self._return_paths = return_paths

    async def accept(self, submission: Submission, suspended: Suspended) -> Reply:
        """Return 250 when the message is on stable storage, else the refusal; then nothing of it is kept."""
        circumstances = self._circumstances(submission)
        if sum(map(len, submission.pieces)) > _LARGE:
            reading = await asyncio.to_thread(_read, submission, circumstances)
        else:
            reading = _read(submission, circumstances)
        if isinstance(reading, Reply):
            return reading
        # MAIL let it begin when another stream was free, or before the account's ratios moved
        if refusal := may_send(submission.login.account.name, reading.stream, suspended):
            return refusal
        new = self._compose(submission, circumstances, reading)
        return await self.unbroken.run(self._commit(new, self._accepted(new)))

    async def _commit(self, new: NewMessage, event: Event) -> Reply:
        # what is under way elsewhere will want its room too
        lease = max(0, min(len(new.deliveries), self._dispatchable.room() - self._promised))
        self._promised += lease
        try:
            accepted = await self._store.accept(new, (event,), lease)
        except StoreFull:
            return failures.NO_SPACE
        except StoreUnavailable:
            return failures.STORE_UNAVAILABLE
        finally:
            self._promised -= lease
        if accepted.leased:
            self._dispatchable.hand_over([replace(one, content=new.content) for one in accepted.leased])
        if len(accepted.leased) < len(new.deliveries):
            self._dispatchable.wake()
        self._observer.observe(event)
        return failures.queued(accepted.queue_id)

    def _circumstances(self, submission: Submission) -> Circumstances:
        recipients, client = submission.envelope.recipients, submission.client
        return Circumstances(
            queue_id=self._ids.next(),
            now=self._store.now(),
            hostname=self._settings.hostname,
            helo=client.name,
            protocol=_protocol(submission),
            recipient=recipients[0].mailbox if len(recipients) == 1 else None,
            client_address=client.address if self._settings.show_client_address else None,
        )

    def _compose(self, submission: Submission, circumstances: Circumstances, reading: _Reading) -> NewMessage:
        envelope, control, client = submission.envelope, reading.intake.control, submission.client
        message = Message(
            id=circumstances.queue_id,
            accepted_at=circumstances.now,
            account=submission.login.account.name,
            stream=reading.stream,
            reverse_path=envelope.reverse_path,
            from_domain=reading.intake.originators[0].domain,
            message_id=reading.intake.message_id,
            size=reading.size,
            checksum=reading.checksum,
            body_hash=reading.body_hash,
            topic=control.topic,
            tag=control.tag,
            metadata=control.metadata,
            body_type=reading.body_type,
            smtputf8=reading.smtputf8,
            ret=envelope.ret,
            envid=envelope.envid,
            expires_at=None if control.expires_in is None else circumstances.now + control.expires_in,
        )
        told = {"protocol": circumstances.protocol, "helo": clean(client.name)}
        if client.tls_version is not None:
            told["tls"] = client.tls_version
            told["tls_cipher"] = client.tls_cipher or ""
        return NewMessage(message, self._deliveries(message, envelope), reading.content, told)

    def _deliveries(self, message: Message, envelope: Envelope) -> tuple[Delivery, ...]:
        deliveries = []
        for recipient in envelope.recipients:
            delivery_id = self._ids.next()
            return_path = None
            if not message.reverse_path.is_null:
                domain = self._settings.return_path_domain(message.from_domain)
                return_path = Mailbox(self._return_paths.make(delivery_id), domain)
            deliveries.append(
                Delivery(delivery_id, message.id, recipient, State.QUEUED, message.accepted_at, return_path)
            )
        return tuple(deliveries)

    def _accepted(self, new: NewMessage) -> Event:
        message = new.message
        return Event(
            id=self._ids.next(),
            at=message.accepted_at,
            type=EventType.ACCEPTED,
            account=message.account,
            stream=message.stream,
            tag=message.tag,
            message_id=message.message_id,
            queue_id=message.id,
            metadata=message.metadata,
            detail={
                "sender": str(message.reverse_path),
                "size": message.size,
                "recipients": len(new.deliveries),
                **new.client,
            },
        )


def _read(submission: Submission, circumstances: Circumstances) -> _Reading | Reply:
    """Everything that depends on the octets, in one pass over them."""
    came = split_header(submission.pieces, MAX_HEADER)
    if isinstance(came, Reply):
        return came
    intake = take_in(Header.parse(came.header), circumstances)
    if isinstance(intake, Reply):
        return intake
    if refusal := rules.may_write_as(submission.login.account, intake):
        return refusal
    stream = rules.stream_of(submission.login, intake.control.stream)
    if isinstance(stream, Reply):
        return stream
    header = bytes(intake.header)
    checksum, body_hash = hashlib.sha256(header + b"\r\n"), RelaxedBodyHash()
    for piece in came.body:
        checksum.update(piece)
        body_hash.update(piece)
    is_ascii = header.isascii() and all(piece.isascii() for piece in came.body)
    return _Reading(
        intake=intake,
        stream=Stream(stream),
        content=Content(header, came.body),
        size=len(header) + 2 + sum(map(len, came.body)),
        checksum=checksum.digest(),
        body_hash=body_hash.digest(),
        # by what the content is, not by what the client said: common clients say nothing, and what needs no extension
        # must not fail at a host without it
        body_type=BodyType.SEVEN_BIT if is_ascii else BodyType.EIGHT_BIT,
        smtputf8=submission.envelope.smtputf8 and not (is_ascii and _plain_addresses(submission.envelope)),
    )


def _plain_addresses(envelope: Envelope) -> bool:
    reverse_path = envelope.reverse_path.mailbox
    return (reverse_path is None or reverse_path.is_ascii) and all(one.mailbox.is_ascii for one in envelope.recipients)


def _protocol(submission: Submission) -> str:
    """The `with` value (RFC 3848, RFC 6531 §4.3): everybody here has logged in."""
    base = "UTF8SMTP" if submission.envelope.smtputf8 else "ESMTP"
    return base + ("SA" if submission.client.tls_version is not None else "A")
