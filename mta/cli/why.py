"""`mta why`: the whole story of a message, a Message-ID or a recipient, in one command."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from mta.cli.app import EX_NO, App, command, fail, json_option
from mta.cli.holding import NO_REASON, Surroundings, holders, surroundings_of
from mta.cli.holding import as_json as holder_as_json
from mta.cli.output import Output
from mta.cli.queue import shown
from mta.cli.reading import read
from mta.cli.suppression import shown as shown_entry
from mta.cli.suppression import told
from mta.cli.times import stamp
from mta.clock import SystemClock
from mta.events import Event, EventType
from mta.events_json import event_to_json
from mta.mail.address import Mailbox
from mta.mail.outcome import TlsUse, Try
from mta.queue.dispatcher import SUSPENDED
from mta.queue.model import Message, State
from mta.reputation.suppression import Cause, Suppression
from mta.storage.overview import Overview
from mta.storage.reading import Reader
from mta.storage.views import QueueRow, Selector

MOST = 10
"""Messages told of at once; a recipient may have had many."""

_UNDER_TEXT = " " * 23
_BEFORE_TLS = {"connect", "greeting", "ehlo"}
"""Stages at which it is not known yet whether there will be TLS."""

_OF_OPERATOR = {Cause.HARD_BOUNCE, Cause.SOFT_BOUNCE, Cause.MANUAL}
"""What may be wrong and is for an operator to mend; who complained or left, stays out."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of one message."""

    message: Message
    rows: list[QueueRow]
    events: list[Event]
    around: Surroundings


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an address beside the stories of its messages."""

    address: Mailbox
    suppressions: list[Suppression]
    events: list[Event]


@click.command("why")
@click.argument("text", metavar="ID|MESSAGE-ID|RECIPIENT")
@json_option
@command
def why(app: App, text: str, as_json: bool) -> None:
    """Tell what became of a message.

    Each attempt with host, TLS policy, what the host offered and what was used, reply and time; what holds it now, and
    until when; what came back later. Of a recipient also whether mail to it is suppressed, and why.
    """

    async def ask(reader: Reader) -> tuple[list[Story], int, About | None]:
        return *await _stories(reader, text), await _about(reader, text)

    stories, more, about = read(app, ask)
    if not stories and about is None:
        fail(f"nothing is known of {text!r}: no queue id, delivery id, Message-ID or recipient is like that", EX_NO)
    output = app.output(json=as_json)
    now = SystemClock().now()
    for story in stories:
        if output.is_json:
            output.record(_as_json(story, now))
        else:
            _tell(output, story, now)
    if more:
        output.line(f"… and {more} older messages; mta queue list and mta events tell of them")
    if about is not None:
        _tell_about(output, about)


async def _about(reader: Reader, text: str) -> About | None:
    """Return what is known of an address; None when it is none, or nothing is."""
    try:
        address = Mailbox.parse(text, utf8=True)
    except ValueError:
        return None
    about = About(address, await reader.suppressions_of(address), await reader.events_about(str(address)))
    return about if about.suppressions or about.events else None


def _tell_about(output: Output, about: About) -> None:
    if output.is_json:
        output.record(
            {
                "recipient": str(about.address),
                "suppressions": [shown_entry(entry) for entry in about.suppressions],
                "events": [event_to_json(event) for event in about.events],
            }
        )
        return
    output.line(str(about.address))
    for event in about.events:
        account = f" (account {event.account})" if event.account else ""
        for line in _event_lines(event, account):
            output.line(f"  {line}")
    for entry in about.suppressions:
        output.line(f"  {told(entry)}")
        if entry.cause in _OF_OPERATOR:
            # the address is a stranger's, and this is to be pasted
            words = ["mta", "suppression", "remove", str(entry.address), "--account", entry.account]
            output.line(f"    if that is over: {shlex.join(words)} --reason …")
    if not about.suppressions:
        output.line("  it is on no suppression list now")


async def _stories(reader: Reader, text: str) -> tuple[list[Story], int]:
    ids = await reader.find(text)
    clock = SystemClock()
    overview = Overview(reader, clock)
    stories = []
    for queue_id in ids[:MOST]:
        message = await reader.message(queue_id)
        if message is not None:
            rows = await reader.select(Selector(id=queue_id), 1000)
            around = await surroundings_of(reader, overview, rows, clock.now())
            stories.append(Story(message, rows, await reader.events_of(queue_id), around))
    return stories, max(0, len(ids) - MOST)


def _as_json(story: Story, now: datetime) -> dict[str, Any]:
    message = story.message
    accepted = _accepted(story.events)
    return {
        "queue_id": message.id,
        "accepted_at": message.accepted_at.isoformat(),
        "release_at": message.release_at.isoformat() if message.release_at else None,
        "expires_at": message.expires_at.isoformat() if message.expires_at else None,
        "account": message.account,
        "stream": message.stream.value,
        "sender": str(message.reverse_path),
        "message_id": message.message_id,
        "size": message.size,
        "duplicates": accepted.get("duplicates", 0),
        "duplicate_of": accepted.get("duplicate_of"),
        "deliveries": [
            shown(row) | {"held_by": [holder_as_json(one) for one in holders(row, story.around, now)]}
            for row in story.rows
        ],
        "events": [event_to_json(event) for event in story.events],
    }


def _tell(output: Output, story: Story, now: datetime) -> None:
    message = story.message
    output.line(f"{message.id}  {message.message_id}")
    output.line(
        f"  {stamp(message.accepted_at)}  accepted from account {message.account} ({message.stream.value}), "
        f"sender <{message.reverse_path}>, {message.size} octets"
    )
    for line in _entry(message, _accepted(story.events)):
        output.line(f"{_UNDER_TEXT}{line}")
    for row in story.rows:
        output.line(f"  to {row.recipient}: {_standing(row)}")
        for line in _held_by(row, story.around, now):
            output.line(f"    {line}")
        for event in story.events:
            if event.delivery_id == row.id:
                for line in _event_lines(event):
                    output.line(f"    {line}")
    output.line()


def _accepted(events: list[Event]) -> Mapping[str, Any]:
    accepted = next((event for event in events if event.type is EventType.ACCEPTED), None)
    return {} if accepted is None else accepted.detail


def _entry(message: Message, accepted: Mapping[str, Any]) -> Iterator[str]:
    """Yield how it came, and what was asked for it."""
    if "dsn_for" in accepted:
        yield f"our notification about {accepted['dsn_for']}"
    elif came := ", ".join(f"{key} {accepted[key]}" for key in ("protocol", "tls", "helo") if accepted.get(key)):
        yield came
    if accepted.get("duplicates"):
        of = accepted.get("duplicate_of")
        yield f"for {accepted['duplicates']} of its recipients it had been accepted before, as {of}: mta why {of}"
    if message.release_at is not None:
        yield f"not to be delivered before {stamp(message.release_at)}"
    if message.expires_at is not None:
        yield f"worthless after {stamp(message.expires_at)}: given up then"


def _standing(row: QueueRow) -> str:
    match row.state:
        case State.QUEUED:
            return f"queued, attempts so far: {row.attempts}"
        case State.ACTIVE:
            return "active"
        case State.HELD if row.hold_reason and row.hold_reason.startswith(SUSPENDED):
            return f"held, its account is {row.hold_reason}; mta reputation {shlex.quote(row.account)} tells more"
        case State.HELD:
            return f"held: {row.hold_reason or NO_REASON}; mta queue release --id {row.queue_id}"
        case _:
            return row.state.value + (f" at {stamp(row.final_at)}" if row.final_at else "")


def _held_by(row: QueueRow, around: Surroundings, now: datetime) -> Iterator[str]:
    """Yield what holds it, but for what the line above says already."""
    for one in holders(row, around, now):
        if one.kind != "held" or one.text != (row.hold_reason or NO_REASON):
            yield f"it waits for {one.text}" if one.kind in ("schedule", "release_time", "turn") else one.text


def _try_lines(one: Try) -> Iterator[str]:
    """Yield one host: how far it went, what it said, what it offered and what was used."""
    speaker = "" if one.remote else " (ours)"
    took = f", {one.duration.total_seconds():.2f} s" if one.duration else ""
    where = one.host + (f"[{one.address}]" if one.address else "") + f":{one.port}"
    yield f"{where}, {_how(one)}{took}: {one.reply}{speaker}"
    if one.tls is not None and (found := "; ".join(_in_detail(one.tls))):
        yield f"  {found}"


def _how(one: Try) -> str:
    """Return which TLS there was, which policy decided it, what the host proved, and how far it went."""
    use = one.tls
    if use is None:
        return f"at {one.stage}" if one.stage in _BEFORE_TLS else f"no TLS, at {one.stage}"
    if not use.is_used and one.stage == "connect":
        return f"skipped by {use.policy}"
    decided = use.policy if use.is_used else f"by {use.policy}"
    proved = (", verified" if use.verified else "") + (f": {use.proof}" if use.proof else "")
    return f"{use.version or 'no TLS'} ({decided}{proved}), at {one.stage}"


def _in_detail(use: TlsUse) -> Iterator[str]:
    if use.offered:
        # under TLS from the first octet, there is no STARTTLS to offer
        lacks = "" if use.is_used or "STARTTLS" in use.offered.split() else ", and no STARTTLS"
        yield f"offered {use.offered}{lacks}"
    if use.is_used:
        looked_at = "" if use.verified or use.proof else ", the certificate was not looked at"
        yield f"used {use.cipher}{looked_at}"


def _event_lines(event: Event, whose: str = "") -> list[str]:
    head = f"{stamp(event.at)}  {event.type.value}{whose}"
    if event.detail.get("late"):
        head += f", late, told by a {event.detail['late']}"
    if event.attempt is not None:
        head += f", attempt {event.attempt}"
    if event.duration is not None and event.attempt is not None:
        head += f", {event.duration.total_seconds():.2f} s"
    if event.klass is not None:
        head += f", {event.klass}" + (f" ({event.hardness})" if event.hardness else "")
    if said := _said(event):
        head += f": {said}"
    if "who" in event.detail:
        head += f" (by {event.detail['who']})"
    lines = [head]
    for one in event.tries:
        lines += [f"  {line}" for line in _try_lines(one)]
    if not event.tries and event.reply is not None and event.attempt is not None:
        lines.append(f"  no host was tried: {event.reply}")
    return lines


def _said(event: Event) -> str:
    """Return the reason that one line has room for: what the hosts of an attempt said stands below it."""
    detail = event.detail
    match event.type:
        case EventType.COMPLAINED:
            agent = f", reported by {detail['user_agent']}" if detail.get("user_agent") else ""
            return f"{detail.get('feedback_type')}{agent}"
        case EventType.SUPPRESSION_ADDED:
            return ", ".join(str(detail[name]) for name in ("cause", "reason") if detail.get(name))
        case _ if "reason" in detail:
            return str(detail["reason"])
        case _:
            return str(event.reply) if event.reply is not None and event.attempt is None else ""
