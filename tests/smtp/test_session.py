"""What comes before the greeting, and how sessions are ended: for every door alike."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, cast

import pytest
import uvloop

from mta.mail import failures
from mta.smtp.settings import Kind
from tests.smtp.certificates import HOSTNAME
from tests.smtp.door import open_door
from tests.smtp.talk import Talk, trickling

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
HEADER = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 587\r\n"
BLOCK = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([192, 0, 2, 7, 127, 0, 0, 1])
    + struct.pack("!HH", 4711, 587)
)  # fmt: skip
GREETING = "220 mail.own.example ESMTP mta"
SHORT = timedelta(milliseconds=50)

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs a story on one of the loops."""

    def on_loop(story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(60):
                await story()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(whole())

    return on_loop


# --- the PROXY header


@pytest.mark.parametrize("header", [HEADER, BLOCK], ids=["version 1", "version 2"])
@pytest.mark.parametrize("kind", Kind)
def test_the_client_is_the_one_for_whom_the_balancer_speaks(
    run: Run, server_context: ssl.SSLContext, client_context: ssl.SSLContext, kind: Kind, header: bytes
) -> None:
    async def story() -> None:
        async with open_door(server_context, proxy_protocol_from=LOOPBACK) as door:
            loop = asyncio.get_running_loop()
            client = socket.create_connection(("127.0.0.1", door.port(kind)))
            client.setblocking(False)
            if kind is Kind.TLS:
                # header and the beginning of TLS arrive together
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = client_context.wrap_bio(incoming, outgoing, server_hostname=HOSTNAME)
                with pytest.raises(ssl.SSLWantReadError):
                    tls.do_handshake()
                await loop.sock_sendall(client, header + outgoing.read())
                while True:
                    incoming.write(await loop.sock_recv(client, 65536))
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        continue
                tls.write(b"QUIT\r\n")
                await loop.sock_sendall(client, outgoing.read())
                said = b""
                while not said.endswith(b"Bye\r\n"):
                    incoming.write(await loop.sock_recv(client, 65536))
                    try:
                        said += tls.read(65536)
                    except ssl.SSLWantReadError:
                        continue
                assert said.decode().splitlines() == [GREETING, "221 2.0.0 Bye"]
                client.close()
            else:
                talk = Talk(*await asyncio.open_connection(sock=client))
                await talk.send(header + b"EHLO x\r\nMAIL x\r\nRCPT x\r\nBDAT 3 LAST\r\na\r\nQUIT\r\n")
                assert (await talk.rest()).decode().splitlines()[0] == GREETING
                assert [client.address for client in door.shelf.clients] == ["192.0.2.7"]
                talk.writer.close()

    run(story)


@pytest.mark.parametrize("first", [b"EHLO x\r\n", b"PROXY TCP4 x y 1 2\r\n", b"\x16\x03\x01" + bytes(40), b"PRO"])
@pytest.mark.parametrize("kind", Kind)
def test_a_balancers_connection_without_a_header_is_dropped(
    run: Run, server_context: ssl.SSLContext, kind: Kind, first: bytes
) -> None:
    async def story() -> None:
        async with open_door(server_context, proxy_protocol_from=LOOPBACK, handshake_timeout=SHORT) as door:
            async with await door.connect(kind) as talk:
                await talk.send(first)
                with contextlib.suppress(ConnectionResetError):  # says the same
                    assert await talk.rest() == b""
            await door.until(clients=0)

    run(story)


async def test_a_balancer_that_only_looks_is_not_complained_about(
    server_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_door(server_context, proxy_protocol_from=LOOPBACK) as door:
        async with await door.connect() as talk:
            talk.writer.write_eof()
            assert await talk.rest() == b""
        await door.until(clients=0)
    assert "PROXY" not in caplog.text


async def test_a_balancer_that_speaks_for_itself_is_the_client(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, proxy_protocol_from=LOOPBACK) as door, await door.connect() as talk:
        await talk.send(b"PROXY UNKNOWN\r\nEHLO x\r\nMAIL x\r\nRCPT x\r\nBDAT 0 LAST\r\nQUIT\r\n")
        await talk.rest()
        assert [client.address for client in door.shelf.clients] == ["127.0.0.1"]


async def test_a_header_from_anywhere_else_is_no_command(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, proxy_protocol_from=(ip_network("192.0.2.0/24"),)) as door:
        talk = await door.connect()
        await talk.send(HEADER)
        assert await talk.hear() == GREETING
        assert await talk.hear() == str(failures.UNKNOWN_COMMAND)
        talk.writer.close()


async def test_connections_are_counted_by_the_address_in_the_header(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, proxy_protocol_from=LOOPBACK, max_connections_per_address=1) as door:
        first, second, other = [await door.connect() for _ in range(3)]
        await first.send(HEADER)
        assert await first.hear() == GREETING
        await second.send(HEADER)
        assert await second.rest() == b"421 4.7.0 Error: too many connections\r\n"
        await other.send(HEADER.replace(b".7 ", b".8 "))
        assert await other.hear() == GREETING
        for talk in (first, second, other):
            talk.writer.close()


# --- who may come in


@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
def test_a_connection_counts_from_its_first_moment(run: Run, server_context: ssl.SSLContext, kind: Kind) -> None:
    async def story() -> None:
        async with open_door(server_context, max_connections=2) as door:
            stalled = [await door.connect(kind) for _ in range(2)]
            await door.until(clients=2)
            async with await door.connect() as late:
                assert await late.rest() == b"421 4.7.0 Error: too many connections\r\n"
            async with await door.connect(Kind.TLS) as late:
                assert await late.rest() == b""
            assert door.counts.rejections == [("connections", "submission")] * 2
            for talk in stalled:
                talk.writer.close()
            await door.until(clients=0)

    run(story)


async def test_stalled_handshakes_end_and_make_room(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, max_connections=20, handshake_timeout=SHORT) as door:
        stalled = [await door.connect(Kind.TLS) for _ in range(20)]
        for talk in stalled:
            assert await talk.rest() == b""
            talk.writer.close()
        await door.until(clients=0)
        async with await door.talk() as talk:
            assert (await talk.ask("NOOP")).startswith("250")


async def test_a_client_that_talks_before_the_greeting_is_cut(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, banner_delay=timedelta(seconds=60)) as door:
        async with await door.connect() as talk:
            await talk.send(b"EHLO x\r\nMAIL FROM:<>\r\n")
            assert await talk.rest() == b"554 5.5.1 Error: data before the greeting\r\n"
        assert door.counts.rejections == [("syntax", "submission")]


@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
def test_one_that_waits_is_greeted(
    run: Run, server_context: ssl.SSLContext, client_context: ssl.SSLContext, kind: Kind
) -> None:
    async def story() -> None:
        async with open_door(server_context, banner_delay=SHORT) as door:
            context = client_context if kind is Kind.TLS else None
            name = HOSTNAME if context else None
            streams = await asyncio.open_connection("127.0.0.1", door.port(kind), ssl=context, server_hostname=name)
            async with Talk(*streams) as talk:
                assert await talk.hear() == GREETING
                assert (await talk.ask("NOOP")).startswith("250")

    run(story)


async def test_one_that_leaves_before_the_greeting_is_forgotten(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, banner_delay=timedelta(seconds=600)) as door:
        async with await door.connect() as talk:
            talk.writer.write_eof()
            assert await talk.rest() == b""
        await door.until(clients=0)


# --- how it ends


@pytest.mark.parametrize("settings", [{}, {"banner_delay": timedelta(seconds=600)}, {"proxy_protocol_from": LOOPBACK}])
@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
def test_nobody_who_is_still_arriving_keeps_the_server_from_stopping(
    run: Run, server_context: ssl.SSLContext, kind: Kind, settings: dict[str, Any]
) -> None:
    async def story() -> None:
        async with open_door(server_context, stop_grace=timedelta(seconds=600), **settings) as door:
            talk = await door.connect(kind)
            await door.until(clients=1)
            await door.stop()
            assert door.connections == 0
            await talk.rest()
            talk.writer.close()

    run(story)


async def test_commands_that_lead_to_no_message_end_the_session(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, max_commands_without_mail=5) as door, await door.connect() as talk:
        await talk.send(b"NOOP\r\n" * 50)
        replies = (await talk.rest()).decode().splitlines()
        assert replies[1:] == [str(failures.OK)] * 6 + ["421 4.7.0 Error: too many commands without a message"]
        assert door.counts.rejections == [("errors", "submission")]


async def test_recipients_and_messages_are_no_such_commands(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, max_commands_without_mail=3) as door, await door.talk() as talk:
        for _ in range(5):
            await talk.send(b"MAIL x\r\n" + b"RCPT x\r\n" * 20 + b"BDAT 3 LAST\r\na\r\n")
            replies = [await talk.hear() for _ in range(22)]
            assert {reply[:3] for reply in replies} == {"250"}
        assert len(door.shelf.contents) == 5


async def test_a_command_that_trickles_is_not_waited_for_longer_than_a_silent_client(
    server_context: ssl.SSLContext,
) -> None:
    """The limit is for the whole command: no octet of it renews it."""
    half_a_second = timedelta(milliseconds=500)
    async with open_door(server_context, idle_timeout=half_a_second) as door, await door.connect() as talk:
        await talk.hear()
        async with trickling(talk, b"N"):
            assert await talk.hear() == "421 4.4.2 Error: timeout exceeded"


async def test_a_half_closed_connection_hears_its_replies_and_ends(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context) as door:
        async with await door.connect() as talk:
            await talk.send(b"EHLO x\r\nMAIL x\r\nRCPT x\r\nBDAT 3 LAST\r\na\r\nNO")
            talk.writer.write_eof()
            assert (await talk.rest()).decode().splitlines()[-1] == "250 2.0.0 Ok: queued as q1"
        await door.until(clients=0)


async def test_a_client_that_reads_no_reply_is_cut_and_its_replies_take_little_room(
    server_context: ssl.SSLContext,
) -> None:
    settings: dict[str, Any] = {"idle_timeout": timedelta(milliseconds=300), "max_commands_without_mail": 10**9}
    async with open_door(server_context, **settings) as door, await door.connect() as talk:
        cast(asyncio.Transport, talk.writer.transport).pause_reading()

        async def ask_for_ever() -> None:
            while True:
                await talk.send(b"EHLO x\r\n" * 10_000)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_for_ever(), 30)
        await door.until(clients=0)


async def test_what_is_said_behind_the_last_word_is_not_obeyed(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context) as door, await door.transaction() as talk:
        door.shelf.gate.clear()
        await talk.send(b"BDAT 3 LAST\r\na\r\nMAIL x\r\nRCPT x\r\nBDAT 3 LAST\r\nb\r\n")
        await door.shelf.asked.wait()
        stopping = asyncio.ensure_future(door.stop())
        await asyncio.sleep(0)
        door.shelf.gate.set()
        replies = (await talk.rest()).decode().splitlines()
        await stopping
        assert replies == ["250 2.0.0 Ok: queued as q1", "421 4.3.2 Service shutting down"]
        assert door.shelf.contents == [b"a\r\n"]
