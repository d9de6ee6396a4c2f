"""`mta reload`: the running server reads its configuration again."""

import click

from mta.cli.app import App, command, json_option


@click.command("reload")
@json_option
@command
def reload(app: App, as_json: bool) -> None:
    """Let the running server read its configuration again.

    Accounts, domains, keys, certificates, routes and limits change without dropping a connection; what needs a restart
    is named. A configuration that cannot be used changes nothing.
    """
    output = app.output(json=as_json)
    row = app.client().one("reload")
    if output.is_json:
        output.record(row)
        return
    output.line(f"applied: {', '.join(row['applied']) or 'nothing had changed'}")
    for warning in row["warnings"]:
        output.line(f"warning: {warning}")
    if row["needs_restart"]:
        output.line(f"needs a restart: {', '.join(row['needs_restart'])}")
