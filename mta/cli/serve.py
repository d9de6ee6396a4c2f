"""`mta serve`: the server in the foreground."""

import asyncio
import sys

import click
import uvloop

from mta.cli.app import App, command
from mta.daemon import serve_until_stopped
from mta.observe.log import setup_logging


@click.command("serve")
@click.option("--asyncio", "plain_asyncio", is_flag=True, help="Use Python's own event loop instead of uvloop.")
@command
def serve(app: App, plain_asyncio: bool) -> None:
    """Run until SIGTERM. SIGHUP reloads, SIGUSR1 logs a summary of the server's state."""
    loaded = app.loaded()
    setup_logging(loaded.settings.log.level, loaded.settings.log.format, sys.stderr)
    runner = asyncio.Runner(loop_factory=None if plain_asyncio else uvloop.new_event_loop)
    with runner:
        runner.run(serve_until_stopped(loaded, sys.stdout, sys.stderr))
