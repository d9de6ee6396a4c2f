"""The other event loop: what is done with its sockets and its TLS works there, too."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from mta.mail.outcome import Delivered
from mta.queue.seams import Host, Site
from tests.delivery.peer import Peer
from tests.delivery.test_tls import CA, GOOD, NAME, World, _send, _server, _there, _tls


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _run(scenario: object) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario)  # type: ignore[arg-type]  # a coroutine


@pytest.mark.parametrize("usage", [2, 3])
def test_the_chain_is_seen_and_judged(usage: int, world: World) -> None:
    async def scenario() -> None:
        world.tlsa = (CA.tlsa(2, 0) if usage == 2 else GOOD.tlsa(3, 1),)
        async with Peer("PIPELINING", "CHUNKING", tls=_server(GOOD, world.folder, CA)) as peer:
            outcomes = await _send(world, _there(peer), "a@example.net", "b@example.net")
        assert all(isinstance(one, Delivered) and _tls(one).verified for one in outcomes)
        assert peer.connections == 1

    _run(scenario())


def test_tls_from_the_first_octet_and_a_local_socket(world: World) -> None:
    async def scenario() -> None:
        async with Peer(tls=_server(GOOD, world.folder), implicit=True) as peer:
            (outcome,) = await _send(world, _there(peer, implicit_tls=True, verify_tls=True))
            assert isinstance(outcome, Delivered)
        path = world.folder / "lmtp"
        async with Peer(lmtp=True, path=path):
            where = Site("local", (Host("localhost", 0, trusted=True, lmtp=True, socket=str(path)),))
            (outcome,) = await _send(world, where)
            assert isinstance(outcome, Delivered)

    _run(scenario())


def test_octets_behind_the_reply_to_starttls_are_seen(world: World) -> None:
    async def scenario() -> None:
        async with Peer(tls=_server(GOOD, world.folder)) as peer:
            peer.answers["STARTTLS"] = b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"
            (outcome,) = await _send(world, Site(NAME, (Host(NAME, peer.port),)))
        assert not isinstance(outcome, Delivered)
        assert not peer.mails

    _run(scenario())
