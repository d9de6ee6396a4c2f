"""The inbound listeners."""

import ssl
from collections.abc import Mapping
from typing import ClassVar

from mta.inbound.connection import InboundConnection, InboundServices
from mta.smtp.server import DoorServer
from mta.smtp.settings import Kind
from mta.smtp.unbroken import Unbroken


class InboundServer(DoorServer):
    """Listens while it is entered: `async with InboundServer(…) as server`. TLS is offered, never required."""

    keys: ClassVar[Mapping[Kind, str]] = dict.fromkeys(Kind, "inbound.listen")

    def __init__(self, services: InboundServices, context: ssl.SSLContext) -> None:
        """`context`: the certificate that STARTTLS shows."""
        super().__init__(services.settings, context, Unbroken())
        self._services = services

    def _session(self, kind: Kind) -> InboundConnection:
        return InboundConnection(self._services, kind, self, self._unbroken)
