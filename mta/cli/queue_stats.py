"""`mta queue stats`: the queue in numbers, and what keeps it from moving."""

from datetime import timedelta
from typing import Any

import click

from mta.cli.app import App, command, json_option
from mta.cli.output import Output
from mta.cli.queue_change import shown_pause
from mta.cli.reading import read
from mta.cli.times import age, stamp, until
from mta.clock import SystemClock
from mta.queue.model import Pause, SiteRest, State
from mta.storage.overview import By, Overview
from mta.storage.reading import Reader
from mta.storage.views import LaneRow, Shape, Total


@click.command("stats")
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    default=By.DOMAIN.value,
    show_default=True,
    help="What the table of ages has a line for.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Lines of a table.")
@json_option
@command
def stats(app: App, by: str, limit: int, as_json: bool) -> None:
    """Count what waits: by state, by lanes, and by domain and age, whoever has most first.

    Also what is paused, and which sites are left alone because attempts there fail. Columns of ages are minutes since
    acceptance, each up to the number above it.
    """

    async def ask(
        reader: Reader,
    ) -> tuple[dict[State, Total], Shape, list[LaneRow], list[SiteRest], list[Pause]]:
        overview = Overview(reader, SystemClock())
        shape = await overview.shape(By(by), limit)
        return await reader.totals(), shape, await overview.lanes(limit), await reader.rests(), await reader.pauses()

    totals, shape, lanes, rests, pauses = read(app, ask)
    output = app.output(json=as_json)
    states = [
        {"state": state.value, "deliveries": total.count, "oldest": age(total.oldest)}
        for state, total in totals.items()
    ]
    output.rows(states, ["state", "deliveries", "oldest"], "the queue is empty")
    _lanes(output, lanes)
    _shape(output, By(by), shape)
    if rests:
        output.line()
        output.rows([shown_rest(rest) for rest in rests], ["resting", "until", "failures", "reason"])
    if pauses:
        output.line()
        output.rows([shown_pause(one) for one in pauses], ["paused", "since", "reason", "who"])


def _lanes(output: Output, lanes: list[LaneRow]) -> None:
    rows = [
        {
            "lane": f"{one.lane.account}/{one.lane.stream}",
            "account": one.lane.account,
            "stream": one.lane.stream.value,
            "waiting": one.count,
            "first_due": until(one.due_at),
            "due_at": one.due_at.isoformat(),
        }
        for one in lanes
    ]
    if rows:
        output.line()
        output.rows(rows, ["lane", "waiting", "first_due"])


def _shape(output: Output, by: By, shape: Shape) -> None:
    names = [_minutes(limit) for limit in shape.ages]
    columns = [*names, f"{names[-1]}+"]
    rows = []
    for one in shape.rows:
        counts = dict(zip(columns, one.by_age, strict=True))
        row: dict[str, Any] = {by.value: one.name or "not tried yet", "deliveries": one.count, **counts}
        row["oldest"] = age(one.oldest)
        if by is By.DOMAIN:
            row["sites"] = list(one.sites)
        rows.append(row)
    if rows:
        output.line()
        output.rows(rows, [by.value, "deliveries", *columns, "oldest", *(["sites"] if by is By.DOMAIN else [])])
    if shape.is_cut:
        output.line(f"… and more; --limit shows more than {len(rows)} of them")


def shown_rest(rest: SiteRest) -> dict[str, Any]:
    """Return a site's rest as commands print it."""
    return {
        "resting": rest.site,
        "until": f"{stamp(rest.until)} ({until(rest.until)})",
        "until_at": rest.until.isoformat(),
        "failures": rest.failures,
        "reason": rest.reason,
    }


def _minutes(span: timedelta) -> str:
    return str(span // timedelta(minutes=1))
