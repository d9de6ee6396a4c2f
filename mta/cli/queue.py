"""`mta queue`: what waits, and how to change it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from mta.cli.app import EX_NO, EX_USAGE, App, command, fail, json_option
from mta.cli.reading import read
from mta.config.values import parse_duration
from mta.queue.model import State
from mta.storage.views import QueueRow, Selector

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ["id", "state", "age", "attempts", "due", "account", "recipient", "why"]


@click.group("queue")
def queue() -> None:
    """The queue: what waits, why, and how to change it."""


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def selecting(function: F) -> F:
    """Add the selectors: all that are given must hold."""
    for option in reversed(
        [
            click.option("--id", metavar="ID", help="A queue id (all its deliveries) or a delivery's id."),
            click.option("--account", metavar="NAME"),
            click.option("--domain", metavar="DOMAIN", help="The recipient's domain."),
            click.option("--site", metavar="SITE", help="The host or relay it goes to."),
            click.option("--state", type=click.Choice([state.value for state in State])),
            click.option("--older-than", type=_Duration(), metavar="AGE", help='Accepted that long ago, such as "4h".'),
            click.option("--tag", metavar="TAG"),
        ]
    ):
        function = option(function)
    return function


@queue.command("list")
@selecting
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
@command
def list_rows(app: App, /, limit: int, as_json: bool, **selectors: Any) -> None:
    """Show deliveries; those that may still be attempted, unless --id or --state says otherwise."""
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
        output.line("")


@queue.command("stats")
@json_option
@command
def stats(app: App, as_json: bool) -> None:
    """Count what waits, by state, and by age for the domains that have most."""
    found = read(app, lambda reader: reader.stats())
    output = app.output(json=as_json)
    totals = [
        {"state": state.value, "deliveries": total.count, "oldest": _age(total.oldest)}
        for state, total in found.totals.items()
    ]
    output.rows(totals, ["state", "deliveries", "oldest"], "the queue is empty")
    names = [f"up_to_{_span(age)}" for age in found.ages] + ["older"]
    domains = [
        {"domain": row.domain, "deliveries": row.count, **dict(zip(names, row.by_age, strict=True))}
        for row in found.domains
    ]
    if domains:
        output.line("")
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
        row = next(app.client().ask(f"queue.{name}", reason=reason, **_wire(selectors)))
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
        "age": _age(row.accepted_at),
        "accepted_at": row.accepted_at.isoformat(),
        "account": row.account,
        "stream": row.stream.value,
        "tag": row.tag,
        "sender": row.reverse_path,
        "recipient": row.recipient,
        "message_id": row.message_id,
        "size": row.size,
        "attempts": row.attempts,
        "due": _in(row) if row.state is State.QUEUED else None,
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


def _in(row: QueueRow) -> str:
    left = row.due_at - datetime.now(UTC)
    return "now" if left <= timedelta(0) else f"in {_span(left)}"


def _age(at: datetime | None) -> str | None:
    return None if at is None else _span(datetime.now(UTC) - at)


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            rest = seconds % length // {"d": 3600, "h": 60, "m": 1}[unit]
            smaller = {"d": "h", "h": "m", "m": "s"}[unit]
            return f"{seconds // length}{unit}{rest}{smaller}" if rest else f"{seconds // length}{unit}"
    return f"{max(0, seconds)}s"
