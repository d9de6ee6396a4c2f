"""How `mta serve` becomes a supervisor: it checks, opens and locks everything, and then replaces itself.

What checks a configuration takes 50 MB of modules, for which a supervisor that only waits has no use. The process stays
the same one for whoever started it.
"""

import asyncio
import logging
import os
import sys
from typing import NoReturn

from mta.certificates import make_data_dir, server_certificate
from mta.clock import Clock
from mta.config.load import Loaded
from mta.control.lock import only_server
from mta.inspection import inspected
from mta.storage.connect import prepare
from mta.storage.rows import to_ms
from mta.supervisor.charge import Charge, arguments
from mta.supervisor.process import python_command
from mta.supervisor.sockets import listening

_log = logging.getLogger(__name__)


def become_supervisor(loaded: Loaded, workers: int, clock: Clock, *, plain_asyncio: bool) -> NoReturn:
    """Run several workers in place of this program.

    Raises:
        ConfigError: something that the settings name cannot be used.
        StoreUnavailable: the store cannot be opened.
    """
    settings = loaded.settings
    for warning in asyncio.run(inspected(loaded, clock)).warnings:
        _log.warning("%s", warning)
    make_data_dir(settings)
    with only_server(settings.data_dir) as lock:
        server_certificate(settings, clock)  # one that is made here is made once
        prepare(str(settings.store_path), to_ms(clock.now()))
        with listening(settings) as sockets:
            charge = Charge(
                config=os.path.abspath(loaded.path),
                workers=workers,
                hostname=settings.hostname,
                data_dir=str(settings.data_dir),
                log_level=settings.log.level,
                log_format=settings.log.format,
                lock=lock,
                submission=tuple(one.fileno() for one in sockets.submission),
                inbound=tuple(one.fileno() for one in sockets.inbound),
                http=tuple(one.fileno() for one in sockets.http),
                plain_asyncio=plain_asyncio,
            )
            for descriptor in (charge.lock, *charge.listeners):
                os.set_inheritable(descriptor, True)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.execv(sys.executable, arguments(charge, python_command()))  # noqa: S606  ourselves, without a shell
