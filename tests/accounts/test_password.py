import time

import pytest
from argon2 import PasswordHasher

from mta.accounts.password import MAX_PASSWORD, CannotVerify, generate_secret, hash_password, verify_password

HASH = hash_password("correct horse", salt=b"0123456789abcdef")


def test_the_hash_says_its_cost() -> None:
    assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    ("password_hash", "password", "belongs"),
    [
        (HASH, b"correct horse", True),
        (HASH, b"correct horse ", False),
        (HASH, b"", False),
        (HASH, b"\xff\x00", False),
        (None, b"correct horse", False),
        (HASH, b"correct horse" + bytes(MAX_PASSWORD), False),
    ],
)
def test_only_the_right_password_belongs_to_a_hash(password_hash: str | None, password: bytes, belongs: bool) -> None:
    assert verify_password(password_hash, password, HASH) is belongs


@pytest.mark.parametrize("damaged", ["not a hash", "$argon2id$v=19$m=19456,t=2,p=1$!!$!!", HASH[:-1] + "!"])
def test_a_damaged_hash_is_not_a_wrong_password(damaged: str) -> None:
    with pytest.raises(CannotVerify, match="argon2"):
        verify_password(damaged, b"correct horse")


def test_the_decoys_own_password_lets_nobody_in() -> None:
    assert not verify_password(None, b"correct horse", decoy=HASH)


def test_a_password_that_is_cut_to_the_limit_does_not_match_its_beginning() -> None:
    longest = "x" * MAX_PASSWORD
    password_hash = hash_password(longest)
    assert verify_password(password_hash, longest.encode())
    assert not verify_password(password_hash, longest.encode() + b"y")


def test_an_unknown_account_costs_as_much_work_as_a_known_one() -> None:
    def best(password_hash: str | None) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            verify_password(password_hash, b"wrong", HASH)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best(None) > 0.4 * best(HASH)


def test_the_dummy_costs_what_our_own_hashes_cost() -> None:
    start = time.process_time()
    verify_password(None, b"wrong")
    assert time.process_time() - start > 0.001


def test_hashes_of_other_programs_are_understood() -> None:
    foreign = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=2).hash("pw")
    assert verify_password(foreign, b"pw")


@pytest.mark.parametrize("password", ["", "é" * MAX_PASSWORD])
def test_a_password_of_no_use_is_not_hashed(password: str) -> None:
    with pytest.raises(ValueError, match="octets"):
        hash_password(password)


def test_a_secret_is_made_of_the_octets_given() -> None:
    assert generate_secret(bytes(20)) == "0" * 32
    assert generate_secret(b"\xff" * 20) == "z" * 32
    assert len({generate_secret(bytes([n]) * 20) for n in range(256)}) == 256


def test_a_secret_of_too_few_octets_is_not_made() -> None:
    with pytest.raises(ValueError, match="20 random octets"):
        generate_secret(bytes(19))
