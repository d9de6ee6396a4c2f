"""`mta reputation`: the ratios by which accounts are warned and suspended, with their evidence."""

import shlex
from datetime import UTC, datetime
from typing import Any

import click

from mta import assembly
from mta.accounts.standing import Standing, State
from mta.cli.app import EX_NO, App, command, fail, json_option
from mta.cli.reading import read
from mta.cli.times import spelled, stamp
from mta.reputation.rates import Evidence, Limits, fold, judge, slot_of
from mta.storage.reading import Reader
from mta.storage.views import WithheldRow
from mta.storage.withheld import withheld

_COLUMNS = ["account", "stream", "standing", "measure", "window", "part", "whole", "ratio", "warn", "suspend", "says"]


@click.command("reputation")
@click.argument("account", required=False)
@json_option
@command
def reputation(app: App, account: str | None, as_json: bool) -> None:
    """Show hard-bounce and complaint ratios over the windows, against the limits, and how everybody stands."""
    limits = assembly.limits(app.loaded().settings)

    async def ask(reader: Reader) -> tuple[list[tuple[Standing, list[Evidence]]], list[WithheldRow]]:
        now = datetime.now(UTC)
        found = []
        for standing in await reader.known_standings(account):
            slots = await reader.slots(standing, slot_of(now - max(limits.windows)))
            found.append((standing, judge(fold(slots, limits.windows, now), limits)))
        return found, await withheld(reader, account)

    found, doubted = read(app, ask)
    if account is not None and not found:
        fail(f"nothing is known of account {account!r} yet: it has no delivery that ended", EX_NO)
    output = app.output(json=as_json)
    shown = _shown if output.is_json else _for_people
    rows = [shown(standing, each, limits) for standing, evidence in found for each in evidence]
    output.rows(rows, _COLUMNS, "nothing was delivered yet")
    for standing, _ in found:
        if standing.reason and standing.since:
            by = f" (by {standing.by})" if standing.by else ""
            output.line(f"{_named(standing)} is {standing.state} since {stamp(standing.since)}{by}: {standing.reason}")
        if standing.state is State.SUSPENDED:
            stream = f" --stream {standing.stream}" if standing.stream else ""
            output.line(
                f"  when it is mended: mta account reinstate {shlex.quote(standing.account)}{stream} --reason …"
            )
    for one in doubted:
        output.line(
            f"account {one.account}, stream {one.stream}: {one.count} hard bounces at {one.site} since "
            f"{stamp(one.since)} are not counted yet: mta bounces withheld"
        )


def _named(standing: Standing) -> str:
    return f"account {standing.account}" + (f", stream {standing.stream}," if standing.stream else "")


def _shown(standing: Standing, evidence: Evidence, limits: Limits) -> dict[str, Any]:
    return {
        "account": standing.account,
        "stream": standing.stream or None,
        "standing": standing.state.value,
        "reason": standing.reason or None,
        "since": standing.since.isoformat(timespec="seconds") if standing.since else None,
        "measure": evidence.measure.value,
        "window": spelled(evidence.window),
        "part": evidence.part,
        "whole": evidence.whole,
        "ratio": round(evidence.ratio, 6),
        "warn": evidence.limit.warn,
        "suspend": evidence.limit.suspend,
        # what is above a limit may be too little to say anything
        "enough": evidence.whole >= limits.min_volume,
        "says": evidence.judgement.value,
    }


def _for_people(standing: Standing, evidence: Evidence, limits: Limits) -> dict[str, Any]:
    too_few = evidence.part > 0 and evidence.whole < limits.warn_min_volume
    return _shown(standing, evidence, limits) | {
        "stream": standing.stream or "(all)",
        "ratio": f"{evidence.ratio:.2%}",
        "warn": f"{evidence.limit.warn:.2%}",
        "suspend": f"{evidence.limit.suspend:.2%}",
        "says": f"too few (below {limits.warn_min_volume})" if too_few else evidence.judgement.value,
    }
