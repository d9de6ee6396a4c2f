"""`mta init`: the folder it makes, and what it refuses to do."""

import os
import stat
import tomllib
from pathlib import Path

import pytest

from mta.accounts.password import verify_password
from mta.accounts.scram import Verifier
from mta.cli.init import make
from tests.cli.command import Command
from tests.fakes.clock import START

FILES = {
    "mta.toml",
    "keyring.json",
    "dkim/example.com.r1.pem",
    "dkim/example.com.e1.pem",
    "tls/cert.pem",
    "tls/key.pem",
}
HERE = ["--hostname", "mail.example.com", "--domain", "example.com"]


@pytest.fixture
def nowhere(tmp_path: Path) -> Command:
    """The command line without any configuration."""
    return Command(tmp_path / "none.toml")


def init(mta: Command, folder: Path, *more: str) -> dict[str, str]:
    answer = mta("init", *HERE, "--dir", str(folder), "--json", *more)
    assert answer.exit_code == 0, answer.stderr
    return answer.row


def test_everything_it_makes_is_for_its_owner_alone(nowhere: Command, tmp_path: Path) -> None:
    init(nowhere, tmp_path / "new")
    files = {path for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert {str(path.relative_to(tmp_path / "new")) for path in files} == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize("ports", [[], ["--high-ports"]])
def test_what_it_makes_passes_the_strictest_check(nowhere: Command, tmp_path: Path, ports: list[str]) -> None:
    made = init(nowhere, tmp_path / "new", *ports)
    answer = Command(Path(made["config"]))("check", "--strict")
    assert (answer.exit_code, answer.stderr) == (0, "")


def test_high_ports_are_on_loopback_and_need_no_root(nowhere: Command, tmp_path: Path) -> None:
    made = init(nowhere, tmp_path / "new", "--high-ports")
    submission = tomllib.loads(Path(made["config"]).read_text())["submission"]
    listeners = [listen for key in ("listen", "listen_tls", "listen_plain") for listen in submission[key]]
    assert len(listeners) == 3
    for listen in listeners:
        host, _, port = listen.rpartition(":")
        assert (host, int(port) > 1024) == ("127.0.0.1", True)


def test_the_account_it_tells_can_log_in(nowhere: Command, tmp_path: Path) -> None:
    made = init(nowhere, tmp_path / "new")
    (account,) = tomllib.loads(Path(made["config"]).read_text())["account"]
    assert account["name"] == made["account"]
    assert verify_password(account["password_hash"], made["password"].encode())
    assert made["password"].isalnum()
    verifier = Verifier.parse(account["scram"])
    assert Verifier.make(made["password"], verifier.salt, verifier.iterations) == verifier
    assert len(verifier.salt) == 16


def test_people_are_told_the_password_and_what_to_do_next(nowhere: Command, tmp_path: Path) -> None:
    folder = tmp_path / "my mail"
    answer = nowhere("init", *HERE, "--dir", str(folder))
    assert answer.lines[1:3][0] == "account  app"
    assert answer.lines[2].startswith("password ")
    assert answer.lines[4] == f"next: mta -c '{folder}/mta.toml' check     validates everything"


@pytest.mark.parametrize("there", sorted(FILES))
def test_what_is_there_already_is_neither_overwritten_nor_added_to(
    nowhere: Command, tmp_path: Path, there: str
) -> None:
    kept = tmp_path / "new" / there
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    answer = nowhere("init", *HERE, "--dir", str(tmp_path / "new"))
    assert answer.exit_code == 73
    assert f"{kept} is there already, and nothing was changed" in answer.stderr
    assert kept.read_text() == "mine"
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == [kept]


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file, where a folder has to be")
    with pytest.raises(OSError, match="tls"):
        make(tmp_path, "mail.example.com", "example.com", "", START)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"tls"}


def test_a_folder_that_cannot_be_made_is_no_traceback(nowhere: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = nowhere("init", *HERE, "--dir", str(tmp_path / "file" / "new"))
    assert answer.exit_code == 73
    assert "choose another --dir" in answer.stderr


@pytest.mark.parametrize(
    "names",
    [
        ["--hostname", "mail"],
        ["--hostname", "mail example"],
        ["--hostname", "192.0.2.1"],
        ["--hostname", "mail.example.com", "--domain", "example"],
        ["--hostname", "mail.example.com", "--domain", "../x"],
    ],
    ids=" ".join,
)
def test_names_that_are_none_are_refused_before_anything_is_made(
    nowhere: Command, tmp_path: Path, names: list[str]
) -> None:
    answer = nowhere("init", *names, "--dir", str(tmp_path / "new"))
    assert answer.exit_code == 65
    assert "give --hostname" in answer.stderr
    assert os.listdir(tmp_path) == []


def test_the_domain_is_the_hosts_own_unless_that_belongs_to_others(nowhere: Command, tmp_path: Path) -> None:
    for hostname, domain in (("mail.example.com", "example.com"), ("example.com", "example.com")):
        folder = tmp_path / hostname
        assert nowhere("init", "--hostname", hostname, "--dir", str(folder)).exit_code == 0
        assert tomllib.loads((folder / "mta.toml").read_text())["domain"][0]["name"] == domain
