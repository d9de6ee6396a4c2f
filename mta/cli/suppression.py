"""`mta suppression`: who is not written to any more."""

from typing import Any

import click

from mta.cli.app import EX_DATAERR, EX_NO, App, command, fail, json_option
from mta.cli.reading import read
from mta.cli.times import stamp
from mta.mail.address import Mailbox
from mta.reputation.suppression import Cause, Origin, Suppression

_COLUMNS = ["address", "account", "cause", "origin", "since", "expires", "detail"]
_WHY = {
    Cause.HARD_BOUNCE: "it bounced",
    Cause.SOFT_BOUNCE: "it bounced too often",
    Cause.COMPLAINT: "its owner complained",
    Cause.UNSUBSCRIBE: "its owner unsubscribed",
    Cause.MANUAL: "it was put there",
}
_HOW = {
    Origin.DELIVERY: "at delivery",
    Origin.REPORT: "told by a report",
    Origin.FEEDBACK: "told by a feedback report",
    Origin.OPERATOR: "by an operator",
}


@click.group("suppression")
def suppression() -> None:
    """The suppression lists: whom an account does not write to any more."""


@suppression.command("list")
@click.option("--account", metavar="NAME", help="Of one account.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="At most so many.")
@json_option
@command
def list_entries(app: App, account: str | None, limit: int, as_json: bool) -> None:
    """Show who is suppressed, by address."""
    entries = read(app, lambda reader: reader.suppressions(account, limit=limit + 1))
    output = app.output(json=as_json)
    output.rows([shown(entry) for entry in entries[:limit]], _COLUMNS, "nobody is suppressed")
    if len(entries) > limit:
        output.line(f"… and more; --limit shows up to {limit * 10} of them")


@suppression.command("check")
@click.argument("address")
@click.option("--account", metavar="NAME", help="On the list of one account.")
@json_option
@command
def check(app: App, address: str, account: str | None, as_json: bool) -> None:
    """Say whether ADDRESS is suppressed: exit 0 and the entries when it is, 1 when it is not."""
    mailbox = _mailbox(address)
    entries = read(app, lambda reader: reader.suppressions_of(mailbox, account))
    empty = f"{mailbox} is on no list" if account is None else f"{mailbox} is not on the list of account {account}"
    app.output(json=as_json).rows([shown(entry) for entry in entries], _COLUMNS, empty)
    if not entries:
        raise SystemExit(EX_NO)


@suppression.command("add")
@click.argument("address")
@click.option("--account", metavar="NAME", required=True, help="On whose list.")
@click.option("--reason", required=True, help="Kept with the entry and in the audit; clients do not see it.")
@json_option
@command
def add(app: App, address: str, account: str, reason: str, as_json: bool) -> None:
    """Put ADDRESS on an account's list, for good. What waits for it is not sent."""
    row = app.client().one("suppression.add", address=str(_mailbox(address)), account=account, reason=reason)
    output = app.output(json=as_json)
    if output.is_json:
        output.record(row)
    output.line(f"{row['address']} {'is' if row['added'] else 'was already'} suppressed for account {account}")


@suppression.command("remove")
@click.argument("address")
@click.option("--account", metavar="NAME", required=True, help="From whose list.")
@click.option("--reason", required=True, help="Kept in the audit: why this address may be written to again.")
@json_option
@command
def remove(app: App, address: str, account: str, reason: str, as_json: bool) -> None:
    """Take ADDRESS off an account's list. Who complained or left should stay on it."""
    row = app.client().one("suppression.remove", address=str(_mailbox(address)), account=account, reason=reason)
    output = app.output(json=as_json)
    if output.is_json:
        output.record(row)
    if not row["removed"]:
        output.line(f"{row['address']} was not on the list of account {account}")
        raise SystemExit(EX_NO)
    output.line(f"{row['address']} may be written to again by account {account}")


def _mailbox(text: str) -> Mailbox:
    try:
        return Mailbox.parse(text, utf8=True)
    except ValueError as error:
        fail(str(error), EX_DATAERR)


def told(entry: Suppression) -> str:
    """Return an entry as a sentence for an operator."""
    until = f" until {stamp(entry.expires_at)}" if entry.expires_at else ""
    detail = f": {entry.detail}" if entry.detail else ""
    why = f"{_WHY[entry.cause]} ({_HOW[entry.origin]}){detail}"
    return f"suppressed for account {entry.account} since {stamp(entry.at)}{until}: {why}"


def shown(entry: Suppression) -> dict[str, Any]:
    """Return an entry as a program reads it."""
    return {
        "address": str(entry.address),
        "account": entry.account,
        "cause": entry.cause.value,
        "origin": entry.origin.value,
        "since": entry.at.isoformat(timespec="seconds"),
        "expires": entry.expires_at.isoformat(timespec="seconds") if entry.expires_at else "never",
        "detail": entry.detail,
        "delivery": entry.delivery_id,
    }
