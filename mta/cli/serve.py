"""`mta serve`: the server in the foreground."""

import asyncio
import logging
import sys

import click
import uvloop

from mta.cli.app import EX_SOFTWARE, App, command, explain, fail
from mta.daemon import serve_until_stopped
from mta.observe.log import setup_logging

_log = logging.getLogger(__name__)


@click.command("serve")
@click.option("--asyncio", "plain_asyncio", is_flag=True, help="Use Python's own event loop instead of uvloop.")
@command
def serve(app: App, plain_asyncio: bool) -> None:
    """Run the server in the foreground.

    SIGTERM stops it, a second one without waiting for what is under way; SIGHUP reloads, SIGUSR1 logs a summary of the
    server's state.
    """
    loaded = app.loaded()
    setup_logging(loaded.settings.log.level, loaded.settings.log.format, sys.stderr)
    try:
        with asyncio.Runner(loop_factory=None if plain_asyncio else uvloop.new_event_loop) as runner:
            runner.run(serve_until_stopped(loaded, sys.stdout, sys.stderr))
    except Exception as error:
        text, exit_code = explain(error)
        if exit_code == EX_SOFTWARE:
            _log.critical("the server ends: %s", text, exc_info=error)
        fail(text, exit_code)
