"""STARTTLS and implicit TLS, on both event loops: what came in clear is forgotten, and passwords wait for TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import trustme
import uvloop

from mta.smtp.settings import Endpoint, Kind
from tests.submission.conftest import HEADER, HOSTNAME, PLAIN, House, OpenHouse, Talk

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs a story on one of the loops."""

    def on_loop(story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(30):
                await story()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(whole())

    return on_loop


async def encrypted(house: House) -> Talk:
    """Connect and go under TLS by command."""
    talk = await house.talk(Kind.STARTTLS)
    await talk.ask("EHLO client.example.net")
    assert await talk.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
    await talk.writer.start_tls(house.client_context, server_hostname=HOSTNAME)
    return talk


@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
def test_a_large_message_comes_through_tls(run: Run, open_house: OpenHouse, kind: Kind) -> None:
    async def story() -> None:
        body = b"".join(b"%06d 0123456789\r\n" % n for n in range(60_000))
        async with open_house() as house:
            async with await (encrypted(house) if kind is Kind.STARTTLS else house.talk(kind)) as talk:
                await talk.ask("EHLO client.example.net")
                assert (await talk.ask(f"AUTH PLAIN {PLAIN}")).startswith("235")
                assert (await talk.submit(HEADER + b"\r\n" + body + b".\r\n")).startswith("250")
            assert house.octets().endswith(b"\r\n\r\n" + body)
            assert b" with ESMTPSA id " in house.octets()
            (event,) = house.watcher.events
            assert event.detail["tls"] == "TLSv1.3"

    run(story)


@pytest.mark.parametrize("command", [f"AUTH PLAIN {PLAIN}", "AUTH LOGIN", "auth plain"])
def test_no_password_is_asked_for_in_clear(run: Run, open_house: OpenHouse, command: str) -> None:
    async def story() -> None:
        async with open_house() as house, await house.talk(Kind.STARTTLS) as talk:
            assert "AUTH" not in await talk.ask("EHLO x")
            assert (await talk.ask(command)).startswith("538 5.7.11")
            assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("530 5.7.0")

    run(story)


@pytest.mark.parametrize("behind", [b"EHLO evil\r\n", b"X", b"\r\n", b"\x16\x03\x01"])
def test_commands_behind_starttls_are_not_taken_as_if_under_tls(run: Run, open_house: OpenHouse, behind: bytes) -> None:
    """CVE-2011-0411, CVE-2024-34083."""

    async def story() -> None:
        async with open_house() as house, await house.talk(Kind.STARTTLS) as talk:
            await talk.ask("EHLO x")
            await talk.send(b"STARTTLS\r\n" + behind)
            assert await talk.rest() == b"554 5.5.1 Error: commands pipelined after STARTTLS\r\n"

    run(story)


def test_what_was_said_before_tls_is_forgotten(run: Run, open_house: OpenHouse) -> None:
    async def story() -> None:
        async with open_house() as house, await encrypted(house) as talk:
            assert (await talk.ask(f"AUTH PLAIN {PLAIN}")).startswith("503 5.5.1 Error: send HELO/EHLO first")
            assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("503 5.5.1")

    run(story)


def test_tls_starts_once(run: Run, open_house: OpenHouse) -> None:
    async def story() -> None:
        async with open_house() as house:
            async with await encrypted(house) as talk:
                assert "STARTTLS" not in await talk.ask("EHLO x")
                assert (await talk.ask("STARTTLS")).startswith("503 5.5.1")
                assert (await talk.ask("NOOP")).startswith("250")
            async with await house.talk(Kind.TLS) as talk:
                assert (await talk.ask("STARTTLS")).startswith("503 5.5.1")

    run(story)


@pytest.mark.parametrize("argument", ["now", "STARTTLS"])
def test_starttls_takes_no_argument(run: Run, open_house: OpenHouse, argument: str) -> None:
    async def story() -> None:
        async with open_house() as house, await house.talk(Kind.STARTTLS) as talk:
            assert (await talk.ask(f"STARTTLS {argument}")).startswith("501 5.5.4")
            assert (await talk.ask("STARTTLS")).startswith("220 2.0.0")

    run(story)


@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
@pytest.mark.parametrize("junk", [b"EHLO x\r\nMAIL FROM:<>\r\n", b"\x00" * 100, b"\x16\x03\x01\x00\x02xx"])
def test_a_client_that_does_not_speak_tls_is_left(run: Run, open_house: OpenHouse, kind: Kind, junk: bytes) -> None:
    async def story() -> None:
        async with open_house(handshake_timeout=timedelta(milliseconds=200)) as house:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port(kind))
            if kind is Kind.STARTTLS:
                await reader.readline()
                writer.write(b"STARTTLS\r\n")
                await reader.readline()
            writer.write(junk)
            left = b""
            with contextlib.suppress(ConnectionError):  # a reset says the same
                left = await reader.read()
            # at most an alert of TLS, never a reply in clear
            assert not left or left[0] == 0x15
            writer.close()
            await house.emptied()

    run(story)


@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
def test_a_handshake_that_never_comes_ends(run: Run, open_house: OpenHouse, kind: Kind) -> None:
    async def story() -> None:
        async with open_house(handshake_timeout=timedelta(milliseconds=50)) as house:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port(kind))
            if kind is Kind.STARTTLS:
                await reader.readline()
                writer.write(b"STARTTLS\r\n")
                await reader.readline()
            assert await reader.read() == b""
            writer.close()
            await house.emptied()

    run(story)


def test_a_client_hello_that_comes_with_the_connection_is_not_lost(run: Run, open_house: OpenHouse) -> None:
    async def story() -> None:
        async with open_house() as house:
            talks = await asyncio.gather(*(house.talk(Kind.TLS) for _ in range(20)))
            for talk in talks:
                assert (await talk.ask("NOOP")).startswith("250")
                talk.writer.close()

    run(story)


def test_a_new_certificate_holds_from_the_next_handshake(run: Run, open_house: OpenHouse) -> None:
    async def story() -> None:
        other = trustme.CA()
        renewed, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        other.issue_cert(HOSTNAME).configure_cert(renewed)
        other.configure_trust(trusting)
        async with open_house() as house, await house.talk(Kind.TLS) as early:
            await house.server.replace_context(renewed)
            with pytest.raises(ssl.SSLCertVerificationError):
                await house.talk(Kind.TLS)
            house.client_context = trusting
            async with await house.talk(Kind.TLS) as late, await encrypted(house) as by_command:
                for talk in (early, late, by_command):
                    assert (await talk.ask("NOOP")).startswith("250")

    run(story)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_passwords_in_clear_are_for_loopback_only(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Endpoint(Kind.PLAIN, host, 2525)


def test_other_endpoints_may_be_anywhere() -> None:
    arguments: list[Any] = [
        (Kind.STARTTLS, "0.0.0.0"),
        (Kind.TLS, "::"),
        (Kind.PLAIN, "::1"),
        (Kind.PLAIN, "127.0.0.9"),
    ]
    assert all(Endpoint(kind, host, 0) for kind, host in arguments)
