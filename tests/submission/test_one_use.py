"""Credentials that are good at every worker, and once."""

from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from mta.submission.auth import MAX_ISSUED
from mta.submission.one_use import OneUseFiles
from tests.fakes.clock import FakeClock

Two = tuple[OneUseFiles, OneUseFiles]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Two:
    """Two workers' views of one folder."""
    numbers = count(1)
    one, other = (OneUseFiles(tmp_path, clock, lambda size: next(numbers).to_bytes(size, "big")) for _ in range(2))
    return one, other


def test_one_is_taken_by_whichever_worker_its_client_comes_to_and_once(two: Two) -> None:
    issued = two[0].issue("shop", "bulk")
    assert issued.login == "shop/bulk"
    assert two[1].take("shop/bulk", issued.secret.encode())
    assert not two[0].take("shop/bulk", issued.secret.encode())
    assert not two[1].take("shop/bulk", issued.secret.encode())


@pytest.mark.parametrize("login", ["other", "shop/bulk", ""])
def test_one_for_another_login_is_refused_and_used_up(two: Two, login: str) -> None:
    secret = two[0].issue("shop").secret.encode()
    assert not two[1].take(login, secret)
    assert not two[1].take("shop", secret)


def test_it_is_good_for_a_minute(two: Two, clock: FakeClock) -> None:
    early, late = two[0].issue("shop").secret.encode(), two[0].issue("shop").secret.encode()
    clock.advance(timedelta(seconds=59))
    assert two[1].take("shop", early)
    clock.advance(timedelta(seconds=1))
    assert not two[1].take("shop", late)


@pytest.mark.parametrize("password", [b"", b"wrong", b"../../etc/passwd", b"\x00", b"\xff" * 5000])
def test_what_was_not_issued_is_refused(two: Two, password: bytes) -> None:
    two[0].issue("shop")
    assert not two[1].take("shop", password)


def test_neither_login_nor_secret_is_for_others_to_read(two: Two, tmp_path: Path) -> None:
    secret = two[0].issue("shop").secret
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.name + path.read_text()


def test_those_that_were_not_used_do_not_pile_up(two: Two, tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(MAX_ISSUED):
        two[0].issue("shop")
    with pytest.raises(ValueError, match="try again in a minute"):
        two[1].issue("shop")
    clock.advance(timedelta(seconds=61))
    two[1].issue("shop")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("left", ["", "soon shop", "99999999.0 shop"])
def test_what_a_crash_or_an_earlier_life_of_the_machine_left_is_removed(two: Two, tmp_path: Path, left: str) -> None:
    (tmp_path / "once-00").write_text(left)
    two[0].issue("shop")
    assert not (tmp_path / "once-00").exists()
