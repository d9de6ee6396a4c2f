"""`mta keys`: the keyring's file is changed whole or not at all, and old tokens still prove."""

import os
import smtplib
import stat
from pathlib import Path

import pytest

from mta.mail.token import Keyring, ReturnPaths
from tests.cli.background import in_background
from tests.cli.command import Command
from tests.cli.waiting import eventually
from tests.scenarios.house import SENDER, House, message, open_house, send

DELIVERY = "0123456789abcdef"


def ring(site: Path) -> Keyring:
    return Keyring.parse((site / "keyring.json").read_text())


def test_the_last_key_makes_tokens_and_no_secret_is_shown(mta: Command, site: Path) -> None:
    mta("keys", "rotate")
    first, second = mta("keys", "list", "--json").rows
    assert (first["makes_tokens"], second["makes_tokens"]) == (False, True)
    assert sorted(first) == ["created", "id", "makes_tokens"]
    printed = mta("keys", "list").stdout + mta("keys", "rotate", "--json").stdout
    assert not [key for key in ring(site).keys if key.secret.hex() in printed]
    assert "secret" not in printed


def test_after_a_rotation_old_return_paths_still_prove(mta: Command, site: Path) -> None:
    before = ReturnPaths(ring(site)).make(DELIVERY)
    row = mta("keys", "rotate", "--json").row
    after = ReturnPaths(ring(site))
    assert row["id"] == ring(site).newest.id
    assert row["in_use"] is False
    assert after.make(DELIVERY) != before
    assert after.prove(before) == after.prove(after.make(DELIVERY)) == DELIVERY


def test_without_a_server_it_says_when_the_key_is_used(mta: Command, site: Path) -> None:
    answer = mta("keys", "rotate")
    assert (answer.exit_code, answer.lines[-1]) == (0, "no server runs here; one that starts takes it up")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_file_keeps_its_rights(mta: Command, site: Path, mode: int) -> None:
    file = site / "keyring.json"
    file.chmod(mode)
    assert mta("keys", "rotate").exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert [path.name for path in site.iterdir() if ".keyring" in path.name] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_leaves_the_file_to_its_owner(mta: Command, site: Path) -> None:
    os.chown(site / "keyring.json", 65534, 65534)
    assert mta("keys", "rotate").exit_code == 0
    after = (site / "keyring.json").stat()
    assert (after.st_uid, after.st_gid) == (65534, 65534)


def test_a_link_leads_to_the_file_that_is_changed(mta: Command, site: Path) -> None:
    real = site / "elsewhere.json"
    (site / "keyring.json").rename(real)
    (site / "keyring.json").symlink_to(real)
    assert mta("keys", "rotate").exit_code == 0
    assert (site / "keyring.json").is_symlink()
    assert len(Keyring.parse(real.read_text()).keys) == 2


def test_two_at_the_same_time_lose_no_key(mta: Command, site: Path) -> None:
    other = site / ".keyring.json.new"
    other.touch()
    answer = mta("keys", "rotate")
    assert (answer.exit_code, answer.stdout) == (75, "")
    assert "another rotation is under way" in answer.stderr
    assert len(ring(site).keys) == 1


def test_what_is_no_keyring_is_not_replaced(mta: Command, site: Path) -> None:
    (site / "keyring.json").write_text("{}")
    for verb in ("list", "rotate"):
        answer = mta("keys", verb)
        assert (answer.exit_code, answer.stdout) == (78, "")
        assert "from your backup" in answer.stderr
    assert (site / "keyring.json").read_text() == "{}"
    assert not (site / ".keyring.json.new").exists()


def test_a_keyring_of_the_environment_is_rotated_where_it_is_set(
    mta: Command, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RING", (site / "keyring.json").read_text())
    config = site / "mta.toml"
    config.write_text(config.read_text().replace('{ file = "keyring.json" }', '{ env = "RING" }'))
    assert [row["id"] for row in mta("keys", "list", "--json").rows] == ["00"]
    answer = mta("keys", "rotate")
    assert answer.exit_code == 78
    assert "environment variable" in answer.stderr


def brought(house: House, to: str) -> int:
    with smtplib.SMTP(*house.server.address("inbound"), timeout=20) as client:
        client.ehlo("mx.example.net")
        client.mail("")
        return client.rcpt(to)[0]


def test_a_running_server_takes_it_up_and_knows_its_old_return_paths(tmp_path: Path) -> None:
    with in_background(open_house(tmp_path / "house")) as house:
        mta = Command(house.server.config)

        def return_path(name: str) -> str:
            with house.connect() as client:
                send(client, SENDER, (name,), message((name,)))
            eventually(lambda: any(name in each.recipients for each in house.sink.messages))
            return next(each.reverse_path for each in house.sink.messages if name in each.recipients)

        old = return_path("a@example.net")
        assert mta("keys", "rotate", "--json").row["in_use"] is True
        new = return_path("b@example.net")
        assert (old[1:3], new[1:3]) == ("00", "01")
        assert [brought(house, path) for path in (old, new, new.replace("b01", "b00"))] == [250, 250, 550]
        for dkim in (house.folder / "dkim").iterdir():
            dkim.write_text("-----BEGIN PRIVATE KEY-----\n")
        answer = mta("keys", "rotate")
        assert (answer.exit_code, "the running server did not take it up" in answer.stderr) == (78, True)
