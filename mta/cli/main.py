"""The `mta` command: its options and its groups of commands."""

import io
import sys

import click

from mta.cli.account import account
from mta.cli.app import App
from mta.cli.audit import audit
from mta.cli.bounces import bounces
from mta.cli.check import check
from mta.cli.demo import demo
from mta.cli.dkim import dkim
from mta.cli.dns import dns
from mta.cli.doctor import doctor
from mta.cli.events import events
from mta.cli.init import init
from mta.cli.keys import keys
from mta.cli.queue import queue
from mta.cli.queue_change import cancel, hold, pause, release, resume, retry
from mta.cli.queue_move import export, import_
from mta.cli.queue_stats import stats
from mta.cli.reload import reload
from mta.cli.reputation import reputation
from mta.cli.send import send
from mta.cli.serve import serve
from mta.cli.suppression import suppression
from mta.cli.why import why


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", metavar="FILE", help="Configuration [$MTA_CONFIG, ./mta.toml, /etc/mta/mta.toml].")
@click.version_option(package_name="mta")
@click.pass_context
def cli(context: click.Context, config: str | None) -> None:
    """A self-hosted SMTP sending server."""
    context.obj = App(config)


for _command in (
    init,
    check,
    serve,
    demo,
    send,
    queue,
    why,
    bounces,
    suppression,
    reputation,
    dkim,
    dns,
    keys,
    account,
    events,
    audit,
    doctor,
    reload,
):
    cli.add_command(_command)
for _command in (stats, retry, hold, release, cancel, pause, resume, export, import_):
    queue.add_command(_command)


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that a terminal lacks is no reason to stop
    cli(prog_name="mta")
