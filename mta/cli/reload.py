"""`mta reload`: the running server reads its configuration again."""

import click

from mta.cli.app import App, command, json_option


@click.command("reload")
@json_option
@command
def reload(app: App, as_json: bool) -> None:
    """Apply accounts, domains, keys, certificates, routes and limits without dropping a connection.

    A configuration that cannot be used changes nothing; what needs a restart is named.
    """
    output = app.output(json=as_json)
    for row in app.client().ask("reload"):
        if output.is_json:
            output.record(row)
        output.line(f"applied: {', '.join(row['applied']) or 'nothing had changed'}")
        for warning in row["warnings"]:
            output.line(f"warning: {warning}")
        if row["needs_restart"]:
            output.line(f"needs a restart: {', '.join(row['needs_restart'])}")
