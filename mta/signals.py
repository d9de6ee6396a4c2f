"""A daemon under the usual signals, alone or as a worker that a supervisor looks after."""

import asyncio
import json
import logging
import signal
from contextlib import closing
from typing import TextIO

from mta.config.load import Loaded
from mta.control.protocol import CommandFailed
from mta.daemon import Daemon
from mta.errors import ConfigError, StoreUnavailable
from mta.supervisor.lifeline import Lifeline, Order
from mta.supervisor.post import Post, taken

_log = logging.getLogger(__name__)


async def serve_until_stopped(loaded: Loaded, events: TextIO, messages: TextIO, post: Post | None = None) -> None:
    """Run a daemon under the usual signals: TERM and INT stop it (a second one does not wait), HUP reloads, USR1 tells.

    A worker under a supervisor is told by it whether to wait, and stops in order when the supervisor is gone.

    Raises:
        ConfigError: something that the settings name cannot be used.
        StoreUnavailable: the store cannot be opened.
    """
    try:
        if post is None:
            await _under_signals(Daemon(loaded, events, messages), None)
            return
        post.keep()
        (line,) = taken((post.lifeline,))
        with closing(line):
            lifeline = Lifeline(line)
            await _under_signals(Daemon(loaded, events, messages, post, lifeline.serving), lifeline)
    except ExceptionGroup as group:
        raise _only(group) from group


async def _under_signals(daemon: Daemon, lifeline: Lifeline | None) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(daemon.run())
        reloads: set[asyncio.Task[None]] = set()

        def end() -> None:
            daemon.stop()
            # a service manager may send one to every process, and the supervisor another
            if lifeline is None:
                alone()

        def alone() -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, running.cancel)

        def orphaned() -> None:
            _log.error("the supervisor is gone; this worker stops")
            daemon.stop()
            alone()

        def obey(order: Order) -> None:
            daemon.stop()
            if order is Order.NOW:
                running.cancel()

        def reload() -> None:
            task = tasks.create_task(_reload(daemon))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, reload)
        loop.add_signal_handler(signal.SIGUSR1, _say_state, daemon)
        if lifeline is not None:
            with lifeline.heard(obey, orphaned):
                await asyncio.wait({running})


def _only(error: Exception) -> Exception:
    """Return the one error inside task groups: what is known to the caller by its class must not hide in a group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _say_state(daemon: Daemon) -> None:
    try:
        _log.info("state: %s", json.dumps(daemon.status()))
    except CommandFailed as too_early:
        _log.info("state: %s", too_early)


async def _reload(daemon: Daemon) -> None:
    try:
        await daemon.reload()
    except ConfigError as error:
        _log.error("the configuration was not reloaded, the old one stays in force:\n%s", error)
    except (StoreUnavailable, CommandFailed) as trouble:
        _log.error("the configuration was not reloaded, the old one stays in force: %s", trouble)
