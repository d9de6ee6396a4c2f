"""TLS contexts for connections to hosts: one for each way of verifying and each certificate of our own."""

import ssl
from pathlib import Path

from mta.delivery.sts_fetch import web_context
from mta.delivery.tls_policy import Demand
from mta.queue.seams import Host

_Key = tuple[bool, bool, str | None, str | None]


def opportunistic_context() -> ssl.SSLContext:
    """Return a TLS context that verifies nothing: it keeps out who only listens, and the alternative is plaintext."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Contexts:
    """Makes contexts when they are first needed, and keeps them: reading the system's anchors takes milliseconds."""

    def __init__(self, ca_file: Path | None = None) -> None:
        """`ca_file` holds more trust anchors. It is read when something is first verified."""
        self._ca_file = ca_file
        self._made: dict[_Key, ssl.SSLContext] = {}

    def forget(self) -> None:
        """Read all files again when they are next needed."""
        self._made = {}

    def of(self, host: Host, demand: Demand, *, testing: bool) -> ssl.SSLContext:
        """Return what a handshake is made with. `testing`: what a policy in testing mode would want counts, too.

        The name is checked by OpenSSL where it is the one that is sent, else by the caller.

        Raises:
            OSError: a file of the operator's cannot be read, or is none (ssl.SSLError is one).
        """
        names = demand.pkix_names or (demand.testing_names if testing else ())
        verifies = bool(names)
        checks_name = verifies and names == (demand.server_name,)
        key = (verifies, checks_name, host.client_cert, host.client_key)
        context = self._made.get(key)
        if context is None:
            context = self._made[key] = self._make(*key)
        return context

    def _make(self, verifies: bool, checks_name: bool, cert: str | None, key: str | None) -> ssl.SSLContext:
        context = web_context(self._ca_file) if verifies else opportunistic_context()
        if verifies:
            context.check_hostname = checks_name
        if cert is not None:
            context.load_cert_chain(cert, key)
        return context
