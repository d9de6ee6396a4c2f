"""Between rows and the queue's values. Times are integers of milliseconds in rows and aware datetimes in values."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mta.accounts.allowance import Use
from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.events import Event
from mta.events_json import event_from_json, event_to_text
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from mta.mail.reply import EnhancedStatus, Reply
from mta.queue.model import Claimed, Delivery, Message, Pause, PauseScope, SiteRest, State, Stream
from mta.queue.returned import Filed, ReturnNote
from mta.queue.settle import Settlement
from mta.reputation.rates import Tally
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.views import QueueRow

Params = dict[str, Any]
"""Values of a statement's named parameters."""

MAX_LETTER = 1024 * 1024
"""Octets that are kept of a letter to postmaster or abuse."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """Return a time as milliseconds since 1970, cut off."""
    return (at - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """Return the time that `to_ms` wrote."""
    return _EPOCH + ms * _MILLISECOND


def span_to_ms(span: timedelta) -> int:
    """Return a span in milliseconds, cut off."""
    return span // _MILLISECOND


def _maybe_to_ms(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)


def _maybe_from_ms(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def message_params(message: Message) -> Params:
    """Return the row of a message."""
    return {
        "id": message.id,
        "accepted_at": to_ms(message.accepted_at),
        "account": message.account,
        "stream": message.stream.value,
        "reverse_path": None if message.reverse_path.is_null else str(message.reverse_path),
        "from_domain": message.from_domain,
        "message_id": message.message_id,
        "size": message.size,
        "checksum": message.checksum,
        "body_hash": message.body_hash,
        "topic": message.topic,
        "tag": message.tag,
        "pool": message.pool,
        "metadata": message.metadata,
        "body_type": message.body_type.value,
        "smtputf8": int(message.smtputf8),
        "requiretls": int(message.requiretls),
        "ret": None if message.ret is None else message.ret.value,
        "envid": message.envid,
        "release_at": _maybe_to_ms(message.release_at),
        "expires_at": _maybe_to_ms(message.expires_at),
    }


def message_from(row: sqlite3.Row) -> Message:
    """Read a row of `messages`."""
    return Message(
        id=row["id"],
        accepted_at=from_ms(row["accepted_at"]),
        account=row["account"],
        stream=Stream(row["stream"]),
        reverse_path=ReversePath(None if row["reverse_path"] is None else _mailbox(row["reverse_path"])),
        from_domain=row["from_domain"],
        message_id=row["message_id"],
        size=row["size"],
        checksum=row["checksum"],
        body_hash=row["body_hash"],
        topic=row["topic"],
        tag=row["tag"],
        pool=row["pool"],
        metadata=row["metadata"],
        body_type=BodyType(row["body_type"]),
        smtputf8=bool(row["smtputf8"]),
        requiretls=bool(row["requiretls"]),
        ret=None if row["ret"] is None else Return(row["ret"]),
        envid=row["envid"],
        release_at=_maybe_from_ms(row["release_at"]),
        expires_at=_maybe_from_ms(row["expires_at"]),
    )


def delivery_params(message: Message, delivery: Delivery, now: int) -> Params:
    """Return the row of a new delivery that nobody leases."""
    return {
        "id": delivery.id,
        "queue_id": message.id,
        "account": message.account,
        "stream": message.stream.value,
        "accepted_at": to_ms(message.accepted_at),
        "recipient": str(delivery.recipient.mailbox),
        "domain": delivery.domain,
        "notify": ",".join(sorted(delivery.recipient.notify)),
        "orcpt": delivery.recipient.orcpt,
        "return_path": None if delivery.return_path is None else str(delivery.return_path),
        "state": delivery.state.value,
        "due_at": to_ms(delivery.due_at),
        "release_at": _maybe_to_ms(message.release_at),
        "expires_at": _maybe_to_ms(message.expires_at),
        "attempts": delivery.attempts,
        "pool": message.pool,
        "site": delivery.site,
        "source": delivery.source,
        "owner": None,
        "lease_until": None,
        "hold_reason": delivery.hold_reason,
        "held_since": now if delivery.state is State.HELD else None,
        "held_for": span_to_ms(delivery.held_for),
        "delay_noticed": int(delivery.delay_noticed),
        "final_at": now if delivery.state.is_final else None,
    }


def delivery_from(row: sqlite3.Row) -> Delivery:
    """Read a delivery of the statements `claimed` and `filed`, where the message has the column `id`."""
    notify = frozenset(Notify(word) for word in row["notify"].split(",") if word)
    return Delivery(
        id=row["delivery_id"],
        message_id=row["id"],
        recipient=Recipient(_mailbox(row["recipient"]), notify, row["orcpt"]),
        state=State(row["state"]),
        due_at=from_ms(row["due_at"]),
        return_path=None if row["return_path"] is None else _mailbox(row["return_path"]),
        attempts=row["attempts"],
        site=row["site"],
        source=row["source"],
        hold_reason=row["hold_reason"],
        held_for=row["held_for"] * _MILLISECOND,
        delay_noticed=bool(row["delay_noticed"]),
        last_reply=_reply(row),
        last_host=row["reply_host"],
    )


def claimed_from(row: sqlite3.Row) -> Claimed:
    """Read a row of the statement `claimed`."""
    listed = None
    if row["listed_cause"] is not None:
        listed = Suppression(
            account=row["account"],
            address=_mailbox(row["recipient"]),
            cause=Cause(row["listed_cause"]),
            origin=Origin(row["listed_origin"]),
            at=from_ms(row["listed_at"]),
            expires_at=_maybe_from_ms(row["listed_until"]),
            detail=row["listed_detail"],
            delivery_id=row["listed_for"],
        )
    return Claimed(message_from(row), delivery_from(row), from_ms(row["lease_until"]), suppressed=listed)


def filed_from(row: sqlite3.Row) -> Filed:
    """Read a row of the statement `filed`."""
    return Filed(message_from(row), delivery_from(row))


def settle_params(settlement: Settlement, owner: int, at: int) -> Params:
    """Return what a settlement changes of its delivery's row."""
    state, reply = settlement.state, settlement.reply
    speaker = next((one for one in reversed(settlement.tries) if one.reply == reply and one.remote), None)
    again = at + span_to_ms(settlement.retry_in or timedelta(0)) if state is State.QUEUED else None
    return {
        "id": settlement.claimed.delivery.id,
        "owner": owner,
        "state": state.value,
        "due_at": again,
        "attempted": int(settlement.attempted),
        "site": settlement.site,
        "hold_reason": settlement.hold_reason if state is State.HELD else None,
        "held_since": at if state is State.HELD else None,
        "delay_noticed": int(settlement.delay_noticed or settlement.claimed.delivery.delay_noticed),
        "reply_code": reply.code,
        "reply_status": None if reply.status is None else str(reply.status),
        "reply_text": reply.text,
        "reply_host": None if speaker is None else speaker.host,
        "final_at": at if state.is_final else None,
    }


def suppression_params(entry: Suppression) -> Params:
    """Return the row of an entry of the suppression list."""
    return {
        "account": entry.account,
        "address": str(entry.address),
        "cause": entry.cause.value,
        "origin": entry.origin.value,
        "at": to_ms(entry.at),
        "expires_at": _maybe_to_ms(entry.expires_at),
        "detail": entry.detail,
        "delivery_id": entry.delivery_id,
    }


def suppression_from(row: sqlite3.Row) -> Suppression:
    """Read a row of `suppressions`."""
    return Suppression(
        account=row["account"],
        address=_mailbox(row["address"]),
        cause=Cause(row["cause"]),
        origin=Origin(row["origin"]),
        at=from_ms(row["at"]),
        expires_at=_maybe_from_ms(row["expires_at"]),
        detail=row["detail"],
        delivery_id=row["delivery_id"],
    )


def standing_params(standing: Standing) -> Params:
    """Return the row of a standing."""
    return {
        "account": standing.account,
        "stream": standing.stream,
        "state": standing.state.value,
        "reason": standing.reason,
        "since": _maybe_to_ms(standing.since),
        "epoch": standing.epoch,
        "by": standing.by,
    }


def standing_from(row: sqlite3.Row) -> Standing:
    """Read a row of `standings`."""
    return Standing(
        account=row["account"],
        stream=row["stream"],
        state=StandingState(row["state"]),
        reason=row["reason"],
        since=_maybe_from_ms(row["since"]),
        epoch=row["epoch"],
        by=row["by"],
    )


def slot_from(row: sqlite3.Row) -> tuple[int, Tally]:
    """Read a row of the statement `slots`."""
    return row["slot"], Tally(row["delivered"], row["ended"], row["hard_bounced"], row["complained"])


def use_from(row: sqlite3.Row) -> Use:
    """Read a row of the statement `uses`."""
    return Use(from_ms(row["last_at"]), row["count"])


def return_params(note: ReturnNote) -> Params:
    """Return the row of a note; of a letter, as much as is kept."""
    return {
        "id": note.id,
        "at": to_ms(note.at),
        "kind": note.kind,
        "delivery_id": note.delivery_id,
        "queue_id": note.queue_id,
        "account": note.account,
        "stream": note.stream,
        "recipient": note.recipient,
        "reason": note.reason,
        "hardness": note.hardness,
        "text": note.text,
        "effect": note.effect,
        "octets": None if note.octets is None else note.octets[:MAX_LETTER],
    }


def return_from(row: sqlite3.Row) -> ReturnNote:
    """Read a row of `returns`."""
    return ReturnNote(
        id=row["id"],
        at=from_ms(row["at"]),
        kind=row["kind"],
        delivery_id=row["delivery_id"],
        queue_id=row["queue_id"],
        account=row["account"],
        stream=row["stream"],
        recipient=row["recipient"],
        reason=row["reason"],
        hardness=row["hardness"],
        text=row["text"],
        effect=row["effect"],
        octets=row["octets"],
    )


def pause_params(pause: Pause) -> Params:
    """Return the row of a pause."""
    return {
        "id": pause.id,
        "scope": pause.scope.value,
        "value": pause.value,
        "reason": pause.reason,
        "who": pause.who,
        "at": to_ms(pause.at),
    }


def pause_from(row: sqlite3.Row) -> Pause:
    """Read a row of `pauses`."""
    return Pause(row["id"], PauseScope(row["scope"]), row["value"], row["reason"], row["who"], from_ms(row["at"]))


def rest_params(rest: SiteRest) -> Params:
    """Return the row of a site's rest."""
    return {"site": rest.site, "until": to_ms(rest.until), "failures": rest.failures, "reason": rest.reason}


def rest_from(row: sqlite3.Row) -> SiteRest:
    """Read a row of `site_rests`."""
    return SiteRest(row["site"], from_ms(row["until"]), row["failures"], row["reason"])


def event_params(event: Event) -> Params:
    """Return the row of an event."""
    return {
        "id": event.id,
        "at": to_ms(event.at),
        "type": event.type.value,
        "account": event.account,
        "stream": event.stream,
        "queue_id": event.queue_id,
        "delivery_id": event.delivery_id,
        "recipient": event.recipient,
        "data": event_to_text(event),
    }


def event_from(row: sqlite3.Row) -> Event:
    """Read the `data` of an event."""
    data: Mapping[str, Any] = json.loads(row["data"])
    return event_from_json(data)


def queue_row_from(row: sqlite3.Row) -> QueueRow:
    """Read a row of the view `queue_rows`."""
    return QueueRow(
        id=row["id"],
        queue_id=row["queue_id"],
        account=row["account"],
        stream=Stream(row["stream"]),
        tag=row["tag"],
        message_id=row["message_id"],
        reverse_path=row["reverse_path"] or "",
        size=row["size"],
        accepted_at=from_ms(row["accepted_at"]),
        recipient=row["recipient"],
        domain=row["domain"],
        state=State(row["state"]),
        due_at=from_ms(row["due_at"]),
        attempts=row["attempts"],
        pool=row["pool"],
        site=row["site"],
        source=row["source"],
        owner=row["owner"],
        lease_until=_maybe_from_ms(row["lease_until"]),
        hold_reason=row["hold_reason"],
        held_since=_maybe_from_ms(row["held_since"]),
        held_for=row["held_for"] * _MILLISECOND,
        return_path=row["return_path"],
        reply=_reply(row),
        reply_host=row["reply_host"],
        release_at=_maybe_from_ms(row["release_at"]),
        expires_at=_maybe_from_ms(row["expires_at"]),
        final_at=_maybe_from_ms(row["final_at"]),
        metadata=row["metadata"],
    )


def _reply(row: sqlite3.Row) -> Reply | None:
    if row["reply_code"] is None:
        return None
    status = row["reply_status"]
    return Reply(row["reply_code"], None if status is None else EnhancedStatus.parse(status), row["reply_text"])


def _mailbox(text: str) -> Mailbox:
    # checked before it was stored; a quoted local part may hold an @, a domain never does
    local_part, _, domain = text.rpartition("@")
    if not local_part:
        raise ValueError(f"{text!r} is no mailbox")
    return Mailbox(local_part, domain)
