"""The submission listeners."""

import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from mta.smtp.server import DoorServer
from mta.smtp.settings import Kind
from mta.submission.connection import Connection, Services
from mta.submission.settings import SubmissionSettings


class SubmissionServer(DoorServer):
    """Listens while it is entered: `async with SubmissionServer(…) as server`."""

    keys: ClassVar[Mapping[Kind, str]] = {
        Kind.STARTTLS: "submission.listen",
        Kind.TLS: "submission.listen_tls",
        Kind.PLAIN: "submission.listen_plain",
    }

    def __init__(self, services: Services, context: ssl.SSLContext) -> None:
        super().__init__(services.settings, context, services.acceptor.unbroken)
        self._services = services

    def _session(self, kind: Kind) -> Connection:
        return Connection(self._services, kind, self)

    def replace_limits(self, settings: SubmissionSettings) -> None:
        """Use other limits for clients that come from now on. Our name, and where we listen, stay as they are."""
        own = self._services.settings
        kept = replace(settings, hostname=own.hostname, endpoints=own.endpoints, reuse_port=own.reuse_port)
        self._services = replace(self._services, settings=kept)
        self._settings = kept
