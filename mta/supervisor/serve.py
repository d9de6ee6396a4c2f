"""A supervisor's life: its crew, its control socket, and the signals.

It holds no message and no connection of anybody but commands.
"""

import asyncio
import json
import logging
import signal
from dataclasses import asdict
from pathlib import Path

from mta.control.protocol import SOCKET
from mta.control.server import ControlServer
from mta.supervisor.charge import Charge
from mta.supervisor.crew import Crew
from mta.supervisor.post import worker_socket
from mta.supervisor.relay import Relay

_log = logging.getLogger(__name__)


async def supervise(charge: Charge, crew: Crew) -> int:
    """Run a crew until a signal; return how many of its workers had to be killed in the end.

    TERM and INT stop them (a second one: without waiting), HUP and USR1 are passed on.

    Raises:
        ConfigError: there can be no control socket.
        Refused: a worker cannot use the configuration, and has said why.
    """
    folder = charge.folder
    relay = Relay(crew, lambda number: worker_socket(folder, number), charge.hostname)
    _remove_sockets(folder)
    _log.info("beginning %d workers", charge.workers)
    _obey_signals(charge, crew)
    try:
        async with ControlServer(folder / SOCKET, relay):
            killed = await crew.run()
    finally:
        _remove_sockets(folder)
    _log.info("stopped")
    return killed


def _obey_signals(charge: Charge, crew: Crew) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        _log.info("stopping %d workers", charge.workers)
        if not crew.is_stopping:
            # clients that come now are refused, and not left waiting for nobody
            charge.stop_listening()
        crew.stop()

    def tell() -> None:
        _log.info("state: %s", json.dumps({"workers": [asdict(place) for place in crew.places]}))
        crew.signal(signal.SIGUSR1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, crew.signal, signal.SIGHUP)
    loop.add_signal_handler(signal.SIGUSR1, tell)


def _remove_sockets(folder: Path) -> None:
    """Remove what workers that were killed left behind."""
    for path in folder.glob(worker_socket(folder, 0).name.replace("0", "[0-9]*")):
        path.unlink(missing_ok=True)
