"""Opening and closing the listeners: who is let finish, and who hears 421."""

import asyncio
import ssl
from datetime import timedelta
from typing import cast

import pytest
from aiosmtpd.smtp import SMTP

from mta.errors import ConfigError
from mta.smtp.listening import opened
from mta.smtp.settings import Endpoint, Kind
from mta.submission.connection import Connection, Services
from mta.submission.server import SubmissionServer
from mta.submission.settings import SubmissionSettings
from tests.submission.conftest import HEADER, HOSTNAME, House, OpenHouse


async def test_every_endpoint_is_listened_at(house: House) -> None:
    assert [(bound.kind, bound.host) for bound in house.server.addresses] == [(kind, "127.0.0.1") for kind in Kind]
    assert all(bound.port for bound in house.server.addresses)


async def test_the_greeting_names_us_and_no_version(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port())
    assert await reader.readline() == b"220 mail.own.example ESMTP mta\r\n"
    writer.close()


async def test_idle_clients_hear_421_when_it_stops(house: House) -> None:
    async with await house.talk() as idle, await house.logged_in() as in_transaction:
        await in_transaction.ask("MAIL FROM:<a@own.example>")
        async with asyncio.timeout(30):
            await house.server.stop()
        for talk in (idle, in_transaction):
            assert await talk.rest() == b"421 4.3.2 Service shutting down\r\n"
    assert house.server.connections == 0


async def test_nobody_is_let_in_any_more_once_it_stops(house: House) -> None:
    port = house.port()
    await house.server.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_message_on_its_way_is_finished_when_it_stops(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        await talk.send(HEADER)
        stopping = asyncio.ensure_future(house.server.stop())
        await asyncio.sleep(0)
        await talk.send(b"\r\nbody\r\n.\r\n")
        replies = (await talk.rest()).decode().splitlines()
        await stopping
    assert [reply[:9] for reply in replies] == ["250 2.0.0", "421 4.3.2"]
    assert len(house.messages) == 1


async def test_a_message_that_does_not_come_to_its_end_is_cut_off(
    open_house: OpenHouse, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(stop_grace=timedelta(milliseconds=50)) as house, await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        await talk.send(HEADER)
        async with asyncio.timeout(30):
            await house.server.stop()
        assert await talk.rest() == b""
    assert "server stopped: 1" in caplog.text
    assert house.messages == []


async def test_stopping_twice_is_stopping_once(house: House) -> None:
    await house.server.stop()
    await house.server.stop()


async def test_an_endpoint_that_is_taken_is_named_and_the_others_are_closed_again(
    house: House, server_context: ssl.SSLContext
) -> None:
    taken = house.port()
    endpoints = (Endpoint(Kind.PLAIN, "127.0.0.1", 0), Endpoint(Kind.PLAIN, "127.0.0.1", taken))
    services = Services(
        SubmissionSettings(HOSTNAME, endpoints), house.authenticator, house.acceptor, lambda domain: False, lambda: "1"
    )
    second = SubmissionServer(services, server_context)
    with pytest.raises(ConfigError, match=rf"listen_plain.*{taken}.*in use"):
        await second.__aenter__()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", second.addresses[0].port)


async def test_workers_are_handed_sockets_that_listen_already(house: House, server_context: ssl.SSLContext) -> None:
    endpoint = Endpoint(Kind.PLAIN, "127.0.0.1", 0)
    services = Services(
        SubmissionSettings(HOSTNAME, (endpoint,)),
        house.authenticator,
        house.acceptor,
        lambda domain: False,
        lambda: "1",
    )
    with opened(endpoint, "submission.listen_plain") as listener:
        address = listener.getsockname()
        async with SubmissionServer(services, server_context, handed=[listener.dup()]) as one:
            async with SubmissionServer(services, server_context, handed=[listener.dup()]) as two:
                assert [(bound.host, bound.port) for bound in (*one.addresses, *two.addresses)] == [address, address]
            # the other one has ended, and closed only its own hold on the socket
            reader, writer = await asyncio.open_connection(*address)
            assert (await reader.readline()).startswith(b"220 ")
            writer.close()


async def test_a_client_that_reads_nothing_does_not_fill_our_memory(open_house: OpenHouse) -> None:
    async with open_house(idle_timeout=timedelta(milliseconds=300)) as house, await house.talk() as talk:
        cast(asyncio.Transport, talk.writer.transport).pause_reading()

        async def ask_for_ever() -> None:
            while True:
                await talk.send(b"EHLO x\r\n" * 10_000)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_for_ever(), 15)
        await house.emptied()


def test_no_verb_of_aiosmtpd_is_left_as_it_was() -> None:
    verbs = [name for name in dir(SMTP) if name.startswith("smtp_")]
    assert verbs
    assert [name for name in verbs if getattr(Connection, name) is getattr(SMTP, name)] == []
