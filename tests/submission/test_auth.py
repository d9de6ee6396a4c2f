import asyncio
import base64
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from mta.accounts.account import Account, Directory, Login
from mta.accounts.password import hash_password
from mta.accounts.scram import Verifier
from mta.mail import failures
from mta.mail.reply import Reply
from mta.submission import scram
from mta.submission.auth import Applicant, Authenticator, AuthSettings, OneUse
from mta.submission.lockout import LockoutSettings
from mta.submission.sasl import Credentials, Proof
from tests.fakes.clock import FakeClock
from tests.submission.scram_client import ScramClient

SHOP = Account("shop", frozenset({"own.example"}), hash_password("pw", salt=bytes(16)))
MUTE = Account("mute", frozenset({"own.example"}))
NEAR = replace(SHOP, name="near", allow_from=(ip_network("192.0.2.0/24"),))
KNOWN = replace(SHOP, scram=Verifier.make("pw", bytes(16)))
KNOWN_NEAR = replace(NEAR, scram=Verifier.make("pw", b"another salt"))
GONE = asyncio.Event()
GONE.set()
HERE, THERE = Applicant("192.0.2.1", left=GONE), Applicant("198.51.100.7", left=GONE)
"""Nobody waits for a refusal that is kept back, but where a test wants it."""


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
    return Authenticator(Directory([SHOP, MUTE, NEAR]), one_use, executor, clock, bytes(32))


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
    assert await door.verify(credentials, HERE) == answer
    # the same work, whatever the reason
    assert executor.count == 1


async def test_a_proven_password_is_not_hashed_again_for_a_while(
    door: Authenticator, executor: CountingExecutor, clock: FakeClock
) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    clock.advance(timedelta(minutes=4))
    assert await door.verify(Credentials("shop/bulk", b"pw"), HERE) == Login(SHOP, "bulk")
    assert executor.count == 1
    clock.advance(timedelta(minutes=2))
    await door.verify(Credentials("shop", b"pw"), HERE)
    assert executor.count == 2


async def test_a_wrong_password_is_not_remembered(door: Authenticator, executor: CountingExecutor) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    for _ in range(2):
        assert await door.verify(Credentials("shop", b"wrong"), HERE) == failures.BAD_CREDENTIALS
    assert executor.count == 3


async def test_a_changed_password_is_forgotten_at_once(door: Authenticator) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    changed = Account("shop", SHOP.domains, hash_password("new", salt=bytes(16)))
    door.replace(Directory([changed]))
    assert await door.verify(Credentials("shop", b"pw"), HERE) == failures.BAD_CREDENTIALS
    assert await door.verify(Credentials("shop", b"new"), HERE) == Login(changed)


async def test_a_removed_account_is_forgotten_at_once(door: Authenticator) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    door.replace(Directory([MUTE]))
    assert await door.verify(Credentials("shop", b"pw"), HERE) == failures.BAD_CREDENTIALS
    assert door.account("shop") is None


async def test_many_connections_of_one_application_are_hashed_for_once_a_turn(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor
) -> None:
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), AuthSettings(at_once=1))
    answers = await asyncio.gather(*(door.verify(Credentials("shop", b"pw"), HERE) for _ in range(20)))
    assert answers == [Login(SHOP)] * 20
    assert executor.count == 1


async def test_no_more_are_hashed_at_once_than_allowed_and_none_waits_for_ever(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor
) -> None:
    settings = AuthSettings(at_once=2, patience=timedelta(milliseconds=50))
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), settings)
    executor.gate.clear()
    asked = [asyncio.ensure_future(door.verify(Credentials("shop", f"{n}".encode()), HERE)) for n in range(5)]
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
    assert await door.verify(Credentials("shop", b"s3cr3t"), HERE) == failures.AUTH_UNAVAILABLE
    assert "could not be checked" in caplog.text
    assert "s3cr3t" not in caplog.text


async def test_a_one_use_credential_works_once(
    door: Authenticator, one_use: OneUse, executor: CountingExecutor
) -> None:
    issued = one_use.issue("mute", "bulk")
    credentials = Credentials(issued.login, issued.secret.encode())
    assert await door.verify(credentials, HERE) == Login(MUTE, "bulk")
    assert executor.count == 0
    assert await door.verify(credentials, HERE) == failures.BAD_CREDENTIALS


@pytest.mark.parametrize("login", ["shop", "mute/bulk", "nobody"])
async def test_a_one_use_credential_is_for_its_login_only(door: Authenticator, one_use: OneUse, login: str) -> None:
    issued = one_use.issue("mute")
    assert await door.verify(Credentials(login, issued.secret.encode()), HERE) == failures.BAD_CREDENTIALS


async def test_a_one_use_credential_lives_a_minute(door: Authenticator, one_use: OneUse, clock: FakeClock) -> None:
    early, late = one_use.issue("shop"), one_use.issue("shop")
    clock.advance(59)
    assert await door.verify(Credentials("shop", early.secret.encode()), HERE) == Login(SHOP)
    clock.advance(1)
    assert await door.verify(Credentials("shop", late.secret.encode()), HERE) == failures.BAD_CREDENTIALS


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


# --- allow_from


async def test_from_elsewhere_the_right_password_is_answered_like_a_wrong_one(
    door: Authenticator, executor: CountingExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await door.verify(Credentials("near", b"pw"), HERE) == Login(NEAR)
    for password in (b"pw", b"wrong"):
        assert await door.verify(Credentials("near", password), THERE) == failures.BAD_CREDENTIALS
    # a password that is known from before is hashed again: a quick answer would tell that it is right
    assert executor.count == 3
    assert "account 'near' may not log in from there (allow_from)" in caplog.text


async def test_where_nothing_is_let_in_nothing_is_remembered(door: Authenticator, executor: CountingExecutor) -> None:
    await door.verify(Credentials("near", b"pw"), THERE)
    await door.verify(Credentials("near", b"pw"), HERE)
    assert executor.count == 2


async def test_a_wrong_authorization_identity_is_no_quick_way_to_learn_of_a_known_password(
    door: Authenticator, executor: CountingExecutor
) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    assert await door.verify(Credentials("shop", b"pw", "mute"), HERE) == failures.BAD_CREDENTIALS
    assert executor.count == 2


async def test_networks_that_were_narrowed_shut_out_at_once(door: Authenticator) -> None:
    await door.verify(Credentials("shop", b"pw"), THERE)
    door.replace(Directory([replace(SHOP, allow_from=NEAR.allow_from)]))
    assert await door.verify(Credentials("shop", b"pw"), THERE) == failures.BAD_CREDENTIALS


# --- what is remembered


async def test_what_was_proven_is_forgotten_when_the_account_changes_in_any_way(
    door: Authenticator, executor: CountingExecutor
) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    await door.verify(Credentials("near", b"pw"), HERE)
    door.replace(Directory([replace(SHOP, stream="bulk"), NEAR]))
    await door.verify(Credentials("near", b"pw"), HERE)
    assert executor.count == 2
    await door.verify(Credentials("shop", b"pw"), HERE)
    assert executor.count == 3


async def test_what_was_proven_of_a_removed_account_does_not_come_back_with_it(
    door: Authenticator, executor: CountingExecutor
) -> None:
    await door.verify(Credentials("shop", b"pw"), HERE)
    door.replace(Directory([MUTE]))
    door.replace(Directory([SHOP]))
    await door.verify(Credentials("shop", b"pw"), HERE)
    assert executor.count == 2


@pytest.mark.parametrize("then", [[], [replace(SHOP, password_hash=hash_password("new", salt=bytes(16)))]], ids=str)
async def test_a_password_that_was_right_when_its_hashing_began_is_too_late(
    door: Authenticator, executor: CountingExecutor, then: list[Account]
) -> None:
    executor.gate.clear()
    asked = asyncio.ensure_future(door.verify(Credentials("shop", b"pw"), HERE))
    while executor.count == 0:  # noqa: ASYNC110  the executor tells nobody
        await asyncio.sleep(0)
    door.replace(Directory(then))
    executor.gate.set()
    assert await asked == failures.BAD_CREDENTIALS
    # nor is it remembered
    door.replace(Directory([SHOP]))
    await door.verify(Credentials("shop", b"pw"), HERE)
    assert executor.count == 2


# --- lock-out


async def fail(door: Authenticator, times: int, login: str = "shop", applicant: Applicant = HERE) -> None:
    for number in range(times):
        assert await door.verify(Credentials(login, f"{number}".encode()), applicant) == failures.BAD_CREDENTIALS


@pytest.mark.parametrize("login", ["shop", "nobody", "mute"])
async def test_who_failed_too_often_is_locked_whatever_it_sends(
    door: Authenticator, executor: CountingExecutor, login: str
) -> None:
    await fail(door, 10, login)
    before = executor.count
    for password in (b"pw", b"wrong"):
        assert await door.verify(Credentials(login, password), HERE) == failures.LOCKED_OUT
    # nothing is looked at, so nothing can be learnt
    assert executor.count == before


async def test_strangers_lock_an_account_for_themselves_alone(door: Authenticator) -> None:
    await fail(door, 10)
    assert await door.verify(Credentials("shop", b"pw"), THERE) == Login(SHOP)
    assert await door.verify(Credentials("near", b"pw"), HERE) == Login(NEAR)


async def test_a_password_known_from_before_does_not_open_a_lock(door: Authenticator) -> None:
    assert await door.verify(Credentials("shop", b"pw"), HERE) == Login(SHOP)
    await fail(door, 10)
    assert await door.verify(Credentials("shop", b"pw"), HERE) == failures.LOCKED_OUT


async def test_the_lock_ends(door: Authenticator, clock: FakeClock) -> None:
    await fail(door, 10)
    clock.advance(timedelta(minutes=10))
    assert await door.verify(Credentials("shop", b"pw"), HERE) == Login(SHOP)


async def test_a_success_makes_good_for_failures(door: Authenticator) -> None:
    await fail(door, 9)
    assert await door.verify(Credentials("shop", b"pw"), HERE) == Login(SHOP)
    await fail(door, 9)


async def test_guessing_all_at_once_is_no_way_round(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor
) -> None:
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), AuthSettings(at_once=1))
    wrong = [Credentials("shop", f"{number}".encode()) for number in range(30)]
    answers = await asyncio.gather(*(door.verify(each, HERE) for each in [*wrong, Credentials("shop", b"pw")]))
    assert answers.count(failures.BAD_CREDENTIALS) == 10
    assert answers[-1] == failures.LOCKED_OUT


async def test_a_refusal_is_kept_back_until_the_client_has_gone(
    clock: FakeClock, one_use: OneUse, executor: CountingExecutor
) -> None:
    settings = AuthSettings(lockout=LockoutSettings(delay_max=timedelta(hours=1), waiting=1))
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), settings)
    await fail(door, 6)
    client = Applicant("192.0.2.1")
    waiting = asyncio.ensure_future(door.verify(Credentials("shop", b"x"), client))
    async with asyncio.timeout(30):
        while door.kept_back == 0:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.001)
    assert not waiting.done()
    # one waits, which is all that may: the next is sent away
    assert await door.verify(Credentials("shop", b"y"), HERE) == failures.LOCKED_OUT
    client.left.set()
    assert await waiting == failures.BAD_CREDENTIALS
    await fail(door, 1)


async def test_a_short_delay_ends_by_itself(clock: FakeClock, one_use: OneUse, executor: CountingExecutor) -> None:
    settings = AuthSettings(lockout=LockoutSettings(delay_max=timedelta(milliseconds=1)))
    door = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), settings)
    await fail(door, 3, applicant=Applicant("192.0.2.1"))


async def test_other_rules_hold_when_they_are_replaced(door: Authenticator) -> None:
    await fail(door, 3)
    door.replace_settings(AuthSettings(lockout=LockoutSettings(attempts=3)))
    assert await door.verify(Credentials("shop", b"pw"), HERE) == failures.LOCKED_OUT


async def test_our_own_commands_get_in_where_others_are_locked_out(door: Authenticator, one_use: OneUse) -> None:
    await fail(door, 10)
    issued = one_use.issue("shop")
    assert await door.verify(Credentials("shop", issued.secret.encode()), HERE) == Login(SHOP)


async def test_the_operator_reads_why_and_nothing_that_was_typed(
    door: Authenticator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await fail(door, 1, "my-p4ssw0rd-as-a-name")
    await fail(door, 10)
    assert "login from 192.0.2.1 refused: there is no such account" in caplog.text
    assert "login from 192.0.2.1 refused: account 'shop': the password is wrong" in caplog.text
    assert "logins from 192.0.2.1 are not looked at for a while" in caplog.text
    assert "p4ssw0rd" not in caplog.text


# --- trusted networks


@pytest.mark.parametrize(
    ("address", "account", "login"),
    [
        ("10.1.2.3", "shop", Login(SHOP)),
        ("::ffff:10.1.2.3", "shop", Login(SHOP)),
        ("fd00::1", "shop/bulk", Login(SHOP, "bulk")),
        ("11.1.2.3", "shop", None),
        ("unknown", "shop", None),
        ("10.1.2.3", "", None),
        ("10.1.2.3", "nobody", None),
        ("10.1.2.3", "near", Login(NEAR)),
    ],
)
def test_a_client_of_a_trusted_network_is_somebody_without_saying_so(
    door: Authenticator, address: str, account: str, login: Login | None
) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    door.replace_settings(AuthSettings(trusted_networks=networks, trusted_account=account))
    assert door.trusted_login(address) == login


def test_nobody_is_trusted_unless_told(door: Authenticator) -> None:
    assert door.trusted_login("127.0.0.1") is None


# --- SCRAM


@pytest.fixture
def scram_door(executor: CountingExecutor, clock: FakeClock, one_use: OneUse) -> Authenticator:
    accounts = Directory([KNOWN, MUTE, KNOWN_NEAR])
    return Authenticator(accounts, one_use, executor, clock, bytes(32), decoy_secret=b"secret", dice=bytes)


def challenged(door: Authenticator, client: ScramClient, applicant: Applicant = HERE) -> str:
    """Return the server's first message."""
    exchange = door.exchange(scram.PLAIN_NAME, applicant)
    assert exchange is not None
    next(exchange)
    return exchange.send(client.first()).decode()


async def by_scram(
    door: Authenticator, login: str, password: str, applicant: Applicant = HERE, header: str = "n,,"
) -> tuple[bool, Login | Reply]:
    """Return whether the server proved itself, and what it said at last."""
    client = ScramClient(login, password, header)
    exchange = door.exchange(scram.PLAIN_NAME, applicant)
    assert exchange is not None
    next(exchange)
    proved = False
    try:
        proved = client.believes(exchange.send(client.final(exchange.send(client.first()))))
        exchange.send(b"")
    except StopIteration as done:
        proof: Proof = done.value
    else:
        raise AssertionError("the exchange goes on")
    return proved, await door.verify(proof, applicant)


@pytest.mark.parametrize(
    ("login", "password", "applicant", "header", "answer"),
    [
        ("shop", "pw", HERE, "n,,", Login(KNOWN)),
        ("shop/bulk", "pw", THERE, "n,a=shop,", Login(KNOWN, "bulk")),
        ("shop/other", "pw", HERE, "n,,", failures.BAD_CREDENTIALS),
        ("shop", "wrong", HERE, "n,,", failures.BAD_CREDENTIALS),
        ("shop", "pw", HERE, "n,a=near,", failures.BAD_CREDENTIALS),
        ("nobody", "pw", HERE, "n,,", failures.BAD_CREDENTIALS),
        ("mute", "pw", HERE, "n,,", failures.BAD_CREDENTIALS),
        ("near", "pw", HERE, "n,,", Login(KNOWN_NEAR)),
        ("near", "pw", THERE, "n,,", failures.BAD_CREDENTIALS),
    ],
)
async def test_scram_lets_in_whom_a_password_would(
    scram_door: Authenticator, login: str, password: str, applicant: Applicant, header: str, answer: Login | Reply
) -> None:
    proved, said = await by_scram(scram_door, login, password, applicant, header)
    assert said == answer
    assert proved is isinstance(answer, Login)


async def test_scram_asks_for_no_hashing(scram_door: Authenticator, executor: CountingExecutor) -> None:
    await by_scram(scram_door, "shop", "pw")
    assert executor.count == 0


async def test_scram_failures_lock_passwords_out_too_and_the_other_way_round(scram_door: Authenticator) -> None:
    for _ in range(5):
        assert (await by_scram(scram_door, "shop", "wrong"))[1] == failures.BAD_CREDENTIALS
    await fail(scram_door, 5)
    assert await scram_door.verify(Credentials("shop", b"pw"), HERE) == failures.LOCKED_OUT
    assert await by_scram(scram_door, "shop", "pw", THERE) == (True, Login(KNOWN))


async def test_a_locked_client_is_not_even_challenged_by_scram(scram_door: Authenticator) -> None:
    await fail(scram_door, 10)
    exchange = scram_door.exchange(scram.PLAIN_NAME, HERE)
    assert exchange is not None
    next(exchange)
    with pytest.raises(StopIteration) as done:
        exchange.send(ScramClient("shop", "pw").first())
    assert await scram_door.verify(done.value.value, HERE) == failures.LOCKED_OUT


async def test_an_account_that_goes_in_the_middle_of_scram_is_gone(scram_door: Authenticator) -> None:
    client = ScramClient("shop", "pw")
    exchange = scram_door.exchange(scram.PLAIN_NAME, HERE)
    assert exchange is not None
    next(exchange)
    final = client.final(exchange.send(client.first()))
    scram_door.replace(Directory([KNOWN_NEAR]))
    with pytest.raises(StopIteration) as done:
        exchange.send(final)
    assert await scram_door.verify(done.value.value, HERE) == failures.BAD_CREDENTIALS


def salt(door: Authenticator, login: str) -> bytes:
    return base64.b64decode(challenged(door, ScramClient(login, "")).split(",")[1][2:])


def test_names_that_nobody_has_are_challenged_like_others(scram_door: Authenticator) -> None:
    challenge = challenged(scram_door, ScramClient("nobody", ""))
    assert challenge.endswith(",i=4096")
    assert len(salt(scram_door, "nobody")) == len(salt(scram_door, "shop"))
    assert salt(scram_door, "nobody") == salt(scram_door, "nobody") != salt(scram_door, "nobody2")


@pytest.mark.parametrize("name", ["shop", "mute", "nobody"])
def test_a_stream_behind_a_name_does_not_tell_whether_there_is_one(scram_door: Authenticator, name: str) -> None:
    assert len({salt(scram_door, name + stream) for stream in ("", "/bulk", "/transactional", "/x", "/")}) == 1


def test_the_salt_of_an_unknown_name_outlives_a_restart(
    executor: CountingExecutor, clock: FakeClock, one_use: OneUse
) -> None:
    salts = {
        salt(
            Authenticator(Directory([KNOWN]), one_use, executor, clock, key, decoy_secret=b"the same", dice=bytes),
            "nobody",
        )
        for key in (b"one process", b"another")
    }
    assert len(salts) == 1


@pytest.mark.parametrize(
    ("accounts", "end_point", "offered"),
    [
        ([KNOWN], None, "PLAIN LOGIN SCRAM-SHA-256"),
        ([KNOWN], b"hash", "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"),
        ([KNOWN, MUTE], b"hash", "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"),
        ([KNOWN, NEAR], b"hash", "PLAIN LOGIN"),
        ([SHOP], None, "PLAIN LOGIN"),
        ([MUTE], b"hash", "PLAIN LOGIN"),
        ([], b"hash", "PLAIN LOGIN"),
    ],
    ids=str,
)
def test_scram_is_offered_when_all_who_can_log_in_have_a_verifier(
    door: Authenticator, accounts: list[Account], end_point: bytes | None, offered: str
) -> None:
    door.replace(Directory(accounts))
    assert " ".join(door.mechanisms(end_point)) == offered
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "CRAM-MD5", ""):
        assert (door.exchange(mechanism, Applicant("192.0.2.1", end_point)) is not None) is (
            mechanism in offered.split()
        )
