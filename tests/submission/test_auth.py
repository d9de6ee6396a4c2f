import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from mta.accounts.account import Account, Directory, Login
from mta.accounts.password import hash_password
from mta.mail import failures
from mta.mail.reply import Reply
from mta.submission.auth import Authenticator, AuthSettings, OneUse
from mta.submission.sasl import Credentials
from tests.fakes.clock import FakeClock

SHOP = Account("shop", frozenset({"own.example"}), hash_password("pw", salt=bytes(16)))
MUTE = Account("mute", frozenset({"own.example"}))


class CountingExecutor(Executor):
    """Runs in threads, and counts what it runs."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = threading.Event()
        self.gate.set()
        self._threads = ThreadPoolExecutor(4)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.count += 1

        def run() -> Any:
            assert self.gate.wait(20)
            return fn(*args, **kwargs)

        return self._threads.submit(run)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait)


@pytest.fixture
def executor() -> Iterator[CountingExecutor]:
    with CountingExecutor() as executor:
        yield executor


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def one_use(clock: FakeClock) -> OneUse:
    numbers = iter(range(10_000))
    return OneUse(clock, lambda size: next(numbers).to_bytes(size, "big"))


@pytest.fixture
def door(executor: CountingExecutor, clock: FakeClock, one_use: OneUse) -> Authenticator:
    return Authenticator(Directory([SHOP, MUTE]), one_use, executor, clock, bytes(32))


@pytest.mark.parametrize(
    ("credentials", "answer"),
    [
        (Credentials("shop", b"pw"), Login(SHOP)),
        (Credentials("shop/bulk", b"pw"), Login(SHOP, "bulk")),
        (Credentials("shop", b"pw", "shop"), Login(SHOP)),
        (Credentials("shop/bulk", b"pw", "shop"), Login(SHOP, "bulk")),
        (Credentials("shop", b"pw", "mute"), failures.BAD_CREDENTIALS),
        (Credentials("shop", b"wrong"), failures.BAD_CREDENTIALS),
        (Credentials("shop", b""), failures.BAD_CREDENTIALS),
        (Credentials("shop/other", b"pw"), failures.BAD_CREDENTIALS),
        (Credentials("nobody", b"pw"), failures.BAD_CREDENTIALS),
        (Credentials("mute", b""), failures.BAD_CREDENTIALS),
        (Credentials("", b""), failures.BAD_CREDENTIALS),
    ],
)
async def test_only_the_right_credentials_open_the_door(
    door: Authenticator, executor: CountingExecutor, credentials: Credentials, answer: Login | Reply
) -> None:
    assert await door.verify(credentials) == answer
    # the same work, whatever the reason
    assert executor.count == 1


async def test_a_proven_password_is_not_hashed_again_for_a_while(
    door: Authenticator, executor: CountingExecutor, clock: FakeClock
) -> None:
    await door.verify(Credentials("shop", b"pw"))
    clock.advance(timedelta(minutes=4))
    assert await door.verify(Credentials("shop/bulk", b"pw")) == Login(SHOP, "bulk")
    assert executor.count == 1
    clock.advance(timedelta(minutes=2))
    await door.verify(Credentials("shop", b"pw"))
    assert executor.count == 2


async def test_a_wrong_password_is_not_remembered(door: Authenticator, executor: CountingExecutor) -> None:
    await door.verify(Credentials("shop", b"pw"))
    for _ in range(2):
        assert await door.verify(Credentials("shop", b"wrong")) == failures.BAD_CREDENTIALS
    assert executor.count == 3


async def test_a_changed_password_is_forgotten_at_once(door: Authenticator) -> None:
    await door.verify(Credentials("shop", b"pw"))
    changed = Account("shop", SHOP.domains, hash_password("new", salt=bytes(16)))
    door.replace(Directory([changed]))
    assert await door.verify(Credentials("shop", b"pw")) == failures.BAD_CREDENTIALS
    assert await door.verify(Credentials("shop", b"new")) == Login(changed)


async def test_a_removed_account_is_forgotten_at_once(door: Authenticator) -> None:
    await door.verify(Credentials("shop", b"pw"))
    door.replace(Directory([MUTE]))
    assert await door.verify(Credentials("shop", b"pw")) == failures.BAD_CREDENTIALS
    assert door.account("shop") is None


async def test_many_connections_of_one_application_are_hashed_for_once_a_turn(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor
) -> None:
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), AuthSettings(at_once=1))
    answers = await asyncio.gather(*(door.verify(Credentials("shop", b"pw")) for _ in range(20)))
    assert answers == [Login(SHOP)] * 20
    assert executor.count == 1


async def test_no_more_are_hashed_at_once_than_allowed_and_none_waits_for_ever(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor
) -> None:
    settings = AuthSettings(at_once=2, patience=timedelta(milliseconds=50))
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), settings)
    executor.gate.clear()
    asked = [asyncio.ensure_future(door.verify(Credentials("shop", f"{n}".encode()))) for n in range(5)]
    _, waiting = await asyncio.wait(asked, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    while len(waiting) > 2:
        _, waiting = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert executor.count == 2
    executor.gate.set()
    answers = await asyncio.gather(*asked)
    assert sorted(map(str, answers)) == sorted(
        map(str, [failures.AUTH_UNAVAILABLE] * 3 + [failures.BAD_CREDENTIALS] * 2)
    )


async def test_a_damaged_hash_is_told_to_the_operator_not_to_the_client(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Account("shop", SHOP.domains, "$argon2id$broken")
    door = Authenticator(Directory([broken]), one_use, executor, clock, bytes(32))
    assert await door.verify(Credentials("shop", b"s3cr3t")) == failures.AUTH_UNAVAILABLE
    assert "could not be checked" in caplog.text
    assert "s3cr3t" not in caplog.text


async def test_a_one_use_credential_works_once(
    door: Authenticator, one_use: OneUse, executor: CountingExecutor
) -> None:
    issued = one_use.issue("mute", "bulk")
    credentials = Credentials(issued.login, issued.secret.encode())
    assert await door.verify(credentials) == Login(MUTE, "bulk")
    assert executor.count == 0
    assert await door.verify(credentials) == failures.BAD_CREDENTIALS


@pytest.mark.parametrize("login", ["shop", "mute/bulk", "nobody"])
async def test_a_one_use_credential_is_for_its_login_only(door: Authenticator, one_use: OneUse, login: str) -> None:
    issued = one_use.issue("mute")
    assert await door.verify(Credentials(login, issued.secret.encode())) == failures.BAD_CREDENTIALS


async def test_a_one_use_credential_lives_a_minute(door: Authenticator, one_use: OneUse, clock: FakeClock) -> None:
    early, late = one_use.issue("shop"), one_use.issue("shop")
    clock.advance(59)
    assert await door.verify(Credentials("shop", early.secret.encode())) == Login(SHOP)
    clock.advance(1)
    assert await door.verify(Credentials("shop", late.secret.encode())) == failures.BAD_CREDENTIALS


def test_one_use_credentials_do_not_pile_up(one_use: OneUse, clock: FakeClock) -> None:
    for _ in range(1000):
        one_use.issue("shop")
    with pytest.raises(ValueError, match="try again"):
        one_use.issue("shop")
    clock.advance(61)
    assert one_use.issue("shop").login == "shop"


def test_a_one_use_secret_is_in_no_repr(one_use: OneUse) -> None:
    issued = one_use.issue("shop")
    assert issued.secret not in repr(issued)
