"""`mta queue retry|hold|release|cancel`, which change deliveries, and `pause|resume` of what they belong to."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from mta.cli.app import EX_NO, EX_USAGE, App, command, fail, json_option
from mta.cli.output import Output
from mta.cli.progress import progress
from mta.cli.reading import read
from mta.cli.selecting import selecting, selector_of, wire_of
from mta.cli.times import stamp
from mta.clock import SystemClock
from mta.queue.model import Pause, PauseScope, State, Stream
from mta.storage.changes import CHANGES, Verb
from mta.storage.overview import Overview
from mta.storage.reading import Reader
from mta.storage.views import Selector


def _change(verb: Verb, help_text: str) -> click.Command:
    @click.command(verb.value, help=help_text)
    @selecting
    @click.option("--all", "everything", is_flag=True, help="All that wait; instead of a selector.")
    @click.option("--reason", default="", help="Kept in the audit and the events.")
    @click.option("--dry-run", is_flag=True, help="Count what would be changed, and change nothing.")
    @click.option("--yes", is_flag=True, help="Do not ask whether all of it is meant.")
    @json_option
    @command
    def change(
        app: App, /, everything: bool, reason: str, dry_run: bool, yes: bool, as_json: bool, **selectors: Any
    ) -> None:
        selector = selector_of(selectors)
        if selector == Selector() and not everything:
            fail("say which deliveries: a selector such as --id or --domain, or --all", EX_USAGE)
        output = app.output(json=as_json)
        if dry_run:
            _would(output, verb, _counted(app, selector))
            return
        if verb is Verb.HOLD and not reason:
            fail("say why with --reason: mta why shows it", EX_USAGE)
        if verb is Verb.CANCEL and selector == Selector() and not yes:
            _confirm_all(app)
        _changed(output, verb, _run(app, verb, selector, reason=reason, **wire_of(selectors)))

    return change


retry = _change(Verb.RETRY, "Make queued deliveries due at once.")
hold = _change(Verb.HOLD, "Set queued deliveries aside until they are released.")
release = _change(Verb.RELEASE, "Queue held deliveries again.")
cancel = _change(Verb.CANCEL, "End deliveries that wait; nobody is told.")


def _counted(app: App, selector: Selector) -> Mapping[State, int]:
    return read(app, lambda reader: Overview(reader, SystemClock()).count(selector))


def _would(output: Output, verb: Verb, counts: Mapping[State, int]) -> None:
    changed = sum(count for state, count in counts.items() if state in CHANGES[verb])
    active = counts.get(State.ACTIVE, 0)
    other = sum(counts.values()) - changed - active
    _say(output, verb, {"changed": changed, "active": active, "other": other}, "would change ")


def _changed(output: Output, verb: Verb, row: Mapping[str, Any]) -> None:
    _say(output, verb, row, "")
    if not row["changed"]:
        raise SystemExit(EX_NO)


def _say(output: Output, verb: Verb, row: Mapping[str, Any], would: str) -> None:
    if output.is_json:
        output.record(row)
    output.line(f"{verb}: {would}{row['changed']} deliveries")
    if row["active"]:
        output.line(f"{row['active']} are being attempted right now and were left alone; try again in a minute")
    if row["other"]:
        output.line(f"{row['other']} are in a state that does not allow it")


def _confirm_all(app: App) -> None:
    count = sum(_counted(app, Selector()).values())
    if not sys.stdin.isatty():
        fail(f"--all would end {count} deliveries, and nobody would be told: add --yes if that is meant", EX_USAGE)
    click.confirm(f"End {count} deliveries? Nobody is told, and there is no way back.", abort=True)


def _run(app: App, verb: Verb, selector: Selector, **arguments: Any) -> dict[str, Any]:
    """Have it done, with a progress bar if it takes long; return what came of it."""
    answers = app.client().ask(f"queue.{verb}", **arguments)
    row = next(answers)
    if "progress" not in row:
        return row
    total = None
    if sys.stderr.isatty():
        counts = _counted(app, selector)
        total = row["progress"] + sum(counts.get(state, 0) for state in (*CHANGES[verb], State.ACTIVE))
    with progress(verb.value, total) as tell:
        for row in answers:
            if "progress" not in row:
                return row
            tell(row["progress"])
    return row


def _scope(account: str | None, stream: str | None, site: str | None, everything: bool) -> tuple[PauseScope, str]:
    given = [
        (scope, value.lower() if scope is PauseScope.SITE else value)
        for scope, value in (
            (PauseScope.ACCOUNT, account),
            (PauseScope.STREAM, stream),
            (PauseScope.SITE, site),
            (PauseScope.ALL, "" if everything else None),
        )
        if value is not None
    ]
    if len(given) != 1:
        fail("say what: one of --account, --stream, --site and --all", EX_USAGE)
    return given[0]


def _scoped(function: Any) -> Any:
    for option in reversed(
        [
            click.option("--account", metavar="NAME", help="All mail of an account."),
            click.option("--stream", type=click.Choice([each.value for each in Stream]), help="All mail of a stream."),
            click.option("--site", metavar="SITE", help="All mail to a site, as mta queue stats --by site names it."),
            click.option("--all", "everything", is_flag=True, help="All mail."),
        ]
    ):
        function = option(function)
    return function


@click.command("pause")
@_scoped
@click.option("--reason", default="", help="Shown by mta why and mta queue stats, and kept in the audit.")
@click.option("--list", "listing", is_flag=True, help="Show what is paused, and change nothing.")
@json_option
@command
def pause(
    app: App,
    account: str | None,
    stream: str | None,
    site: str | None,
    everything: bool,
    reason: str,
    listing: bool,
    as_json: bool,
) -> None:
    """Attempt nothing of an account, a stream, a site, or at all, until it is resumed.

    Mail is accepted meanwhile, and waits. Attempts that have begun come to their end. Time goes on: what waits longer
    than queue.max_age is given up.
    """
    output = app.output(json=as_json)
    if listing:
        output.rows([shown_pause(one) for one in read(app, Reader.pauses)], _PAUSE_COLUMNS, "nothing is paused")
        return
    scope, value = _scope(account, stream, site, everything)
    if not reason:
        fail("say why with --reason: mta why and mta queue stats show it", EX_USAGE)
    row = app.client().one("queue.pause", scope=scope.value, value=value, reason=reason)
    _tell_paused(output, row, "paused", "was paused already")


@click.command("resume")
@_scoped
@click.option("--reason", default="", help="Kept in the audit.")
@json_option
@command
def resume(
    app: App, account: str | None, stream: str | None, site: str | None, everything: bool, reason: str, as_json: bool
) -> None:
    """Let what was paused be attempted again. What else holds a delivery still holds it."""
    scope, value = _scope(account, stream, site, everything)
    row = app.client().one("queue.resume", scope=scope.value, value=value, reason=reason)
    _tell_paused(app.output(json=as_json), row, "resumed", "is not paused; mta queue pause --list shows what is")


_PAUSE_COLUMNS = ["paused", "since", "reason", "who"]


def shown_pause(one: Pause) -> dict[str, Any]:
    """Return a pause as commands print it."""
    return {
        "paused": paused_thing(one.scope, one.value),
        "scope": one.scope.value,
        "value": one.value,
        "since": stamp(one.at),
        "at": one.at.isoformat(),
        "reason": one.reason,
        "who": one.who,
    }


def paused_thing(scope: PauseScope, value: str) -> str:
    """Return what a pause is about, in words."""
    return "everything" if scope is PauseScope.ALL else f"{scope} {value}"


def _tell_paused(output: Output, row: Mapping[str, Any], done: str, not_done: str) -> None:
    if output.is_json:
        output.record(row)
    what = paused_thing(PauseScope(row["scope"]), row["value"])
    output.line(f"{what} {'is ' if row['changed'] else ''}{done if row['changed'] else not_done}")
    if not row["changed"]:
        raise SystemExit(EX_NO)
