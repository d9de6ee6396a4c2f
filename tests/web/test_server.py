"""The HTTP server inside our loop: sockets, limits, signals and its end."""

import asyncio
import http.client
import signal
import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from starlette.types import Receive, Scope, Send

from mta.config.addresses import Listen
from mta.errors import ConfigError
from mta.web.server import HttpLimits, HttpServer, bound

ANYWHERE = (Listen("127.0.0.1", 0),)
QUICK = HttpLimits(request_time=timedelta(milliseconds=100), stop=timedelta(seconds=1))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Slow:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await hello(scope, receive, send)


async def get(server: HttpServer) -> http.client.HTTPResponse:
    def blocking() -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(server.addresses[0].host, server.addresses[0].port, timeout=10)
        connection.request("GET", "/")
        return connection.getresponse()

    return await asyncio.to_thread(blocking)


async def say(server: HttpServer, octets: bytes) -> bytes:
    """Send octets and return everything until the server closes."""
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    try:
        writer.write(octets)
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def test_it_serves_on_free_ports_of_several_addresses() -> None:
    async with HttpServer([Listen("127.0.0.1", 0), Listen("localhost", 0)], hello) as server:
        assert len({address.port for address in server.addresses} - {0}) == 2
        with await get(server) as response:
            assert (response.status, response.read()) == (200, b"hello")
        assert server.is_up


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_it_serves_on_ipv6() -> None:
    async with HttpServer([Listen("::1", 0)], hello) as server:
        with await get(server) as response:
            assert response.status == 200


async def test_it_does_not_say_what_it_is() -> None:
    async with HttpServer(ANYWHERE, hello) as server:
        with await get(server) as response:
            assert "Server" not in response.headers


async def test_after_its_end_nobody_listens() -> None:
    async with HttpServer(ANYWHERE, hello) as server:
        pass
    assert not server.is_up
    with pytest.raises(ConnectionRefusedError):
        await get(server)


async def test_signals_stay_the_daemons() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with HttpServer(ANYWHERE, hello) as server:
        with await get(server):
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_an_address_in_use_names_what_to_do_and_leaves_nothing_bound() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = HttpServer([Listen("127.0.0.1", 0), Listen("127.0.0.1", port)], hello)
        with pytest.raises(
            ConfigError, match=rf"http\.listen: cannot listen on 127\.0\.0\.1:{port}: .*; end the program"
        ):
            await server.__aenter__()
    assert not server.is_up


async def test_several_workers_share_a_socket_that_was_handed_to_them() -> None:
    (listener,) = bound(ANYWHERE)
    with listener:
        async with HttpServer(ANYWHERE, hello, handed=[listener.dup()]) as one:
            async with HttpServer(ANYWHERE, hello, handed=[listener.dup()]) as two:
                assert two.addresses == one.addresses
            answer = await say(one, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_header_without_end_is_cut_off() -> None:
    async with HttpServer(ANYWHERE, hello, QUICK) as server:
        answer = await say(server, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000)
        assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"])
async def test_a_request_that_never_ends_is_closed(begun: bytes) -> None:
    async with HttpServer(ANYWHERE, hello, QUICK) as server:
        answer = await say(server, begun)
        assert answer.endswith(b"hello") is (b"\r\n\r\n" in begun)


async def test_an_answer_under_way_is_not_cut_off_by_that() -> None:
    slow = Slow()
    async with HttpServer(ANYWHERE, slow, replace(QUICK, request_time=timedelta(milliseconds=1))) as server:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(get(server))
            await slow.asked.wait()
            await asyncio.sleep(0.02)  # several looks at the connection
            slow.may_answer.set()
        with asking.result() as response:
            assert response.read() == b"hello"


async def test_too_many_connections_are_answered_503() -> None:
    async with HttpServer(ANYWHERE, hello, HttpLimits(connections=1)) as server:
        with await get(server) as response:
            assert response.status == 503


async def test_an_answer_under_way_is_finished_at_the_end() -> None:
    slow = Slow()
    async with asyncio.TaskGroup() as tasks, HttpServer(ANYWHERE, slow) as server:
        asking = tasks.create_task(get(server))
        await slow.asked.wait()
        # the block's end comes first, then this
        asyncio.get_running_loop().call_soon(slow.may_answer.set)
    with asking.result() as response:
        assert response.read() == b"hello"


async def test_an_answer_that_does_not_come_does_not_hold_up_the_end() -> None:
    slow = Slow()
    reader_writer: list[asyncio.StreamWriter] = []
    async with asyncio.timeout(30):
        async with HttpServer(ANYWHERE, slow, QUICK) as server:
            address = server.addresses[0]
            _, writer = await asyncio.open_connection(address.host, address.port)
            reader_writer.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await slow.asked.wait()
    reader_writer[0].close()
    assert slow.cancelled


async def test_what_fails_inside_the_block_goes_on_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with HttpServer(ANYWHERE, hello):
            raise LookupError("mine")


async def test_cancelling_the_block_ends_the_server() -> None:
    server = HttpServer(ANYWHERE, hello)
    inside = asyncio.Event()

    async def run() -> None:
        async with server:
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.is_up


async def test_an_application_that_fails_answers_500_and_goes_on() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("unexpected")

    async with HttpServer(ANYWHERE, broken) as server:
        for _ in range(2):
            with await get(server) as response:
                assert response.status == 500
