"""What follows from a report that is proved: the queue's half of the way back (`bounces.processor` reads, this acts).

A late bounce moves its delivery from `delivered` to `bounced`, tells the submitter, and suppresses the recipient when
the address is to blame; a complaint suppresses and is counted. Each counts once.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from msgspec.structs import replace

from mta.bounces.processor import Effect
from mta.bounces.report import UNKNOWN, Action, Hardness, Report, ReportedRecipient
from mta.errors import MtaError
from mta.events import Event, EventType, Observer
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify
from mta.mail.reply import EnhancedStatus, Reply, clean
from mta.mail.report_token import ReportClaim
from mta.mail.token import GroupPath
from mta.queue.model import Claimed, Content, Dispatchable, State
from mta.queue.records import Records, suppression_detail
from mta.queue.returned import Complaint, Filed, ReturnNote
from mta.queue.settle import Notice, Settlement
from mta.queue.store import Store
from mta.queue.verdict import Verdicts
from mta.reputation.suppression import Cause, Origin, Suppression

_log = logging.getLogger(__name__)

_MAX_TEXT = 1000
_CODES = re.compile(r"[245][0-9]{2}[ -](?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?")
"""What a diagnostic begins with, and a reply has of its own."""
_LOOKS = 10
_LOOK_AGAIN = timedelta(milliseconds=200)


class Returns:
    """Writes down what reports prove. One for each worker."""

    def __init__(
        self,
        store: Store,
        records: Records,
        verdicts: Verdicts,
        observers: Sequence[Observer],
        dispatchable: Dispatchable,
        look_again: timedelta = _LOOK_AGAIN,
    ) -> None:
        self._store = store
        self._records = records
        self._verdicts = verdicts
        self._observers = observers
        self._dispatchable = dispatchable
        self._look_again = look_again

    async def failed(self, delivery_id: str, recipient: ReportedRecipient, report: Report) -> Effect:
        """Let a delivery bounce late.

        Raises:
            StoreUnavailable: nothing was written.
        """
        filed = await self._settled(delivery_id)
        if filed is None:
            await self._note(delivery_id, None, report, recipient, Effect.UNKNOWN)
            return Effect.UNKNOWN
        settlement = self._late(filed, recipient)
        # its own octets may be gone; what came back with the report is good enough to tell which message it was
        written = await self._store.settle_late(self._records.of(settlement, Content(bytes(report.returned), ())))
        effect = Effect.REPEATED if written is None else Effect.APPLIED
        await self._note(delivery_id, filed, report, recipient, effect)
        self._announce(written or ())
        if written is not None and settlement.notice is not None:
            self._dispatchable.wake()
        return effect

    async def named(self, path: GroupPath, addresses: Collection[str]) -> Mapping[str, str]:
        """Return the deliveries with a shared return path that addresses name, by address. Hosts change the case of
        local parts; what then fits two recipients names neither.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        members = await self._store.members(path, addresses) if addresses else ()
        exact = {one.recipient: one.delivery_id for one in members}
        found: dict[str, str] = {}
        for address in addresses:
            alike = {one.recipient for one in members if one.recipient.lower() == address.lower()}
            name = _mailbox_of(address) if _mailbox_of(address) in exact else alike.pop() if len(alike) == 1 else None
            if name is not None:
                found[address] = exact[name]
        return found

    async def complained(self, delivery_id: str, claim: ReportClaim | None, report: Report) -> Effect:
        """Count a complaint and suppress whose it is.

        Raises:
            StoreUnavailable: nothing was written.
        """
        filed = await self._settled(delivery_id)
        if filed is None and claim is None:
            await self._note(delivery_id, None, report, None, Effect.UNKNOWN)
            return Effect.UNKNOWN
        complaint = self._complaint(delivery_id, filed, claim, report)
        written = await self._store.complain(complaint)
        effect = Effect.REPEATED if written is None else Effect.APPLIED
        await self._note(delivery_id, filed, report, None, effect)
        self._announce(written or ())
        return effect

    async def noted(self, delivery_id: str | None, report: Report, effect: Effect) -> None:
        """Keep a note of a report that changes nothing.

        Raises:
            StoreUnavailable: nothing was written.
        """
        filed = await self._store.file(delivery_id) if delivery_id is not None else None
        await self._note(delivery_id, filed, report, next(iter(report.recipients), None), effect)

    async def keep(self, letter: ReturnNote) -> None:
        """Keep a letter to postmaster or abuse.

        Raises:
            StoreUnavailable: nothing was written.
        """
        await self._store.note(letter)

    def new_id(self) -> str:
        """Return an identifier for a letter."""
        return self._records.new_id()

    async def _settled(self, delivery_id: str) -> Filed | None:
        """Return a delivery once its attempt is written down: a quick report overtakes the commit of `delivered`."""
        for _ in range(_LOOKS):
            filed = await self._store.file(delivery_id)
            if filed is None or filed.delivery.state is not State.ACTIVE:
                break
            await asyncio.sleep(self._look_again.total_seconds())
        return filed

    def _late(self, filed: Filed, recipient: ReportedRecipient) -> Settlement:
        now = self._store.now()
        claimed = Claimed(filed.message, filed.delivery, now)
        reply = _reply(recipient)
        notice = None
        if not filed.message.reverse_path.is_null and Notify.FAILURE in filed.delivery.recipient.notify:
            # a report that names no host comes from the one that had taken the message
            notice = Notice(claimed, State.BOUNCED, reply, recipient.remote_mta or filed.delivery.last_host)
        settlement = Settlement(
            claimed,
            State.BOUNCED,
            reply,
            EventType.BOUNCED,
            attempted=False,
            notice=notice,
            classification=recipient.classification,
            late="report",
        )
        if not _suppresses(recipient) or self._records.is_notification(filed.message):
            return settlement
        entry = self._verdicts.entry(claimed, Cause.HARD_BOUNCE, Origin.REPORT, str(reply), now)
        return replace(settlement, suppression=entry)

    def _complaint(self, delivery_id: str, filed: Filed | None, claim: ReportClaim | None, report: Report) -> Complaint:
        now, event_id = self._store.now(), self._records.new_id()
        detail = {"feedback_type": clean(report.reason or "abuse")[:100]}
        if report.feedback is not None and report.feedback.user_agent:
            detail["user_agent"] = clean(report.feedback.user_agent)[:200]
        if filed is not None:
            message, recipient = filed.message, filed.delivery.recipient.mailbox
            account, stream, tag, header_id = message.account, message.stream.value, message.tag, message.message_id
        else:
            assert claim is not None  # noqa: S101  one of the two is there, see `complained`
            account, stream, tag, header_id = claim.account, claim.stream, None, None
            local_part, _, domain = claim.recipient.rpartition("@")
            recipient = Mailbox(local_part, domain)
        event = Event(
            id=event_id,
            at=now,
            type=EventType.COMPLAINED,
            account=account,
            stream=stream,
            tag=tag,
            message_id=header_id,
            queue_id=filed.message.id if filed is not None else None,
            delivery_id=delivery_id,
            recipient=str(recipient),
            metadata=filed.message.metadata if filed is not None else None,
            detail=detail,
        )
        entry = Suppression(
            account=account,
            address=recipient,
            cause=Cause.COMPLAINT,
            origin=Origin.FEEDBACK,
            at=now,
            expires_at=self._verdicts.expires(Cause.COMPLAINT, now),
            detail=detail["feedback_type"],
            delivery_id=delivery_id,
        )
        on_list = replace(
            event, id=self._records.new_id(), type=EventType.SUPPRESSION_ADDED, detail=suppression_detail(entry)
        )
        return Complaint(delivery_id, event, entry, on_list)

    async def _note(
        self,
        delivery_id: str | None,
        filed: Filed | None,
        report: Report,
        recipient: ReportedRecipient | None,
        effect: Effect,
    ) -> None:
        """Keep a note beside what was done. It is not worth an answer of 451: the report itself was written."""
        classification = recipient.classification if recipient is not None else UNKNOWN
        note = ReturnNote(
            id=self._records.new_id(),
            at=self._store.now(),
            kind=report.kind.value,
            delivery_id=delivery_id,
            queue_id=filed.message.id if filed is not None else None,
            account=filed.message.account if filed is not None else None,
            stream=filed.message.stream.value if filed is not None else None,
            recipient=str(filed.delivery.recipient.mailbox) if filed is not None else None,
            reason=classification.reason or report.reason,
            hardness=classification.hardness,
            text=clean(recipient.diagnostic if recipient is not None else report.note or "")[:_MAX_TEXT],
            effect=effect.value,
        )
        try:
            await self._store.note(note)
        except MtaError as trouble:
            _log.warning("a report about %s was not noted: %s", delivery_id, trouble)

    def _announce(self, events: Sequence[Event]) -> None:
        for event in events:
            for observer in self._observers:
                observer.observe(event)


def _mailbox_of(address: str) -> str:
    local_part, _, domain = address.rpartition("@")
    return f"{local_part}@{domain.lower()}"


def _suppresses(recipient: ReportedRecipient) -> bool:
    """Whether a failure is the address's own and for good: hard, Action failed, and a 5.x.x."""
    permanent = recipient.status.klass == 5 if recipient.status is not None else (recipient.smtp_code or 0) >= 500
    failed = recipient.action is Action.FAILED
    return failed and permanent and recipient.classification.hardness is Hardness.HARD


def _reply(recipient: ReportedRecipient) -> Reply:
    """Return what the report quotes as a reply of the host that gave up."""
    status = recipient.status
    likely = 450 if status is not None and status.klass == 4 else 550
    code = recipient.smtp_code if recipient.smtp_code and 400 <= recipient.smtp_code <= 599 else likely
    fitting = status if status is not None and status.klass == code // 100 else EnhancedStatus(code // 100, 0, 0)
    text = _text(recipient.diagnostic)[:_MAX_TEXT] or "The receiving server reported a failure after it had accepted"
    return Reply(code, fitting, text)


def _text(diagnostic: str) -> str:
    text = clean(diagnostic)
    codes = _CODES.match(text)
    return text[codes.end() :] if codes else text
