"""The sealer: signed, unsigned on purpose, or held."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import dkim
import pytest

from mta.delivery.signing import DkimSealer
from mta.delivery.threads import Threads
from mta.dkim.body_hash import RelaxedBodyHash
from mta.dkim.keys import SigningKey, generate_ed25519, generate_rsa
from mta.queue.model import Message
from mta.queue.seams import Unsigned
from tests.delivery.world import HEADER, message
from tests.fakes.clock import FakeClock

T = TypeVar("T")
BODY = b"Hello\r\n"


class _Counting(Threads):
    """Two threads, and how often they were asked."""

    def __init__(self) -> None:
        super().__init__(2, "sign")
        self.asked = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.asked += 1
        return await super().run(work)


@pytest.fixture(scope="module")
def rsa() -> SigningKey:
    return SigningKey.parse("example.com", "r1", generate_rsa())


@pytest.fixture
async def threads() -> AsyncIterator[_Counting]:
    with _Counting() as threads:
        yield threads


def _message(domain: str = "example.com", name: str = "0123456789abcdef") -> Message:
    body_hash = RelaxedBodyHash()
    body_hash.update(BODY)
    return message(id=name, from_domain=domain, body_hash=body_hash.digest())


def _sealer(threads: Threads, *keys: SigningKey, unsigned: tuple[str, ...] = ()) -> DkimSealer:
    return DkimSealer({key.domain: (key,) for key in keys}, unsigned, threads, FakeClock())


async def test_a_signature_is_one_that_verifiers_accept(rsa: SigningKey, threads: _Counting) -> None:
    signature = await _sealer(threads, rsa).seal(_message(), HEADER)
    record = rsa.dns_record.encode()
    assert signature.endswith(b"\r\n")
    assert dkim.verify(signature + HEADER + b"\r\n" + BODY, dnsfunc=lambda name, timeout=5: record)


async def test_a_subdomain_is_signed_for_by_its_parent(rsa: SigningKey, threads: _Counting) -> None:
    assert b"d=example.com" in await _sealer(threads, rsa).seal(_message("news.example.com"), HEADER)


async def test_without_a_key_the_operator_is_told_what_to_do(rsa: SigningKey, threads: _Counting) -> None:
    with pytest.raises(
        Unsigned, match=r"no DKIM key for example\.net: run mta dkim keygen example\.net, or set dkim = \[\]"
    ):
        await _sealer(threads, rsa).seal(_message("example.net"), HEADER)


@pytest.mark.parametrize("domain", ["example.net", "news.example.net", "plain.example.com"])
async def test_what_is_unsigned_on_purpose_goes_out_unsigned(domain: str, rsa: SigningKey, threads: _Counting) -> None:
    sealer = _sealer(threads, rsa, unsigned=("example.net", "plain.example.com"))
    assert await sealer.seal(_message(domain), HEADER) == b""


async def test_a_header_that_cannot_be_signed_holds_the_message(rsa: SigningKey, threads: _Counting) -> None:
    with pytest.raises(Unsigned, match="cannot be signed"):
        await _sealer(threads, rsa).seal(_message(), b"Subject: nobody\r\n")


async def test_a_message_to_many_is_signed_once(rsa: SigningKey, threads: _Counting) -> None:
    sealer = _sealer(threads, rsa)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sealer.seal(_message(), HEADER)) for _ in range(20)]
    signatures = {task.result() for task in tasks} | {await sealer.seal(_message(), HEADER)}
    assert (len(signatures), threads.asked) == (1, 1)


async def test_another_header_is_signed_anew(rsa: SigningKey, threads: _Counting) -> None:
    sealer = _sealer(threads, rsa)
    assert await sealer.seal(_message(), HEADER) != await sealer.seal(_message(), HEADER + b"Sender: x@example.com\r\n")


async def test_what_is_remembered_is_bounded(rsa: SigningKey, threads: _Counting) -> None:
    sealer = _sealer(threads, SigningKey.parse("example.com", "e1", generate_ed25519()))
    for number in range(501):
        await sealer.seal(_message(name=str(number)), HEADER)
    await sealer.seal(_message(name="500"), HEADER)
    assert threads.asked == 501
    await sealer.seal(_message(name="0"), HEADER)
    assert threads.asked == 502


async def test_replaced_keys_sign_from_then_on(rsa: SigningKey, threads: _Counting) -> None:
    sealer = _sealer(threads, rsa)
    await sealer.seal(_message(), HEADER)
    sealer.replace_keys({"example.com": (SigningKey.parse("example.com", "e2", generate_ed25519()),)}, ())
    assert b"s=e2" in await sealer.seal(_message(), HEADER)
    sealer.replace_keys({}, ["example.com"])
    assert await sealer.seal(_message(), HEADER) == b""
