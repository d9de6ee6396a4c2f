"""What one attempt means for one delivery. A function, so that it is tested as a table; the store makes it so."""

import random
from datetime import datetime, timedelta

from msgspec import Struct

from mta.bounces.report import UNKNOWN, Classification
from mta.events import Event, EventType
from mta.mail import failures
from mta.mail.envelope import Notify
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, Try
from mta.mail.reply import Reply
from mta.queue.breaker import Opened
from mta.queue.hints import Hint
from mta.queue.model import Claimed, NewMessage, State
from mta.queue.schedule import Schedule
from mta.queue.sites import Said
from mta.reputation.suppression import Suppression


class Notice(Struct, frozen=True):
    """A DSN that is due to the submitter."""

    claimed: Claimed
    state: State
    """`bounced`, `expired`, `queued` for a delay, `delivered` for a message handed to a host that will not notify."""
    reply: Reply
    remote_mta: str | None
    """The host that said so; None when it was ourselves."""
    will_retry_until: datetime | None = None


class Settlement(Struct, frozen=True):
    """A decision about one leased delivery, to be written in one transaction."""

    claimed: Claimed
    state: State
    reply: Reply
    event: EventType
    attempted: bool = True
    tries: tuple[Try, ...] = ()
    retry_in: timedelta | None = None
    hold_reason: str | None = None
    notice: Notice | None = None
    delay_noticed: bool = False
    duration: timedelta = timedelta(0)
    site: str | None = None
    in_doubt: bool = False
    classification: Classification = UNKNOWN
    """What the reply means for the address."""
    suppression: Suppression | None = None
    """The recipient comes onto the list."""
    suspicion: bool = False
    """It comes onto it only if the same was seen at least a day ago: a domain may be gone for an hour."""
    withheld: bool = False
    """The breaker of its site is open: what it would do to the list and to the ratios is kept for later."""
    opened: Opened | None = None
    """This result opened the breaker."""
    late: str | None = None
    """What told of it, when that came after the delivery: `report`."""


class Settled(Struct, frozen=True):
    """What a settlement becomes when its facts have names: the rows' changes, the events, and the DSN if one is due."""

    settlement: Settlement
    events: tuple[Event, ...]
    dsn: NewMessage | None = None
    on_suppressing: Event | None = None
    """Written only if the suppression is new."""


def settle(
    claimed: Claimed,
    outcome: Outcome,
    schedule: Schedule,
    now: datetime,
    dice: random.Random,
    hint: Hint | None = None,
) -> Settlement:
    """Decide what one attempt means for one delivery. `hint` is when the host wants to see it again, if it said so.

    A deferred delivery expires once the schedule gives up (RFC 5321 §4.5.4.1). Nobody is told of mail from the null
    reverse-path (RFC 5321 §4.5.5), nor against the client's NOTIFY (RFC 3461 §4.1).
    """
    match outcome:
        case Delivered(reply, tries, will_notify):
            # who asked to hear of a success hears at least how far we saw the message go (RFC 3461 §5.2.2)
            relayed = None if will_notify else _notice(claimed, Notify.SUCCESS, State.DELIVERED, reply, tries)
            return Settlement(claimed, State.DELIVERED, reply, EventType.DELIVERED, tries=tries, notice=relayed)
        case Bounced(reply, tries):
            notice = _notice(claimed, Notify.FAILURE, State.BOUNCED, reply, tries)
            return Settlement(claimed, State.BOUNCED, reply, EventType.BOUNCED, tries=tries, notice=notice)
        case Deferred():
            wait = schedule.next_attempt(claimed.message, claimed.delivery, now, dice, hint)
            return _deferred(claimed, outcome, wait, schedule, now)


def expired(claimed: Claimed, said: Said | None = None) -> Settlement:
    """Give up a delivery whose time is over, for the reason that was heard last: by others at its site, when that rests
    and it was not attempted any more, or else by itself."""
    said = said or _last_said(claimed) or Said(failures.EXPIRED_WAITING)
    notice = None
    if _wants(claimed, Notify.FAILURE):
        notice = Notice(claimed, State.EXPIRED, said.reply, said.host)
    return Settlement(claimed, State.EXPIRED, said.reply, EventType.EXPIRED, attempted=False, notice=notice)


def delayed(claimed: Claimed, schedule: Schedule, now: datetime, said: Said | None = None) -> Settlement | None:
    """Tell the submitter of a delivery that waits and has become late, without attempting it. `said` is what was heard
    last at its site, when that rests. None: it is not late, or nobody is to be told, or was told already."""
    message, delivery = claimed.message, claimed.delivery
    if delivery.delay_noticed or not schedule.is_late(message, delivery, now) or not _wants(claimed, Notify.DELAY):
        return None
    said = said or _last_said(claimed) or Said(failures.STILL_WAITING)
    notice = Notice(claimed, State.QUEUED, said.reply, said.host, schedule.expires_at(message, delivery))
    return Settlement(
        claimed,
        State.QUEUED,
        said.reply,
        EventType.DELAYED_NOTICE,
        attempted=False,
        notice=notice,
        delay_noticed=True,
    )


def speaker(reply: Reply, tries: tuple[Try, ...]) -> str | None:
    """Return the host that gave a reply; None when it is our own word for what happened."""
    return next((one.host for one in reversed(tries) if one.reply == reply and one.remote), None)


def _last_said(claimed: Claimed) -> Said | None:
    delivery = claimed.delivery
    return None if delivery.last_reply is None else Said(delivery.last_reply, delivery.last_host)


def suppressed(claimed: Claimed, entry: Suppression) -> Settlement:
    """Give up a delivery whose recipient is not to be written to; the submitter hears why."""
    reply = failures.suppressed(str(entry))
    notice = Notice(claimed, State.SUPPRESSED, reply, None) if _wants(claimed, Notify.FAILURE) else None
    return Settlement(claimed, State.SUPPRESSED, reply, EventType.SUPPRESSED, attempted=False, notice=notice)


def held(claimed: Claimed, reason: str) -> Settlement:
    """Set a delivery aside for the operator without counting an attempt."""
    reply = Reply.of(450, "4.7.0", reason)
    return Settlement(claimed, State.HELD, reply, EventType.HELD, attempted=False, hold_reason=reason)


def _deferred(
    claimed: Claimed, outcome: Deferred, wait: timedelta | None, schedule: Schedule, now: datetime
) -> Settlement:
    message, delivery = claimed.message, claimed.delivery
    reply, tries, in_doubt = outcome.reply, outcome.tries, outcome.in_doubt
    if wait is None:
        notice = _notice(claimed, Notify.FAILURE, State.EXPIRED, reply, tries)
        return Settlement(
            claimed, State.EXPIRED, reply, EventType.EXPIRED, tries=tries, notice=notice, in_doubt=in_doubt
        )
    notice = None
    if not delivery.delay_noticed and schedule.is_late(message, delivery, now):
        until = schedule.expires_at(message, delivery)
        notice = _notice(claimed, Notify.DELAY, State.QUEUED, reply, tries, until)
    return Settlement(
        claimed,
        State.QUEUED,
        reply,
        EventType.DEFERRED,
        tries=tries,
        retry_in=wait,
        notice=notice,
        delay_noticed=delivery.delay_noticed or notice is not None,
        in_doubt=in_doubt,
    )


def _notice(
    claimed: Claimed,
    wanted: Notify,
    state: State,
    reply: Reply,
    tries: tuple[Try, ...],
    until: datetime | None = None,
) -> Notice | None:
    if not _wants(claimed, wanted):
        return None
    return Notice(claimed, state, reply, speaker(reply, tries), until)


def _wants(claimed: Claimed, what: Notify) -> bool:
    return not claimed.message.reverse_path.is_null and what in claimed.delivery.recipient.notify
