"""`mta events`: the event log."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import click

from mta.cli.app import App, command, json_option
from mta.cli.output import Output
from mta.cli.times import Moment
from mta.clock import SystemClock
from mta.events import Event, EventType
from mta.events_json import event_to_json
from mta.observe.log import text_line
from mta.storage.reading import Reader

_PAGE = 1000
_POLL = 0.5
"""Seconds between looks with --follow."""


@click.command("events")
@click.option("--follow", is_flag=True, help="Go on with what happens next, until interrupted.")
@click.option("--account", metavar="NAME", help="Of one account.")
@click.option("--type", "kind", type=click.Choice([kind.value for kind in EventType]), help="Of one type.")
@click.option(
    "--since",
    type=Moment(),
    metavar="WHEN",
    default="1h",
    show_default=True,
    help='"2h" ago, or an ISO 8601 time (UTC).',
)
@json_option
@command
def events(app: App, follow: bool, account: str | None, kind: str | None, since: datetime, as_json: bool) -> None:
    """Print events in the order in which they became true."""
    output = app.output(json=as_json)
    path = str(app.loaded().settings.store_path)
    chosen = EventType(kind) if kind else None

    async def show() -> None:
        after = ""
        async with Reader.open(path, SystemClock()) as reader:
            while True:
                page = await reader.events(since, chosen, account, after, _PAGE)
                for event in page:
                    _print(output, event)
                output.flush()
                after = page[-1].id if page else after
                if len(page) < _PAGE:
                    if not follow:
                        return
                    await asyncio.sleep(_POLL)

    try:
        asyncio.run(show())
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _print(output: Output, event: Event) -> None:
    if output.is_json:
        row: dict[str, Any] = event_to_json(event)
        output.record(row)
    else:
        output.line(f"{event.at.astimezone(UTC).isoformat(timespec='milliseconds')} {text_line(event)}")
