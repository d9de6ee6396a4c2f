"""Getting an MTA-STS policy: one GET over HTTPS to an address that was checked, followed nowhere (RFC 8461 §3.3).

Over `h11`, since one request needs no client that knows redirects, cookies, proxies and pools, all of which would have
to be switched off: whoever owns a domain chooses where this connection goes and what it reads.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import h11

from mta.delivery import guard
from mta.delivery.guard import Network
from mta.delivery.limits import Families
from mta.delivery.mta_sts import MAX_POLICY, Policy
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.sts_cache import FetchFailed
from mta.delivery.tls_failure import TlsFailure

PORT = 443
PATH = "/.well-known/mta-sts.txt"

_MAX_READ = MAX_POLICY + 64 * 1024
"""Octets that are read in all, header and framing included."""
_PIECE = 16 * 1024
_MAX_TRIES = 4
_SHOWN = 200


class Addresses(Protocol):
    """What is asked of DNS."""

    async def addresses(self, host: str, families: Families) -> tuple[str, ...]:
        """Return a host's addresses. Raises NoSuchDomain or DnsTrouble."""
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Connector(Protocol):
    """Opens connections."""

    async def open(self, address: str, name: str) -> Stream:
        """Connect to an address and shake hands with the host of that name, verified. Raises OSError."""
        ...


class TlsConnector:
    """The real one."""

    def __init__(self, context: ssl.SSLContext, port: int = PORT) -> None:
        self._context = context
        self._port = port

    async def open(self, address: str, name: str) -> Stream:
        """Connect and shake hands. Raises OSError, of which ssl.SSLError is one."""
        # the limit of asyncio's own buffer is not what bounds the answer: `read` never waits for more than a piece
        opened = await asyncio.open_connection(address, self._port, ssl=self._context, server_hostname=name)
        return Stream(*opened)


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How policies are got."""

    families: Families = Families.DUAL
    allow_networks: tuple[Network, ...] = ()
    """Exceptions from what `guard` refuses."""
    timeout: timedelta = timedelta(seconds=60)
    """For all of it (RFC 8461 §3.3)."""
    connect: timedelta = timedelta(seconds=15)
    """For one address, handshake included."""


def web_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a context that verifies certificates by the system's anchors, and by more of them from a file.

    Also what an MX host is verified with under MTA-STS (RFC 8461 §4.2). Raises OSError for a file that is none.
    """
    context = ssl.create_default_context()
    context.hostname_checks_common_name = False
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class HttpsFetcher:
    """Gets policies from where they are published."""

    def __init__(self, resolver: Addresses, connector: Connector, settings: FetchSettings) -> None:
        self._resolver = resolver
        self._connector = connector
        self._settings = settings

    async def fetch(self, domain: str) -> Policy:
        """Return the policy of a domain, in lower-case A-labels. Raises FetchFailed, whatever goes wrong."""
        name = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                octets = await self._get(name)
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed(TlsFailure.STS_WEBPKI_INVALID, f"{name}: {error.verify_message}") from error
        except TimeoutError as error:
            why = f"{name}: no policy in {self._settings.timeout.total_seconds():g} s"
            raise FetchFailed(TlsFailure.STS_POLICY_FETCH_ERROR, why) from error
        except (OSError, h11.ProtocolError, NoSuchDomain, DnsTrouble, _Unfit) as error:
            why = f"{name}: {str(error)[:_SHOWN] or type(error).__name__}"
            raise FetchFailed(TlsFailure.STS_POLICY_FETCH_ERROR, why) from error
        try:
            return Policy.parse(octets)
        except ValueError as error:
            raise FetchFailed(TlsFailure.STS_POLICY_INVALID, f"{name}: {error}") from error

    async def _get(self, name: str) -> bytes:
        async with self._connection(name) as stream:
            http = h11.Connection(h11.CLIENT)
            # identity: what is packed might unpack to anything
            headers = [("Host", name), ("Accept", "text/plain"), ("Accept-Encoding", "identity"), ("User-Agent", "mta")]
            request = h11.Request(method="GET", target=PATH, headers=[*headers, ("Connection", "close")])
            stream.writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
            await stream.writer.drain()
            return await _answer(http, stream.reader)

    @asynccontextmanager
    async def _connection(self, name: str) -> AsyncIterator[Stream]:
        stream = await self._connect(name)
        try:
            yield stream
        finally:
            # at once: no farewell of a host is waited for
            stream.writer.transport.abort()

    async def _connect(self, name: str) -> Stream:
        """Connect to the first address that answers, of those that may be connected to."""
        found = await self._resolver.addresses(name, self._settings.families)
        judged = [(address, guard.refusal(address, self._settings.allow_networks)) for address in found]
        usable = [address for address, why in judged if why is None][:_MAX_TRIES]
        if not usable:
            listed = ", ".join(f"{address} ({why})" for address, why in judged[:_MAX_TRIES])
            raise _Unfit(f"only addresses that nothing is asked of: {listed}" if listed else "no address")
        failed: OSError | None = None
        for address in usable:
            try:
                async with asyncio.timeout(self._settings.connect.total_seconds()):
                    return await self._connector.open(address, name)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:  # TimeoutError is one
                failed = error
        raise failed or OSError("no connection")


class _Unfit(Exception):
    """The answer, or the way to it, is not as it must be."""


async def _answer(http: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    """Return the body of a good answer (RFC 8461 §3.3)."""
    body = bytearray()
    read = 0
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                piece = await reader.read(_PIECE)
                read += len(piece)
                if read > _MAX_READ:
                    raise _Unfit(f"an answer of more than {_MAX_READ} octets")
                http.receive_data(piece)
            case h11.Response() as response:
                _check(response)
            case h11.Data(data=data):
                body += data
                if len(body) > MAX_POLICY:
                    raise _Unfit(f"a policy of more than {MAX_POLICY} octets")
            case h11.EndOfMessage():
                return bytes(body)
            case h11.InformationalResponse():
                pass  # the real one follows; how much may come is bounded
            case _:
                raise _Unfit("the connection was closed before the answer")


def _check(response: h11.Response) -> None:
    headers = {bytes(name).lower(): bytes(value) for name, value in response.headers}
    if response.status_code != 200:
        # a redirect is not followed (RFC 8461 §3.3): only the name of the policy host proves whose policy it is
        raise _Unfit(f"answered {response.status_code}")
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        raise _Unfit(f"a policy of type {media_type.decode('ascii', 'replace')[:_SHOWN]!r}, not text/plain")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise _Unfit("an encoded policy")
