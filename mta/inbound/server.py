"""The inbound listeners."""

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import ClassVar

from mta.inbound.connection import InboundConnection, InboundServices
from mta.smtp.server import DoorServer
from mta.smtp.settings import Kind
from mta.smtp.unbroken import Unbroken


class InboundServer(DoorServer):
    """Listens while it is entered: `async with InboundServer(…) as server`. TLS is offered, never required."""

    keys: ClassVar[Mapping[Kind, str]] = dict.fromkeys(Kind, "inbound.listen")

    def __init__(
        self, services: InboundServices, context: ssl.SSLContext, handed: Sequence[socket.socket] | None = None
    ) -> None:
        """`context`: the certificate that STARTTLS shows. `handed`: sockets that listen already."""
        super().__init__(services.settings, context, Unbroken(), handed=handed)
        self._services = services

    def _session(self, kind: Kind) -> InboundConnection:
        return InboundConnection(self._services, kind, self, self._unbroken)
