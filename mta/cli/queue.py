"""`mta queue`: what waits, one by one. Its other commands have files of their own."""

from typing import Any

import click

from mta.cli.app import EX_NO, App, command, fail, json_option
from mta.cli.reading import read
from mta.cli.selecting import selecting, selector_of
from mta.cli.times import age, until
from mta.queue.model import State
from mta.storage.views import QueueRow, Selector

_COLUMNS = ["id", "state", "age", "attempts", "due", "account", "recipient", "why"]


@click.group("queue")
def queue() -> None:
    """The queue: what waits, why, and how to change it."""


@queue.command("list")
@selecting
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@json_option
@command
def list_rows(app: App, /, limit: int, as_json: bool, **selectors: Any) -> None:
    """Show deliveries.

    Those that may still be attempted, unless --id or --state says otherwise.
    """
    rows = read(app, lambda reader: reader.select(selector_of(selectors), limit + 1))
    output = app.output(json=as_json)
    output.rows([shown(row) for row in rows[:limit]], _COLUMNS, "the queue is empty")
    if len(rows) > limit:
        output.line(f"… and more; --limit shows up to {limit * 10} of them, mta queue stats counts them all")


@queue.command("show")
@click.argument("id")
@json_option
@command
def show(app: App, id: str, as_json: bool) -> None:
    """Show everything about one message's deliveries. What happened to them: mta why ID."""
    rows = read(app, lambda reader: reader.select(Selector(id=id), 1000))
    if not rows:
        fail(f"the store knows no message or delivery {id!r}; mta why finds recipients and Message-IDs too", EX_NO)
    output = app.output(json=as_json)
    for row in rows:
        output.record(shown(row))
        output.line()


def shown(row: QueueRow) -> dict[str, Any]:
    """Return a delivery as commands print it."""
    return {
        "id": row.queue_id,
        "delivery": row.id,
        "state": row.state.value,
        "age": age(row.accepted_at),
        "accepted_at": row.accepted_at.isoformat(),
        "account": row.account,
        "stream": row.stream.value,
        "tag": row.tag,
        "sender": row.reverse_path,
        "recipient": row.recipient,
        "message_id": row.message_id,
        "size": row.size,
        "attempts": row.attempts,
        "due": until(row.due_at) if row.state is State.QUEUED else None,
        "due_at": row.due_at.isoformat() if row.state is State.QUEUED else None,
        "site": row.site,
        "reply": str(row.reply) if row.reply else None,
        "host": row.reply_host,
        "hold_reason": row.hold_reason,
        "return_path": row.return_path,
        "final_at": row.final_at.isoformat() if row.final_at else None,
        "why": row.hold_reason if row.state is State.HELD else str(row.reply) if row.reply else None,
    }
