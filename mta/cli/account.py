"""`mta account`: who may send. Accounts stand in the configuration or, made by command, in the store.

How each of them stands, and why, is always in the store.
"""

import json
import secrets
import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from mta.accounts.password import generate_secret, hash_password
from mta.accounts.scram import SALT_OCTETS, Verifier
from mta.accounts.standing import Standing, State
from mta.cli.app import EX_NO, App, command, fail, json_option
from mta.cli.reading import read
from mta.cli.times import stamp
from mta.queue.model import Stream
from mta.storage.reading import Reader
from mta.storage.views import StoredAccount

_GRAVE = (State.SUSPENDED, State.WARNED, State.GOOD)
"""What stands first of several standings."""

_stream_option = click.option(
    "--stream",
    type=click.Choice([stream.value for stream in Stream]),
    help="One of its streams alone [all of the account].",
)
_reason_option = click.option("--reason", required=True, help="Kept with its standing and in the audit.")


@click.group("account")
def account() -> None:
    """Accounts: who may send, from which domains."""


@account.command("list")
@json_option
@command
def list_accounts(app: App, as_json: bool) -> None:
    """Show all accounts."""
    columns = ["name", "stream", "domains", "contact", "kept_in", "standing"]
    app.output(json=as_json).rows(_accounts(app), columns, "no account")


@account.command("show")
@click.argument("name")
@json_option
@command
def show(app: App, name: str, as_json: bool) -> None:
    """Show one account."""
    found = next((row for row in _accounts(app) if row["name"] == name), None)
    if found is None:
        fail(f"there is no account {name!r}; mta account list shows all", EX_NO)
    output = app.output(json=as_json)
    if output.is_json:
        output.record(found)
        return
    output.record({key: value for key, value in found.items() if key != "standings"})
    for each in found["standings"]:
        by = f" (by {each['by']})" if each["by"] else ""
        what = f"stream {each['stream']}" if each["stream"] else "the account as a whole"
        since = stamp(datetime.fromisoformat(each["since"])) if each["since"] else "?"
        output.line(f"{what} is {each['standing']} since {since}{by}: {each['reason']}")


@account.command("add")
@click.argument("name")
@click.option("--domain", "domains", multiple=True, required=True, help="A domain to send from; may be repeated.")
@click.option(
    "--stream",
    type=click.Choice(["transactional", "bulk"]),
    default="transactional",
    show_default=True,
    help="What its mail is, unless the mail says otherwise.",
)
@json_option
@command
def add(app: App, name: str, domains: tuple[str, ...], stream: str, as_json: bool) -> None:
    """Make an account in the store; its password is shown once."""
    if any(row["name"] == name for row in _accounts(app)):
        fail(f"there is an account {name!r} already; mta account show {name}", EX_NO)
    row = app.client().one("account.add", name=name, domains=list(domains), stream=stream)
    _show_password(app, row, as_json)


@account.command("passwd")
@click.argument("name")
@json_option
@command
def passwd(app: App, name: str, as_json: bool) -> None:
    """Give an account a new password, shown once. For an account of a file, print the lines to paste."""
    found = next((row for row in _accounts(app) if row["name"] == name), None)
    if found is None:
        fail(f"there is no account {name!r}; mta account list shows all", EX_NO)
    if found["kept_in"] == "store":
        _show_password(app, app.client().one("account.passwd", name=name), as_json)
        return
    password = generate_secret(secrets.token_bytes(24))
    hashed = hash_password(password)
    verifier = Verifier.make(password, secrets.token_bytes(SALT_OCTETS)).dump()
    output = app.output(json=as_json)
    if output.is_json:
        output.record({"name": name, "password": password, "password_hash": hashed, "scram": verifier})
        return
    output.line(f"password {password}   (shown this once; only its hash is kept)")
    output.line()
    output.line(f'account "{name}" stands in a file: replace these lines in its [[account]], then run mta reload:')
    output.line(f'password_hash = "{hashed}"')
    output.line(f'scram = "{verifier}"')


@account.command("suspend")
@click.argument("name")
@_stream_option
@_reason_option
@json_option
@command
def suspend(app: App, name: str, stream: str | None, reason: str, as_json: bool) -> None:
    """Let an account send nothing any more, until it is reinstated. Its clients hear the reason.

    What it has in the queue is held.
    """
    row = app.client().one("account.suspend", account=name, stream=stream, reason=reason)
    output = app.output(json=as_json)
    if output.is_json:
        output.record(row)
    output.line(f"{_named(row)} is suspended; what waits is held until: mta account reinstate {_arguments(row)}")


@account.command("reinstate")
@click.argument("name")
@_stream_option
@_reason_option
@json_option
@command
def reinstate(app: App, name: str, stream: str | None, reason: str, as_json: bool) -> None:
    """Let a suspended account send again. Its ratios begin anew, and what was held for the suspension is released.

    A stream that was suspended alone is reinstated alone: with --stream.
    """
    row = app.client().one("account.reinstate", account=name, stream=stream, reason=reason)
    output = app.output(json=as_json)
    if output.is_json:
        output.record(row)
    output.line(f"{_named(row)} may send again; deliveries released: {row['released']}")


def _named(row: dict[str, Any]) -> str:
    return f"stream {row['stream']} of account {row['account']}" if row["stream"] else f"account {row['account']}"


def _arguments(row: dict[str, Any]) -> str:
    name = shlex.quote(row["account"])
    return f"{name} --stream {row['stream']}" if row["stream"] else name


def _show_password(app: App, row: dict[str, Any], as_json: bool) -> None:
    output = app.output(json=as_json)
    if output.is_json:
        output.record(row)
        return
    output.line(f"account  {row['name']}")
    output.line(f"password {row['password']}   (shown this once; only its hash is kept)")


def _accounts(app: App) -> list[dict[str, Any]]:
    settings = app.loaded().settings
    rows: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "stream": entry.stream,
            "domains": list(entry.domains),
            "contact": entry.contact,
            "password": entry.password_hash is not None,
            "scram": entry.scram is not None,
            "may_waive_tls": entry.may_waive_tls,
            "kept_in": "configuration",
        }
        for entry in settings.account
    ]
    stored, standings = _stored(app)
    for each in stored:
        data = json.loads(each.data)
        rows.append(
            {
                "name": data["name"],
                "stream": data.get("stream", "transactional"),
                "domains": data["domains"],
                "contact": data.get("contact", ""),
                "password": "password_hash" in data,
                "scram": "scram" in data,
                "may_waive_tls": data.get("may_waive_tls", False),
                "kept_in": "store",
            }
        )
    return [
        row | _how_it_stands([each for each in standings if each.account == row["name"]])
        for row in sorted(rows, key=lambda row: str(row["name"]))
    ]


def _how_it_stands(standings: Sequence[Standing]) -> dict[str, Any]:
    """Return the gravest standing in a word or two, and all that are not good."""
    grave = sorted(
        (each for each in standings if each.state is not State.GOOD), key=lambda each: _GRAVE.index(each.state)
    )
    words = [f"{each.state} ({each.stream})" if each.stream else each.state.value for each in grave]
    return {
        "standing": ", ".join(words) or State.GOOD.value,
        "standings": [
            {
                "stream": each.stream or None,
                "standing": each.state.value,
                "since": each.since.isoformat(timespec="seconds") if each.since else None,
                "by": each.by or None,
                "reason": each.reason,
            }
            for each in grave
        ],
    }


def _stored(app: App) -> tuple[list[StoredAccount], list[Standing]]:
    """Return the accounts and the standings of the store; nothing before there is one."""

    async def ask(reader: Reader) -> tuple[list[StoredAccount], list[Standing]]:
        return await reader.accounts(), await reader.standings()

    return read(app, ask) if app.loaded().settings.store_path.exists() else ([], [])
