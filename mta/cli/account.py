"""`mta account`: who may send. Accounts stand in the configuration or, made by command, in the store."""

import json
import secrets
from typing import Any

import click

from mta.accounts.password import generate_secret, hash_password
from mta.cli.app import EX_NO, App, command, fail, json_option
from mta.cli.reading import read


@click.group("account")
def account() -> None:
    """Accounts: who may send, from which domains."""


@account.command("list")
@json_option
@command
def list_accounts(app: App, as_json: bool) -> None:
    """Show all accounts."""
    app.output(json=as_json).rows(_accounts(app), ["name", "stream", "domains", "contact", "kept_in"], "no account")


@account.command("show")
@click.argument("name")
@json_option
@command
def show(app: App, name: str, as_json: bool) -> None:
    """Show one account."""
    found = next((row for row in _accounts(app) if row["name"] == name), None)
    if found is None:
        fail(f"there is no account {name!r}; mta account list shows all", EX_NO)
    app.output(json=as_json).record(found)


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
    """Give an account a new password, shown once. For an account of a file, print the line to paste."""
    found = next((row for row in _accounts(app) if row["name"] == name), None)
    if found is None:
        fail(f"there is no account {name!r}; mta account list shows all", EX_NO)
    if found["kept_in"] == "store":
        _show_password(app, app.client().one("account.passwd", name=name), as_json)
        return
    password = generate_secret(secrets.token_bytes(24))
    hashed = hash_password(password)
    output = app.output(json=as_json)
    if output.is_json:
        output.record({"name": name, "password": password, "password_hash": hashed})
        return
    output.line(f"password {password}   (shown this once; only its hash is kept)")
    output.line()
    output.line(f'account "{name}" stands in a file: replace this line in its [[account]], then run mta reload:')
    output.line(f'password_hash = "{hashed}"')


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
            "kept_in": "configuration",
        }
        for entry in settings.account
    ]
    for stored in _stored(app):
        data = json.loads(stored)
        rows.append(
            {
                "name": data["name"],
                "stream": data.get("stream", "transactional"),
                "domains": data["domains"],
                "contact": data.get("contact", ""),
                "password": "password_hash" in data,
                "kept_in": "store",
            }
        )
    return sorted(rows, key=lambda row: str(row["name"]))


def _stored(app: App) -> list[str]:
    if not app.loaded().settings.store_path.exists():
        return []
    return [stored.data for stored in read(app, lambda reader: reader.accounts())]
