"""The sockets that all workers listen at: opened once, by the supervisor, and handed to every worker it starts.

A connection that waits in such a socket is taken by whichever worker is free; the death of one resets none of them, and
port 0 is the same port for all.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mta.config.settings import Settings
from mta.doors import inbound_settings, submission_settings
from mta.inbound.server import InboundServer
from mta.smtp.listening import opened
from mta.submission.server import SubmissionServer
from mta.web.server import bound


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listening sockets, in the order of the settings."""

    submission: tuple[socket.socket, ...]
    inbound: tuple[socket.socket, ...]
    http: tuple[socket.socket, ...]


@contextmanager
def listening(settings: Settings) -> Iterator[Sockets]:
    """Open every listener of the settings.

    Raises:
        ConfigError: one of them cannot be opened; none is.
    """
    with ExitStack() as stack:
        doors = (
            tuple(stack.enter_context(opened(endpoint, keys[endpoint.kind])) for endpoint in endpoints)
            for keys, endpoints in (
                (SubmissionServer.keys, submission_settings(settings).endpoints),
                (InboundServer.keys, inbound_settings(settings).endpoints),
            )
        )
        submission, inbound = doors
        http = tuple(stack.enter_context(one) for one in bound(settings.http.listen))
        yield Sockets(submission, inbound, http)
