import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.submission import lockout as module
from mta.submission.lockout import Lockout, LockoutSettings
from tests.fakes.clock import FakeClock

HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lockout(clock: FakeClock) -> Lockout:
    return Lockout(LockoutSettings(), clock)


def fail(lockout: Lockout, times: int, login: str = "shop", address: str = HERE) -> list[float]:
    return [lockout.failed(login, address).total_seconds() for _ in range(times)]


def test_a_refusal_is_kept_back_longer_each_time_up_to_a_limit(lockout: Lockout) -> None:
    assert fail(lockout, 8) == [0, 1, 2, 4, 8, 16, 30, 30]


def test_the_delay_is_of_the_pair_and_not_of_other_names(lockout: Lockout) -> None:
    fail(lockout, 5)
    assert fail(lockout, 1, "other") == [0]
    assert fail(lockout, 1, address=THERE) == [0]


def test_no_delay_may_be_asked_for(clock: FakeClock) -> None:
    lockout = Lockout(LockoutSettings(attempts=10_000, delay_max=timedelta()), clock)
    assert set(fail(lockout, 2000)) == {0}


def test_a_pair_is_locked_with_the_last_attempt(lockout: Lockout) -> None:
    fail(lockout, 9)
    assert not lockout.is_locked("shop", HERE)
    fail(lockout, 1)
    assert lockout.is_locked("shop", HERE)


@pytest.mark.parametrize("login", ["shop/bulk", "shop/transactional", "shop/other"])
def test_another_stream_is_no_other_name(lockout: Lockout, login: str) -> None:
    fail(lockout, 10)
    assert lockout.is_locked(login, HERE)


def test_strangers_do_not_lock_the_account_for_others(lockout: Lockout) -> None:
    for number in range(100):
        fail(lockout, 10, address=f"203.0.113.{number}")
    assert lockout.is_locked("shop", "203.0.113.7")
    assert not lockout.is_locked("shop", HERE)


def test_a_program_with_an_old_password_does_not_lock_out_its_neighbours(lockout: Lockout) -> None:
    fail(lockout, 10)
    assert lockout.is_locked("shop", HERE)
    assert not lockout.is_locked("other", HERE)


@pytest.mark.parametrize("failures", [[1] * 10, [5, 5], [10, 1, 4], [9, 3, 2]], ids=str)
def test_who_tries_several_names_is_locked_for_all(lockout: Lockout, failures: list[int]) -> None:
    for number, times in enumerate(failures):
        assert not lockout.is_locked("new", HERE)
        fail(lockout, times, f"name{number}")
    assert lockout.is_locked("new", HERE)
    assert not lockout.is_locked("new", THERE)


def test_unknown_names_count_like_known_ones(lockout: Lockout) -> None:
    """The rules never hear which names there are."""
    fail(lockout, 10, "nobody")
    assert lockout.is_locked("nobody", HERE)


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(
    lockout: Lockout, first: str, second: str, is_one: bool
) -> None:
    fail(lockout, 10, address=first)
    assert lockout.is_locked("shop", second) is is_one


def test_the_lock_ends_when_the_failures_are_a_window_old(lockout: Lockout, clock: FakeClock) -> None:
    fail(lockout, 5)
    clock.advance(timedelta(minutes=5))
    fail(lockout, 5)
    clock.advance(timedelta(minutes=5))
    assert not lockout.is_locked("shop", HERE)
    fail(lockout, 4)
    assert not lockout.is_locked("shop", HERE)
    fail(lockout, 1)
    assert lockout.is_locked("shop", HERE)


def test_a_step_of_the_wall_clock_unlocks_nobody(lockout: Lockout, clock: FakeClock) -> None:
    fail(lockout, 10)
    clock.step(timedelta(days=1))
    assert lockout.is_locked("shop", HERE)


def test_the_right_password_makes_good_for_its_own_name_only(lockout: Lockout) -> None:
    fail(lockout, 9)
    fail(lockout, 4, "other")
    lockout.succeeded("shop/bulk", HERE)
    assert fail(lockout, 1) == [0]
    assert fail(lockout, 1, "other") == [8]


def test_what_was_counted_stays_counted_when_the_rules_change(lockout: Lockout) -> None:
    fail(lockout, 3)
    lockout.replace(LockoutSettings(attempts=3))
    assert lockout.is_locked("shop", HERE)
    lockout.replace(LockoutSettings(attempts=4))
    assert not lockout.is_locked("shop", HERE)


def test_memory_is_bounded_and_the_longest_silent_are_forgotten_first(clock: FakeClock) -> None:
    lockout = Lockout(LockoutSettings(), clock)
    fail(lockout, 10, address="2001:db8::1")
    for number in range(module._MAX_NETWORKS + 100):
        lockout.failed("x" * 12_000, f"2001:db8:1:{number:x}::1")
        if number % 1000 == 0:
            lockout.failed("shop", "2001:db8::1")
    assert len(lockout) == module._MAX_NETWORKS
    assert lockout.is_locked("shop", "2001:db8::1")
    assert lockout.failed("x" * 12_000, "2001:db8:1:0::1") == timedelta()


def test_names_are_not_kept() -> None:
    lockout = Lockout(LockoutSettings(), FakeClock())
    fail(lockout, 3, "p4ssw0rd")
    assert "p4ssw0rd" not in repr(vars(lockout))


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_nobody_is_locked_before_he_has_failed_as_often_as_allowed(seed: int, attempts: int) -> None:
    dice, clock = random.Random(seed), FakeClock()
    lockout = Lockout(LockoutSettings(attempts=attempts), clock)
    failed: list[float] = []
    for _ in range(30):
        clock.advance(dice.randrange(200))
        login = dice.choice(["a", "b", "c"])
        recent = [time for time in failed if time > clock.monotonic() - 600]
        if lockout.is_locked(login, HERE):
            assert len(recent) >= attempts
        else:
            lockout.failed(login, HERE)
            failed.append(clock.monotonic())
