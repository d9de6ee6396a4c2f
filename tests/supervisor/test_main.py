"""The supervisor as a program: what it is begun with, what it does without, and what it ends with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.supervisor.charge import Charge
from mta.supervisor.crew import Berth

HEAVY = {"pydantic", "cryptography", "dns", "aiosmtplib", "aiosmtpd", "starlette", "uvicorn", "sqlite3", "click"}


def charge(folder: Path, lock: int = 3) -> Charge:
    return Charge(
        config=str(folder / "mta.toml"),
        workers=2,
        hostname="mail.example.com",
        data_dir=str(folder),
        log_level="info",
        log_format="text",
        lock=lock,
        submission=(4, 5),
        inbound=(),
        http=(6,),
    )


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "server.lock", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_a_charge_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = charge(tmp_path)
    assert Charge.parse(one.dump()) == one


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"config": "x"}', "--help"])
def test_what_is_no_charge_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="only mta serve gives it"):
        Charge.parse(text)


def test_a_worker_is_begun_with_all_that_it_needs_and_nothing_else(tmp_path: Path) -> None:
    begin = charge(tmp_path).begin(Berth(2, 9))
    assert list(begin.inherited) == [9, 3, 4, 5, 6]
    assert list(begin.command)[-5:] == [
        "-c",
        str(tmp_path / "mta.toml"),
        "serve",
        "--worker",
        "2/2,lifeline=9,lock=3,submission=4+5,inbound=,http=6",
    ]


def test_it_does_without_what_only_workers_need() -> None:
    program = "import mta.supervisor.serve, mta.supervisor.charge, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY & set(loaded.stdout.split()) == set()


def run(*arguments: str, inherited: int | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mta.supervisor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        pass_fds=() if inherited is None else (inherited,),
    )


def test_without_a_charge_it_says_who_gives_one() -> None:
    done = run()
    assert (done.returncode, "only mta serve gives it" in done.stderr) == (2, True)


def test_what_the_workers_refuse_ends_it_in_the_same_way(tmp_path: Path, lock: int) -> None:
    one = charge(tmp_path, lock)
    nowhere = Charge.parse(one.dump().replace("[4, 5]", "[]").replace("[6]", "[]"))
    done = run(nowhere.dump(), inherited=lock)
    assert done.returncode == 78
    assert str(tmp_path / "mta.toml") in done.stderr
    assert list(tmp_path.glob("*.sock")) == []
