"""From a received content to a message on stable storage: the one place that may answer 250 to the final dot.

Once the store was asked, the acceptance runs to its end whatever becomes of the client (`smtp.unbroken`).
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from mta.accounts.account import Account, Login
from mta.accounts.allowance import DuplicateKey, Terms
from mta.dkim.body_hash import RelaxedBodyHash
from mta.errors import OverRate, StoreFull, StoreUnavailable, UsedUp
from mta.events import Event, EventType, Observer
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.digest import absorb
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
from mta.submission.groups import groups

_LARGE = 256 * 1024
"""Octets above which a content is read and hashed in a thread: there it takes longer than other clients should wait."""
_LONG_HEADER = 16 * 1024
"""Octets of a header section above which it is taken apart there too: it may have ten thousand fields."""
_LARGE_AT_ONCE = 2
"""Large contents read at the same time: each may hold on to the interpreter while others wait for a reply."""
_NO_GROUPS: Mapping[int, int] = {}


class Submission(Struct, frozen=True):
    """A received message, as it came."""

    login: Login
    envelope: Envelope
    pieces: tuple[bytes, ...]
    """Header, blank line and body, dot-stuffing undone, in pieces of at most `Content.PIECE` octets."""
    client: Client
    authenticated: bool = True
    """Whether the client has proved who it is; else it is trusted because of where it is."""
    extended: bool = True
    """Whether it said EHLO."""


@dataclass(frozen=True, slots=True)
class AcceptorSettings:
    """What goes into trace fields and return paths, and what holds for every account."""

    hostname: str
    return_path_domain: Callable[[str], str]
    """From the domain of From to the one where its bounces come back."""
    show_client_address: bool = False
    duplicate_window: timedelta = timedelta()
    """How long a message that is submitted again is known; 0: not at all."""
    first_time_recipients_per_day: int = 0
    """For accounts that have no limit of their own; 0: no limit."""
    batch_above: int | None = None
    """Octets times recipients of a domain above which these may share transactions; None: they never do."""
    pools: frozenset[str] = frozenset()
    """The pools that mail may be sent from; empty: there are none to choose from, and any name is kept."""


class _Reading(Struct, frozen=True):
    """A message as it goes into the queue, before its parts have names."""

    intake: Intake
    stream: Stream
    content: Content
    size: int
    checksum: bytes
    body_hash: bytes
    body_type: BodyType
    smtputf8: bool
    duplicate: DuplicateKey | None


def _nobody(domain: str, account: str) -> str | None:
    return None


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
        held: Callable[[str, str], str | None] = _nobody,
        batch_relay: Callable[[str, str], str | None] = _nobody,
    ) -> None:
        """`held` returns why mail of an account to a domain is kept; None: it is delivered.

        `batch_relay` returns where an account's mail to a domain goes in batches, when the operator wants that.
        """
        self._held = held
        self._batch_relay = batch_relay
        self._settings = settings
        self._store = store
        self._dispatchable = dispatchable
        self._observer = observer
        self._ids = ids
        self._return_paths = return_paths
        self._promised = 0
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
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
        if _takes_long(submission.pieces):
            async with self._large:
                reading = await asyncio.to_thread(_read, submission, circumstances, self._settings)
        else:
            reading = _read(submission, circumstances, self._settings)
        if isinstance(reading, Reply):
            return reading
        # MAIL let it begin when another stream was free, or before the account's ratios moved
        if refusal := may_send(submission.login.account.name, reading.stream, suspended):
            return refusal
        new = self._compose(submission, circumstances, reading)
        return await self.unbroken.run(self._commit(new, self._events(new), submission.login.account))

    def now(self) -> datetime:
        """Return the time by which messages are accepted and released."""
        return self._store.now()

    async def _commit(self, new: NewMessage, events: tuple[Event, ...], account: Account) -> Reply:
        due = [one.domain for one in new.deliveries if one.state is State.QUEUED]
        lease = 0
        if due and new.message.release_at is None:
            # what is under way elsewhere will want its room too
            lease = self._dispatchable.places(new.message, due, self._promised)
        self._promised += lease
        try:
            accepted = await self._store.accept(new, events, lease)
        except UsedUp as error:
            # when there is room for what is sent later says nothing of when to submit it
            again = error.again if new.message.release_at is None else None
            return self._used_up(account, error, rules.after(again))
        except StoreFull:
            return failures.NO_SPACE
        except StoreUnavailable:
            return failures.STORE_UNAVAILABLE
        finally:
            self._promised -= lease
        if accepted.leased:
            # a large one is read from the store when its turn comes: many of them may be waiting for a place
            at_hand = new.content if new.message.size <= _LARGE else None
            self._dispatchable.hand_over([replace(one, content=at_hand) for one in accepted.leased])
        if len(accepted.leased) < len(due):
            self._dispatchable.wake(new.message)
        for written in accepted.events:
            self._observer.observe(written)
        return failures.queued(accepted.queue_id)

    def _used_up(self, account: Account, error: UsedUp, when: str) -> Reply:
        if isinstance(error, OverRate) and account.rate is not None:
            return failures.over_rate(account.name, rules.in_words(account.rate), when)
        return failures.first_time_used_up(account.name, self._first_time(account), when)

    def _first_time(self, account: Account) -> int:
        own = account.first_time_recipients_per_day
        return self._settings.first_time_recipients_per_day if own is None else own

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
        account, now = submission.login.account, circumstances.now
        # the time may have come while the content did
        release_at = envelope.release_at if envelope.release_at is not None and envelope.release_at > now else None
        message = Message(
            id=circumstances.queue_id,
            accepted_at=now,
            account=account.name,
            stream=reading.stream,
            reverse_path=envelope.reverse_path,
            from_domain=reading.intake.originators[0].domain,
            message_id=reading.intake.message_id,
            size=reading.size,
            checksum=reading.checksum,
            body_hash=reading.body_hash,
            topic=control.topic,
            tag=control.tag,
            pool=control.pool or account.pool,
            metadata=control.metadata,
            body_type=reading.body_type,
            smtputf8=reading.smtputf8,
            requiretls=envelope.requiretls,
            ret=envelope.ret,
            envid=envelope.envid,
            release_at=release_at,
            expires_at=None if control.expires_in is None else (release_at or now) + control.expires_in,
        )
        terms = Terms(account.rate, self._first_time(account), reading.duplicate)
        told = {"protocol": circumstances.protocol, "helo": clean(client.name)}
        if client.tls_version is not None:
            told["tls"] = client.tls_version
            told["tls_cipher"] = client.tls_cipher or ""
        return NewMessage(message, self._deliveries(message, envelope), reading.content, told, terms)

    def _deliveries(self, message: Message, envelope: Envelope) -> tuple[Delivery, ...]:
        deliveries = []
        shared = self._groups(message, envelope) if len(envelope.recipients) > 1 else _NO_GROUPS
        for place, recipient in enumerate(envelope.recipients):
            delivery_id = self._ids.next()
            return_path = None
            if not message.reverse_path.is_null:
                domain = self._settings.return_path_domain(message.from_domain)
                group = shared.get(place)
                paths = self._return_paths
                local_part = paths.make(delivery_id) if group is None else paths.make_shared(message.id, group)
                return_path = Mailbox(local_part, domain)
            due_at = message.release_at or message.accepted_at
            # at once, so that it costs no lease, no attempt and no second commit
            kept = self._held(recipient.mailbox.domain, message.account)
            state = State.QUEUED if kept is None else State.HELD
            deliveries.append(
                Delivery(delivery_id, message.id, recipient, state, due_at, return_path, hold_reason=kept)
            )
        return tuple(deliveries)

    def _groups(self, message: Message, envelope: Envelope) -> Mapping[int, int]:
        above = self._settings.batch_above
        if above is None or message.stream is not Stream.TRANSACTIONAL:
            return _NO_GROUPS
        return groups(
            envelope.recipients, message.size, above, lambda domain: self._batch_relay(domain, message.account)
        )

    def _events(self, new: NewMessage) -> tuple[Event, ...]:
        kept = (one for one in new.deliveries if one.state is State.HELD and one.hold_reason is not None)
        return (self._accepted(new), *(self._holding(new.message, one, one.hold_reason or "") for one in kept))

    def _holding(self, message: Message, delivery: Delivery, reason: str) -> Event:
        return Event(
            id=self._ids.next(),
            at=message.accepted_at,
            type=EventType.HELD,
            account=message.account,
            stream=message.stream,
            tag=message.tag,
            message_id=message.message_id,
            queue_id=message.id,
            delivery_id=delivery.id,
            recipient=str(delivery.recipient.mailbox),
            reply=Reply.of(450, "4.7.0", reason),
            metadata=message.metadata,
            detail={"accepted_at": message.accepted_at.isoformat(), "reason": reason},
        )

    def _accepted(self, new: NewMessage) -> Event:
        message = new.message
        release = {"release_at": message.release_at.isoformat()} if message.release_at is not None else {}
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
                **release,
                **new.client,
            },
        )


def _takes_long(pieces: tuple[bytes, ...]) -> bool:
    """Whether a content is so large, or has so long a header, that it is not read between two replies."""
    size = sum(map(len, pieces))
    return size > _LARGE or (size > _LONG_HEADER and pieces[0].find(b"\r\n\r\n", 0, _LONG_HEADER) < 0)


def _read(submission: Submission, circumstances: Circumstances, settings: AcceptorSettings) -> _Reading | Reply:
    """Everything that depends on the octets, in one pass over them."""
    came = split_header(submission.pieces, MAX_HEADER)
    if isinstance(came, Reply):
        return came
    as_it_came = Header.parse(came.header)
    intake = take_in(as_it_came, circumstances)
    if isinstance(intake, Reply):
        return intake
    if refusal := (
        rules.may_write_as(submission.login.account, intake)
        or rules.may_use_pool(intake.control.pool, settings.pools)
        or rules.may_track(submission.login.account, intake.control.track)
    ):
        return refusal
    stream = rules.stream_of(submission.login, intake.control.stream)
    if isinstance(stream, Reply):
        return stream
    header = bytes(intake.header)
    checksum, body_hash = hashlib.sha256(header + b"\r\n"), RelaxedBodyHash()
    for piece in came.body:
        absorb(checksum, piece)
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
        duplicate=_duplicate_key(submission, as_it_came, intake, settings.duplicate_window),
    )


def _duplicate_key(
    submission: Submission, as_it_came: Header, intake: Intake, window: timedelta
) -> DuplicateKey | None:
    """By what the message is known when it is submitted again; None: it is not, for it has no name of the client's."""
    name = as_it_came.first("message-id") if window else None
    if name is None or not name.value:
        return None
    account, reverse_path = submission.login.account, submission.envelope.reverse_path
    return DuplicateKey.of(account.name, reverse_path, intake.message_id, submission.pieces, window)


def _plain_addresses(envelope: Envelope) -> bool:
    reverse_path = envelope.reverse_path.mailbox
    return (reverse_path is None or reverse_path.is_ascii) and all(one.mailbox.is_ascii for one in envelope.recipients)


def _protocol(submission: Submission) -> str:
    """The `with` value (RFC 3848, RFC 6531 §4.3). After HELO there is one alone, with TLS or without."""
    if not submission.extended:
        return "SMTP"
    base = "UTF8SMTP" if submission.envelope.smtputf8 else "ESMTP"
    secured = "S" if submission.client.tls_version is not None else ""
    return base + secured + ("A" if submission.authenticated else "")
