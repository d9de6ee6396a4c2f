"""`mta queue`: what waits, and how to change it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mta.cli.app import EX_NO, EX_USAGE, App, command, fail, json_option
from mta.cli.reading import read
from mta.cli.times import Span, age, spelled, until
from mta.queue.model import State
from mta.storage.views import QueueRow, Selector

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ["id", "state", "age", "attempts", "due", "account", "recipient", "why"]


@click.group("queue")
def queue() -> None:
    """The queue: what waits, why, and how to change it."""


def selecting(function: F) -> F:
    """Add the selectors: all that are given must hold."""
    for option in reversed(
        [
            click.option("--id", metavar="ID", help="A queue id (all its deliveries) or a delivery's id."),
            click.option("--account", metavar="NAME", help="Whose mail it is."),
            click.option("--domain", metavar="DOMAIN", help="The recipient's domain."),
            click.option("--site", metavar="SITE", help="The host or relay it goes to."),
            click.option("--state", type=click.Choice([state.value for state in State]), help="The state it is in."),
            click.option("--older-than", type=Span(), metavar="AGE", help='Accepted that long ago, such as "4h".'),
            click.option("--tag", metavar="TAG", help="What X-MTA-Tag said."),
        ]
    ):
        function = option(function)
    return function


@queue.command("list")
@selecting
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@json_option
@command
def list_rows(app: App, /, limit: int, as_json: bool, **selectors: Any) -> None:
    """Show deliveries.

    Those that may still be attempted, unless --id or --state says otherwise.
    """
    rows = read(app, lambda reader: reader.select(_selector(selectors), limit + 1))
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


@queue.command("stats")
@json_option
@command
def stats(app: App, as_json: bool) -> None:
    """Count what waits, by state, domain and age."""
    found = read(app, lambda reader: reader.stats())
    output = app.output(json=as_json)
    totals = [
        {"state": state.value, "deliveries": total.count, "oldest": age(total.oldest)}
        for state, total in found.totals.items()
    ]
    output.rows(totals, ["state", "deliveries", "oldest"], "the queue is empty")
    names = [f"up_to_{spelled(limit)}" for limit in found.ages] + ["older"]
    domains = [
        {"domain": row.domain, "deliveries": row.count, **dict(zip(names, row.by_age, strict=True))}
        for row in found.domains
    ]
    if domains:
        output.line()
        output.rows(domains, ["domain", "deliveries", *names])


def _change(name: str, help_text: str) -> None:
    @queue.command(name, help=help_text)
    @selecting
    @click.option("--all", "everything", is_flag=True, help="All that wait; instead of a selector.")
    @click.option("--reason", default="", help="Kept in the audit and the events.")
    @json_option
    @command
    def change(app: App, /, everything: bool, reason: str, as_json: bool, **selectors: Any) -> None:
        selector = _selector(selectors)
        if selector == Selector() and not everything:
            fail("say which deliveries: a selector such as --id or --domain, or --all", EX_USAGE)
        if name == "hold" and not reason:
            fail("say why with --reason: mta why shows it", EX_USAGE)
        row = app.client().one(f"queue.{name}", reason=reason, **_wire(selectors))
        output = app.output(json=as_json)
        if output.is_json:
            output.record(row)
        output.line(f"{name}: {row['changed']} deliveries")
        if row["active"]:
            output.line(f"{row['active']} are being attempted right now and were left alone; try again in a minute")
        if row["other"]:
            output.line(f"{row['other']} are in a state that does not allow it")
        if not row["changed"]:
            raise SystemExit(EX_NO)


_change("retry", "Make queued deliveries due at once.")
_change("hold", "Set queued deliveries aside until they are released.")
_change("release", "Queue held deliveries again.")
_change("cancel", "End deliveries that wait; nobody is told.")


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


def _selector(selectors: dict[str, Any]) -> Selector:
    state = selectors.get("state")
    return Selector(**{**selectors, "state": State(state) if state else None})


def _wire(selectors: dict[str, Any]) -> dict[str, Any]:
    older = selectors.get("older_than")
    return {**selectors, "older_than": older.total_seconds() if older is not None else None}
