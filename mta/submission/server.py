"""The submission listeners."""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from mta.accounts.account import Account
from mta.mail import failures
from mta.smtp.budget import ReceiveBudget
from mta.smtp.server import DoorServer
from mta.smtp.session import Session
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

    def __init__(
        self,
        services: Services,
        context: ssl.SSLContext,
        budget: ReceiveBudget | None = None,
        handed: Sequence[socket.socket] | None = None,
    ) -> None:
        """`budget`: room for contents that are being received; None: no limit. `handed`: as `DoorServer` has them."""
        super().__init__(services.settings, context, services.acceptor.unbroken, budget, handed)
        self._services = services
        self._seats: dict[Connection, str] = {}
        """Of whom an account is known: the account's name."""

    def _session(self, kind: Kind) -> Connection:
        return Connection(self._services, kind, self)

    def seat(self, session: Session, account: Account) -> bool:
        """Count a client as one of an account's, if the account may have one more in this process."""
        if not isinstance(session, Connection):
            raise TypeError(f"{session!r} is no session of this door")
        others = sum(name == account.name and other is not session for other, name in self._seats.items())
        if account.max_connections is not None and others >= account.max_connections:
            return False
        self._seats[session] = account.name
        return True

    def leave(self, session: Session) -> None:
        """A client has gone."""
        super().leave(session)
        if isinstance(session, Connection):
            self._seats.pop(session, None)

    def cut_accounts(self, gone: Callable[[str], bool]) -> int:
        """Cut off the clients of accounts that may not be used any more; return how many.

        A message of theirs that is being written is still answered; one that is being received is not taken.
        """
        clients = [(session, name) for session, name in self._seats.items() if gone(name)]
        for session, name in clients:
            session.dismiss(failures.account_gone(name))
        return len(clients)

    def replace_limits(self, settings: SubmissionSettings) -> None:
        """Use other limits for clients that come from now on. Our name, and where we listen, stay as they are."""
        own = self._services.settings
        kept = replace(settings, hostname=own.hostname, endpoints=own.endpoints)
        self._services = replace(self._services, settings=kept)
        self._settings = kept
