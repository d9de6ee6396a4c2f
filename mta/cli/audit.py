"""`mta audit`: who changed what, when and why."""

import json
from datetime import datetime

import click

from mta.cli.app import App, command, json_option
from mta.cli.reading import read
from mta.cli.times import Moment, stamp
from mta.clock import SystemClock
from mta.storage.overview import Overview


@click.command("audit")
@click.option("--since", type=Moment(), metavar="WHEN", help='Not before: a span such as "2h" (ago), or a time.')
@click.option("--action", metavar="TEXT", help='What was done begins like this: "queue", "queue cancel", "account".')
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@json_option
@command
def audit(app: App, since: datetime | None, action: str | None, limit: int, as_json: bool) -> None:
    """Show what operators changed, newest first."""
    found = read(app, lambda reader: Overview(reader, SystemClock()).audit(since, action, limit=limit + 1))
    output = app.output(json=as_json)
    rows = [
        {
            "id": row.id,
            "time": row.at.isoformat() if as_json else stamp(row.at),
            "who": row.who,
            "action": row.action,
            "target": row.target,
            "reason": row.reason,
            "detail": json.loads(row.detail) if as_json else _told(row.detail),
        }
        for row in found[:limit]
    ]
    output.rows(rows, ["time", "who", "action", "target", "reason", "detail"], "nothing was changed")
    if len(found) > limit:
        output.line("… and more; --limit shows them")


def _told(detail: str) -> str:
    return ", ".join(f"{key} {value}" for key, value in json.loads(detail).items())
