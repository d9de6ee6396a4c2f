"""Getting a policy over real HTTPS on loopback, from hosts good and bad."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from mta.delivery.limits import Families
from mta.delivery.mta_sts import MAX_POLICY, Mode, Policy
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.sts_cache import FetchFailed
from mta.delivery.sts_fetch import PATH, FetchSettings, HttpsFetcher, Stream, TlsConnector, web_context
from mta.delivery.tls_failure import TlsFailure
from tests.delivery.pki import DAY, Identity, issue

NOW = datetime.now(UTC)  # the handshake reads the machine's clock
ROOT = issue("Root", NOW, ca=True)
NAME = "mta-sts.example.com"
GOOD = issue(NAME, NOW, ROOT, names=(NAME,))
EXPIRED = issue(NAME, NOW, ROOT, names=(NAME,), starts=-100 * DAY)
WRONG_NAME = issue("example.com", NOW, ROOT, names=("example.com",))
COMMON_NAME_ONLY = issue(NAME, NOW, ROOT)
SELF_SIGNED = issue(NAME, NOW, names=(NAME,))

BODY = b"version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 86400\n"
POLICY = Policy(Mode.ENFORCE, ("mx.example.com",), DAY)
LOOPBACK = (IPv4Network("127.0.0.0/8"),)
PATIENT = FetchSettings(Families.DUAL, LOOPBACK, timedelta(seconds=60), timedelta(seconds=60))
FETCH_ERROR = TlsFailure.STS_POLICY_FETCH_ERROR


def answer(body: bytes = BODY, status: str = "200 OK", type: str | None = "text/plain", *more: str) -> bytes:
    """Return an answer of HTTP."""
    fields = [f"Content-Type: {type}"] if type else []
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


def _short(value: object) -> str | None:
    """Some answers would make a test's name of 200 kB."""
    return repr(value[:40]) if isinstance(value, bytes) else None


class Zone:
    """Every host has these addresses."""

    def __init__(self, found: tuple[str, ...] | Exception = ("127.0.0.1",)) -> None:
        self._found = found

    async def addresses(self, host: str, families: Families) -> tuple[str, ...]:
        assert host == NAME
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


class Web:
    """An HTTPS server that says one thing."""

    def __init__(self, port: int, says: bytes) -> None:
        self.port = port
        self.says = says
        self.heard = b""
        self.hangs = asyncio.Event()

    def fetcher(self, ca_file: Path, settings: FetchSettings = PATIENT, zone: Zone | None = None) -> HttpsFetcher:
        """Return a fetcher that connects here."""
        return HttpsFetcher(zone or Zone(), TlsConnector(web_context(ca_file), self.port), settings)


@asynccontextmanager
async def serving(
    folder: Path, says: bytes = b"", identity: Identity = GOOD, *, hang: bool = False
) -> AsyncIterator[Web]:
    """Serve on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.write(folder / "web.pem"))
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            web.heard = await reader.readuntil(b"\r\n\r\n")
            writer.write(web.says)
            await writer.drain()
            if hang:
                await done.wait()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listener:
        web = Web(listener.sockets[0].getsockname()[1], says)
        try:
            yield web
        finally:
            done.set()


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    return ROOT.write(tmp_path / "ca.pem")


async def test_a_policy_is_got(tmp_path: Path, ca_file: Path) -> None:
    async with serving(tmp_path, answer()) as web:
        assert await web.fetcher(ca_file).fetch("example.com") == POLICY
    assert web.heard.startswith(f"GET {PATH} HTTP/1.1\r\n".encode())
    assert f"\r\nhost: {NAME}\r\n".encode() in web.heard.lower()


@pytest.mark.parametrize(
    "says",
    [
        answer(type="text/plain; charset=utf-8"),
        answer(type="TEXT/PLAIN"),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(),
        b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in BODY.splitlines(keepends=True))
        + b"0\r\n\r\n",
    ],
    ids=_short,
)
async def test_answers_have_many_shapes(tmp_path: Path, ca_file: Path, says: bytes) -> None:
    async with serving(tmp_path, says) as web:
        assert await web.fetcher(ca_file).fetch("example.com") == POLICY


@pytest.mark.parametrize(
    ("says", "failure"),
    [
        (answer(status="404 Not Found"), FETCH_ERROR),
        (answer(status="500 Oops"), FETCH_ERROR),
        (answer(b"", "301 Moved", None, "Location: https://mta-sts.example.com/other"), FETCH_ERROR),
        (answer(status="204 No Content", body=b""), FETCH_ERROR),
        (answer(type="text/html"), FETCH_ERROR),
        (answer(type=None), FETCH_ERROR),
        (answer(BODY, "200 OK", "text/plain", "Content-Encoding: gzip"), FETCH_ERROR),
        (answer(BODY + b"x: " + b"x" * MAX_POLICY), FETCH_ERROR),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * (MAX_POLICY + 200_000), FETCH_ERROR),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, FETCH_ERROR),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9000, FETCH_ERROR),
        (answer()[:-5], FETCH_ERROR),
        (b"", FETCH_ERROR),
        (b"220 mx.example.com ESMTP\r\n", FETCH_ERROR),
        (answer(b"<html>"), TlsFailure.STS_POLICY_INVALID),
        (answer(b""), TlsFailure.STS_POLICY_INVALID),
        (answer(b"\xff\xff"), TlsFailure.STS_POLICY_INVALID),
    ],
    ids=_short,
)
async def test_what_a_policy_host_does_wrong_is_told(
    tmp_path: Path, ca_file: Path, says: bytes, failure: TlsFailure
) -> None:
    async with serving(tmp_path, says) as web:
        with pytest.raises(FetchFailed, match=rf"^{NAME}: .+") as failed:
            await web.fetcher(ca_file).fetch("example.com")
    assert failed.value.failure is failure


@pytest.mark.parametrize("identity", [EXPIRED, WRONG_NAME, COMMON_NAME_ONLY, SELF_SIGNED])
async def test_a_bad_certificate_proves_no_policy(tmp_path: Path, ca_file: Path, identity: Identity) -> None:
    async with serving(tmp_path, answer(), identity) as web:
        with pytest.raises(FetchFailed) as failed:
            await web.fetcher(ca_file).fetch("example.com")
    assert failed.value.failure is TlsFailure.STS_WEBPKI_INVALID
    assert not web.heard


async def test_without_our_own_anchor_the_system_s_decide(tmp_path: Path) -> None:
    async with serving(tmp_path, answer()) as web:
        fetcher = HttpsFetcher(Zone(), TlsConnector(web_context(), web.port), PATIENT)
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch("example.com")
    assert failed.value.failure is TlsFailure.STS_WEBPKI_INVALID


async def test_a_host_that_hangs_is_waited_for_in_vain_only_so_long(tmp_path: Path, ca_file: Path) -> None:
    hasty = FetchSettings(Families.DUAL, LOOPBACK, timedelta(seconds=0.5), timedelta(seconds=60))
    async with serving(tmp_path, answer()[:-9], hang=True) as web:
        with pytest.raises(FetchFailed, match=r"in 0\.5 s"):
            await web.fetcher(ca_file, hasty).fetch("example.com")


class Forbidden:
    """Nobody may connect."""

    async def open(self, address: str, name: str) -> Stream:
        raise AssertionError(address)


@pytest.mark.parametrize(
    "found",
    [("127.0.0.1",), ("10.0.0.1", "::1"), ("::ffff:127.0.0.1",), (), NoSuchDomain(NAME), DnsTrouble("SERVFAIL")],
)
async def test_inner_addresses_are_never_connected_to(found: tuple[str, ...] | Exception) -> None:
    fetcher = HttpsFetcher(Zone(found), Forbidden(), FetchSettings())
    with pytest.raises(FetchFailed) as failed:
        await fetcher.fetch("example.com")
    assert failed.value.failure is FETCH_ERROR


async def test_an_address_that_refuses_leads_to_the_next(tmp_path: Path, ca_file: Path) -> None:
    async with serving(tmp_path, answer()) as web:
        # nobody listens at 127.0.0.2; 10.0.0.1 is not allowed and passed over
        zone = Zone(("127.0.0.2", "10.0.0.1", "127.0.0.1"))
        assert await web.fetcher(ca_file, zone=zone).fetch("example.com") == POLICY


async def test_nobody_listening_is_a_failure(ca_file: Path) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(FetchFailed) as failed:
        await Web(port, b"").fetcher(ca_file).fetch("example.com")
    assert failed.value.failure is FETCH_ERROR
