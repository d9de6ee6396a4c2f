"""`mta why`: the whole story of a message, a Message-ID or a recipient, in one command."""

import shlex
from dataclasses import dataclass
from typing import Any

import click

from mta.cli.app import EX_NO, App, command, fail, json_option
from mta.cli.output import Output
from mta.cli.queue import shown
from mta.cli.reading import read
from mta.cli.suppression import shown as shown_entry
from mta.cli.suppression import told
from mta.cli.times import stamp, until
from mta.events import Event, EventType
from mta.events_json import event_to_json
from mta.mail.address import Mailbox
from mta.queue.dispatcher import SUSPENDED
from mta.queue.model import Message, State
from mta.reputation.suppression import Cause, Suppression
from mta.storage.reading import Reader
from mta.storage.views import QueueRow, Selector

MOST = 10
"""Messages told of at once; a recipient may have had many."""

_UNDER_TEXT = " " * 23

_OF_OPERATOR = {Cause.HARD_BOUNCE, Cause.SOFT_BOUNCE, Cause.MANUAL}
"""What may be wrong and is for an operator to mend; who complained or left, stays out."""

Story = tuple[Message, list[QueueRow], list[Event]]


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

    Each attempt with host, TLS, reply and time; what holds it now; when it is tried next; what came back later. Of a
    recipient also whether mail to it is suppressed, and why.
    """

    async def ask(reader: Reader) -> tuple[list[Story], int, About | None]:
        return *await _stories(reader, text), await _about(reader, text)

    stories, more, about = read(app, ask)
    if not stories and about is None:
        fail(f"nothing is known of {text!r}: no queue id, delivery id, Message-ID or recipient is like that", EX_NO)
    output = app.output(json=as_json)
    for message, rows, events in stories:
        if output.is_json:
            output.record(_as_json(message, rows, events))
        else:
            _tell(output, message, rows, events)
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
    stories = []
    for queue_id in ids[:MOST]:
        message = await reader.message(queue_id)
        if message is not None:
            rows = await reader.select(Selector(id=queue_id), 1000)
            stories.append((message, rows, await reader.events_of(queue_id)))
    return stories, max(0, len(ids) - MOST)


def _as_json(message: Message, rows: list[QueueRow], events: list[Event]) -> dict[str, Any]:
    return {
        "queue_id": message.id,
        "accepted_at": message.accepted_at.isoformat(),
        "account": message.account,
        "stream": message.stream.value,
        "sender": str(message.reverse_path),
        "message_id": message.message_id,
        "size": message.size,
        "deliveries": [shown(row) for row in rows],
        "events": [event_to_json(event) for event in events],
    }


def _tell(output: Output, message: Message, rows: list[QueueRow], events: list[Event]) -> None:
    output.line(f"{message.id}  {message.message_id}")
    output.line(
        f"  {stamp(message.accepted_at)}  accepted from account {message.account} ({message.stream.value}), "
        f"sender <{message.reverse_path}>, {message.size} octets"
    )
    if entry := _entry(events):
        output.line(f"{_UNDER_TEXT}{entry}")
    for row in rows:
        output.line(f"  to {row.recipient}: {_standing(row)}")
        for event in events:
            if event.delivery_id == row.id:
                for line in _event_lines(event):
                    output.line(f"    {line}")
    output.line()


def _entry(events: list[Event]) -> str:
    accepted = next((event for event in events if event.type is EventType.ACCEPTED), None)
    if accepted is None:
        return ""
    if "dsn_for" in accepted.detail:
        return f"our notification about {accepted.detail['dsn_for']}"
    return ", ".join(f"{key} {accepted.detail[key]}" for key in ("protocol", "tls", "helo") if accepted.detail.get(key))


def _standing(row: QueueRow) -> str:
    match row.state:
        case State.QUEUED:
            when = until(row.due_at)
            when = "due now" if when == "now" else f"next attempt {when}"
            return f"queued, {when} ({stamp(row.due_at)}), attempts so far: {row.attempts}"
        case State.ACTIVE:
            lease = stamp(row.lease_until) if row.lease_until else "?"
            return f"being attempted right now by worker {row.owner} (lease until {lease})"
        case State.HELD if row.hold_reason and row.hold_reason.startswith(SUSPENDED):
            return f"held, its account is {row.hold_reason}; mta reputation {shlex.quote(row.account)} tells more"
        case State.HELD:
            return f"held: {row.hold_reason or 'no reason given'}; mta queue release --id {row.queue_id}"
        case _:
            return row.state.value + (f" at {stamp(row.final_at)}" if row.final_at else "")


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
        tls = f"{one.tls.version} {one.tls.policy}" if one.tls else "no TLS"
        speaker = "" if one.remote else " (ours)"
        lines.append(f"  {one.host}[{one.address}]:{one.port}, {tls}, at {one.stage}: {one.reply}{speaker}")
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
