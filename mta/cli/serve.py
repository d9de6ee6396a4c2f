"""`mta serve`: the server in the foreground, as one process or as several under a supervisor."""

import asyncio
import logging
import sys

import click
import uvloop

from mta.cli.app import EX_SOFTWARE, App, command, explain, fail
from mta.clock import SystemClock
from mta.observe.log import setup_logging
from mta.process import prepare
from mta.signals import serve_until_stopped
from mta.supervisor.begin import become_supervisor
from mta.supervisor.post import Post
from mta.supervisor.share import cores, workers_of

_log = logging.getLogger(__name__)


def _post(context: click.Context, parameter: click.Parameter, value: str | None) -> Post | None:
    try:
        return Post.parse(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("serve")
@click.option("--asyncio", "plain_asyncio", is_flag=True, help="Use Python's own event loop instead of uvloop.")
@click.option("--worker", "post", hidden=True, callback=_post, help="The post that a supervisor gives to a worker.")
@command
def serve(app: App, plain_asyncio: bool, post: Post | None) -> None:
    """Run the server in the foreground.

    SIGTERM stops it, a second one without waiting for what is under way; SIGHUP reloads, SIGUSR1 logs a summary of the
    server's state.
    """
    loaded = app.loaded()
    setup_logging(loaded.settings.log.level, loaded.settings.log.format, sys.stderr)
    workers = workers_of(loaded.settings, cores())
    try:
        if post is None and workers > 1:
            become_supervisor(loaded, workers, SystemClock(), plain_asyncio=plain_asyncio)
        prepare(loaded.settings)
        with asyncio.Runner(loop_factory=None if plain_asyncio else uvloop.new_event_loop) as runner:
            runner.run(serve_until_stopped(loaded, sys.stdout, sys.stderr, post))
    except Exception as error:
        text, exit_code = explain(error)
        if exit_code == EX_SOFTWARE:
            _log.critical("the server ends: %s", text, exc_info=error)
        fail(text, exit_code)
