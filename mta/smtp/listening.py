"""Opens the sockets that doors listen at, and says what to do where that fails."""

import errno
import os
import socket

from mta.errors import ConfigError, Problem
from mta.smtp.settings import Endpoint

BACKLOG = 512
"""Connections that wait to be taken."""


def opened(endpoint: Endpoint, key: str) -> socket.socket:
    """Return a listening socket. `key` is where in the configuration the endpoint stands.

    Raises:
        ConfigError: there can be none.
    """
    try:
        return socket.create_server(
            (endpoint.host, endpoint.port),
            family=socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as error:
        raise ConfigError(_cannot_listen(key, endpoint, error)) from None


def _cannot_listen(key: str, endpoint: Endpoint, error: OSError) -> Problem:
    remedy = f"end the program that uses the port (ss -ltnp 'sport = :{endpoint.port}') or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "ports below 1024 are for root: give the service CAP_NET_BIND_SERVICE, or choose a higher port"
    elif error.errno == errno.EADDRNOTAVAIL:
        remedy = "that is no address of this machine (ip address): choose one that is"
    reason = f"cannot listen on {endpoint.host} port {endpoint.port}: {os.strerror(error.errno or 0)}"
    return Problem("", None, key, reason, remedy)
